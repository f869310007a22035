"""Reads referring phrases, one per line: a phrase, the boxes it means and their masks.

It is the format of ``referring_<split>.jsonl`` of the shapes data. A phrase may mean one object or many; the whole
phrase is the only thing to find, so every sample has one phrase and all its boxes have label 0.
"""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path

from glipv2_mmdet.datasets.record_checks import check_dataset_settings, require_boxes, require_size


class ReferringError(ValueError):
    """A record cannot be used; the message names file, record, value and fix."""


@DATASETS.register_module()
class ReferringDataset(BaseDetDataset):
    """jsonl of ``{"phrase_id", "image_id", "filename", "height", "width", "phrase", "boxes", "masks"}``.

    Boxes are xyxy edges in picture pixels; ``masks`` has a COCO polygon list or run length code per box. Samples
    are those of :func:`referring_sample`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        ReferringError: a broken line or field.
    """

    def load_data_list(self) -> list[dict]:
        """Parses every line."""
        check_dataset_settings(self)
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path, open(path, 'rb') as lines:
            samples = [
                self._parse_line(line, f'{self.ann_file}:{number}')
                for number, line in enumerate(lines, start=1)
                if line.strip()
            ]
        if not samples:
            raise ReferringError(f'{self.ann_file}: no records; expected one json object per line. Check the path.')
        return samples

    def filter_data(self) -> list[dict]:
        """Keeps every phrase."""
        return self.data_list

    def _parse_line(self, line: bytes, place: str) -> dict:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError, and numbers of 5,000 digits
            raise ReferringError(
                f'{place}: broken json ({error}); expected one object per line. Repair or delete the line.'
            ) from error
        require_fields(
            record, ('phrase_id', 'image_id', 'filename', 'height', 'width', 'phrase', 'boxes', 'masks'), place
        )
        if not isinstance(record['filename'], str):
            raise ReferringError(
                f'{place}: filename {str(record["filename"])[:60]!r}; expected a text. Repair the record.'
            )
        return referring_sample(
            task_id=record['phrase_id'],
            image_id=record['image_id'],
            img_path=osp.join(self.data_prefix.get('img') or '', record['filename']),
            height=record['height'],
            width=record['width'],
            phrase=record['phrase'],
            boxes=record['boxes'],
            masks=record['masks'],
            place=place,
        )


def referring_sample(
    task_id: Any,
    image_id: Any,
    img_path: str,
    height: int,
    width: int,
    phrase: str,
    boxes: Sequence[Sequence[float]],
    masks: Sequence[Any],
    place: str,
) -> dict:
    """The sample of one phrase; nothing is dropped here, because a metric needs the objects as they were annotated.

    Args:
        task_id: what the metric counts.
        image_id: id of the picture.
        img_path: its file.
        height: of the picture.
        width: of the picture.
        phrase: the whole of it is one phrase of the prompt.
        boxes: G boxes, xyxy edges in picture pixels.
        masks: G masks as :class:`~glipv2_mmdet.datasets.LoadMasks` reads them.
        place: file and record, for error texts.

    Raises:
        ReferringError: a phrase without words, boxes or sizes that are none, or another number of masks than boxes.
    """
    if not isinstance(phrase, str) or not any(map(str.isalnum, phrase)):
        raise ReferringError(f'{place}: phrase {phrase!r}; expected a text with a letter or digit. Delete the record.')
    if not isinstance(boxes, (list, tuple)) or not isinstance(masks, (list, tuple)):
        raise ReferringError(
            f'{place}: boxes {str(boxes)[:60]!r}, masks {str(masks)[:60]!r}; expected two lists. Repair the record.'
        )
    require_boxes(boxes, place, ReferringError)
    require_size(height, width, place, ReferringError)
    if len(boxes) != len(masks):
        raise ReferringError(
            f'{place}: {len(boxes)} boxes but {len(masks)} masks; expected one mask per box. Repair the record.'
        )
    instances = [
        dict(bbox=list(map(float, box)), bbox_label=0, ignore_flag=0, mask=mask)
        for box, mask in zip(boxes, masks, strict=True)
    ]
    return dict(
        task_id=task_id,
        img_id=image_id,
        img_path=img_path,
        height=int(height),
        width=int(width),
        text=phrase,
        custom_entities=False,
        tokens_positive=[[[0, len(phrase)]]],
        instances=instances,
    )


def require_fields(record: Any, fields: Sequence[str], place: str) -> None:
    """Checks that ``record`` is an object with these fields."""
    if not isinstance(record, dict):
        raise ReferringError(f'{place}: {str(record)[:60]!r}; expected a json object. Repair or delete the record.')
    missing = [name for name in fields if name not in record]
    if missing:
        raise ReferringError(
            f'{place}: no "{missing[0]}" (keys {sorted(record)}); expected the fields {sorted(fields)}. Is this the '
            'right file?'
        )
