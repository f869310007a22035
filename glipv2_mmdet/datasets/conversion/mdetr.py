"""MDETR's json (mixed, Flickr30k separateGT) to ODVG grounding records.

One row is a caption of an image; a box owns one or more spans of it, and several boxes may own the same spans.
``categories`` is empty or meaningless, and the Flickr files write sizes as text. Source: MDETR's annotation archive,
which GLIP uses as it is.
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glipv2_mmdet.datasets.conversion.json_stream import GroupedRows, field_of, iterate_array
from glipv2_mmdet.datasets.record_checks import reading

_FIELDS = 'Expected the fields of MDETR: id, file_name, height, width, caption; image_id, bbox, tokens_positive.'


class UnknownSource(ValueError):
    """A ``data_source`` that has no image folder."""


def mdetr_records(
    ann_file: str | Path,
    image_folders: Mapping[str, str] | None = None,
    scratch_folder: str | Path | None = None,
) -> Iterator[tuple[int, dict]]:
    """(row id, ODVG record) of every row, in the order of the file; memory stays constant.

    Args:
        ann_file: MDETR json.
        image_folders: folder in front of ``file_name`` per ``data_source`` ('coco', 'vg', 'flickr', ...); '*' is
            for every other one. None puts nothing in front.
        scratch_folder: see :class:`GroupedRows`.

    Raises:
        ValueError: broken json, a missing field, or a ``data_source`` without folder.
    """
    rows = ((field_of(box, 'image_id', ann_file), box) for box in iterate_array(ann_file, 'annotations'))
    with GroupedRows(rows, scratch_folder) as boxes:
        for image in iterate_array(ann_file, 'images'):
            row = image.get('id') if isinstance(image, dict) else str(image)[:60]
            place = f'{ann_file}: row {row} or one of its boxes'
            try:
                with reading(place, ValueError, _FIELDS):
                    record = image['id'], _record(image, boxes[image['id']], image_folders)
            except UnknownSource as error:
                raise ValueError(f'{ann_file}: row {image["id"]}: {error}') from error
            yield record


def _record(image: dict, boxes: list[dict], folders: Mapping[str, str] | None) -> dict:
    return {
        'filename': osp.join(_folder(image.get('data_source'), folders), image['file_name']),
        'height': _whole(image['height']),
        'width': _whole(image['width']),
        'image_id': image['id'],
        'grounding': {'caption': image['caption'], 'regions': _regions(image['caption'], boxes)},
    }


def _regions(caption: str, boxes: list[dict]) -> list[dict]:
    """One region per set of spans. Boxes without spans are dropped: no word would speak of them."""
    regions: dict[tuple, dict] = {}
    for box in boxes:
        spans = [list(span) for span in box['tokens_positive']]
        if not spans or box.get('iscrowd'):
            continue
        phrase = ' / '.join(caption[start:end] for start, end in spans)
        region = regions.setdefault(tuple(map(tuple, spans)), {'bbox': [], 'phrase': phrase, 'tokens_positive': spans})
        x, y, width, height = box['bbox']
        region['bbox'].append([x, y, x + width, y + height])
    return list(regions.values())


def _folder(source: Any, folders: Mapping[str, str] | None) -> str:
    if folders is None:
        return ''
    if source in folders:
        return folders[source]
    if '*' not in folders:
        raise UnknownSource(
            f'"data_source" is {source!r}; there are image folders for {sorted(folders)}. Add one for it, or for '
            "'*', which stands for every other source."
        )
    return folders['*']


def _whole(size: Any) -> Any:
    """'375' -> 375; everything else is judged by the reader of the record."""
    return int(size) if isinstance(size, str) and size.strip().isdigit() else size
