"""Image-text pairs in GLIP's layout: TSVs of images and labels, the rows to use, and a yaml that names the files."""

from __future__ import annotations

import base64
import binascii
import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.lazy import LazyDataset
from glipv2_mmdet.datasets.line_offsets import LineReader
from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser, parse_line


@DATASETS.register_module()
class TSVPairs(LazyDataset):
    """GLIP's caption TSVs: ``key \\t base64 image`` and ``key \\t json label``, row by row the same key.

    Label json, flat (spans per box) or nested (boxes and scores per entity)::

        {"caption", "tokens_positive": [[[0, 5]], ...], "bboxes": [[x1, y1, x2, y2], ...], "scores"?, "img_h", "img_w"}
        {"caption", "tokens_positive": [[[0, 5]], ...], "bboxes": [[[...], ...], ...], "scores"?: [[...], ...], ...}

    Samples bring the image along (``img_bytes``), for ``LoadStreamedImage``. A row of which no box is left is replaced
    by the next one that has some: without boxes nothing is known of it, and its words would count as negatives. GLIP's
    ``.lineidx`` and size files are not needed.

    Args:
        image_tsv, label_tsv: paths, relative to ``data_root``.
        data_root: in front of every path.
        min_score: boxes must score more; GLIP's 0.5.
        pipeline, index_folder: as in :class:`IndexedODVGDataset`.
        line_list: a text file with a row number (from 0) per line: those rows, in this order, repeats count.
        yaml_file: names the three files instead (keys ``img``, ``label``, ``linelist``), relative to its own folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: files named twice or not at all; a row number that is none; files of different length; on reading,
            rows of different keys or broken base64.
        ODVGError: on reading a label that cannot be used.
    """

    def __init__(
        self,
        image_tsv: str | None = None,
        label_tsv: str | None = None,
        data_root: str = '',
        min_score: float = 0.5,
        pipeline: Sequence[Any] = (),
        index_folder: str | None = None,
        line_list: str | None = None,
        yaml_file: str | None = None,
    ) -> None:
        super().__init__(pipeline)
        if yaml_file is not None:
            if image_tsv or label_tsv or line_list:
                raise ValueError(f'Both yaml_file={yaml_file!r} and files are given; expected one of them.')
            image_tsv, label_tsv, line_list = _files_of_yaml(osp.join(data_root, yaml_file))
        elif not (image_tsv and label_tsv):
            raise ValueError(f'image_tsv is {image_tsv!r}, label_tsv {label_tsv!r}; expected both, or yaml_file.')
        self.images = LineReader(osp.join(data_root, image_tsv), index_folder)
        self.labels = LineReader(osp.join(data_root, label_tsv), index_folder)
        if len(self.images) != len(self.labels):
            raise ValueError(
                f'{self.images.path} has {len(self.images)} rows, {self.labels.path} {len(self.labels)}; '
                'expected one label per image. One of the downloads is not complete.'
            )
        self.rows = None if line_list is None else _read_rows(osp.join(data_root, line_list), len(self.labels))
        self.min_score = min_score
        self._parse = RecordParser()

    def __len__(self) -> int:
        return len(self.labels) if self.rows is None else len(self.rows)

    def get_data_info(self, idx: int) -> dict:
        return self._with_boxes(idx)[0]

    def load(self, idx: int) -> dict:
        sample, row, key = self._with_boxes(idx)
        sample['img_bytes'] = self._image(row, key)
        return sample

    def get_caption(self, idx: int) -> str:
        """The caption of an entry, boxes or not."""
        row = self._row(idx)
        place = Place(str(self.labels.path), row + 1)
        label = _only_label(parse_line(self.labels[row].partition(b'\t')[2], place))
        if not isinstance(label, dict) or not isinstance(label.get('caption'), str):
            raise place.error(f'label {str(label)[:80]!r}', 'one with a caption', 'Delete the row.')
        return label['caption']

    def _row(self, idx: int) -> int:
        return int(idx) if self.rows is None else int(self.rows[int(idx)])

    def _with_boxes(self, idx: int) -> tuple[dict, int, bytes]:
        """Sample, row and key of the first entry from ``idx`` on that has boxes."""
        for step in range(len(self)):
            row = self._row((int(idx) + step) % len(self))
            sample, key = self._label(row)
            if sample['instances']:
                return sample, row, key
        raise ODVGError(
            f'{self.labels.path}: no row has a box with a score above {self.min_score}; expected pseudo '
            'boxes. Lower min_score, or label the captions with tools/pseudo_label.py.'
        )

    def _label(self, row: int) -> tuple[dict, bytes]:
        place = Place(str(self.labels.path), row + 1)
        key, _, content = self.labels[row].partition(b'\t')
        record = parse_line(content, place)
        return self._parse(_tsv_record(record, _key(key, place), self.min_score, place), place), key

    def _image(self, row: int, key: bytes) -> bytes:
        columns = self.images[row].split(b'\t')
        if columns[0] != key:
            raise ValueError(
                f'{self.images.path}:{row + 1}: key {_shown(columns[0])}, the label has '
                f'{_shown(key)}; expected the same. The two files do not belong together.'
            )
        try:
            return base64.b64decode(columns[-1], validate=True)
        except binascii.Error as error:
            raise ValueError(
                f'{self.images.path}:{row + 1}: the last column is no base64 ({error}). Expected the '
                'image there: repair or delete the row.'
            ) from error


def _files_of_yaml(path: str) -> tuple[str, str, str | None]:
    """Absolute paths of images, labels and rows."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # among them UnicodeDecodeError
        raise ValueError(
            f'{path}: broken yaml ({error}). Expected the keys img and label, each with a file.'
        ) from error
    names = [content.get(key) if isinstance(content, dict) else None for key in ('img', 'label', 'linelist')]
    # a list of files is GLIP's composite form
    if not (isinstance(names[0], str) and isinstance(names[1], str) and isinstance(names[2], str | None)):
        raise ValueError(
            f'{path}: img is {names[0]!r}, label {names[1]!r}, linelist {names[2]!r}; expected one file '
            'each, linelist may be missing. Composite sets: one TSVPairs per file.'
        )
    image, label, rows = (name and osp.join(osp.dirname(osp.abspath(path)), name) for name in names)
    return image, label, rows or None


def _read_rows(path: str, count: int) -> np.ndarray:
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path}: there is no such list of lines. Correct linelist in the yaml file, or leave '
            'it out to read all lines.'
        )
    try:
        rows = np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{path}: {error}. Expected one row number per line.') from error
    if not rows.size or rows.ndim > 1 or rows.min() < 0 or rows.max() >= count:
        found = f'{rows.min()} to {rows.max()}' if rows.size else 'nothing'
        raise ValueError(
            f'{path}: row numbers are {found}; expected one per line, 0 to {count - 1}, as many as the '
            'label file has. The files do not belong together.'
        )
    return rows


def _key(key: bytes, place: Place) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise place.error(f'key {key[:60]!s}', 'one in UTF-8', 'Delete the row, or make the file again.') from error


def _shown(key: bytes) -> str:
    return repr(key[:60].decode('utf-8', 'replace'))


def _only_label(label: Any) -> Any:
    return label[0] if isinstance(label, list) and len(label) == 1 else label


def _tsv_record(label: Any, key: str, min_score: float, place: Place) -> dict:
    """GLIP's label as an ODVG record."""
    label = _only_label(label)
    try:
        entities, boxes = label['tokens_positive'], label['bboxes']
        scores = label.get('scores') or [[1.0] * len(group) if _is_nested(group) else 1.0 for group in boxes]
        regions = []
        for spans, group, values in zip(entities, boxes, scores, strict=True):
            if not _is_nested(group):
                group, values = [group], [values]
            kept = [box for box, score in zip(group, values, strict=True) if score > min_score]
            if kept:
                regions.append({'bbox': kept, 'tokens_positive': spans})
        return {
            'filename': key,
            'height': label['img_h'],
            'width': label['img_w'],
            'image_id': key,
            'grounding': {'caption': label['caption'], 'regions': regions},
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise place.error(
            f'label {str(label)[:80]!r} ({error})',
            'caption, tokens_positive, bboxes, img_h, img_w, with as many spans and scores as boxes',
            'Delete the row, or make the file again.',
        ) from error


def _is_nested(group: list) -> bool:
    return not group or isinstance(group[0], list)
