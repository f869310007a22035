"""Reads PhraseCut (VGPhraseCut v0): referring phrases of Visual Genome pictures, for one object or many.

Source: PhraseCut (Wu et al., 2020). The masks come from ``refer_<split>.json``; MDETR's re-packed files keep only
the last polygon of every object.
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.record_checks import check_dataset_settings, read_json, reading, require_boxes
from glipv2_mmdet.datasets.referring import ReferringError, referring_sample, require_fields

_EXPECTED = 'Expected boxes [x, y, width, height] and polygons of [x, y] points. Fetch the file again.'


@DATASETS.register_module()
class PhraseCutDataset(BaseDetDataset):
    """``refer_<split>.json`` as it is downloaded; samples are those of ``ReferringDataset``.

    The validation set of the paper is ``refer_val.json`` and ``refer_miniv.json`` together: list both in a
    ``ConcatDataset``.

    Args:
        image_info_file: ``image_data_split.json`` of the download (or ``image_data_split3000.json``), relative to
            ``data_root``; picture sizes are only there.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        ReferringError: a broken record, or a picture without a size.
    """

    def __init__(self, *args: Any, image_info_file: str, **kwargs: Any) -> None:
        self.image_info_file = image_info_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One sample per phrase, in the order of the file."""
        check_dataset_settings(self)
        sizes = self._load_sizes()
        tasks = self._read_list(self.ann_file)
        samples = []
        for number, task in enumerate(tasks):
            place = f'{self.ann_file}, record {number}'
            with reading(place, ReferringError, _EXPECTED):
                samples.append(self._parse_task(task, place, sizes))
        return samples

    def filter_data(self) -> list[dict]:
        """Keeps every phrase."""
        return self.data_list

    def _load_sizes(self) -> dict[int, tuple[int, int]]:
        """(height, width) by image id."""
        path = self.image_info_file
        if self.data_root and not osp.isabs(path):
            path = osp.join(self.data_root, path)
        sizes = {}
        for number, image in enumerate(self._read_list(path)):
            place = f'{path}, record {number}'
            require_fields(image, ('image_id', 'height', 'width'), place)
            with reading(place, ReferringError, 'Expected a number as "image_id". Fetch the file again.'):
                sizes[image['image_id']] = (image['height'], image['width'])
        return sizes

    def _read_list(self, path: str) -> list:
        content = read_json(
            path, ReferringError, 'A download may be incomplete; fetch the file again.', self.backend_args
        )
        if not isinstance(content, list) or not content:
            raise ReferringError(f'{path}: expected a list of records, got {str(content)[:60]!r}. Check the path.')
        return content

    def _parse_task(self, task: Any, place: str, sizes: dict[int, tuple[int, int]]) -> dict:
        require_fields(task, ('task_id', 'image_id', 'phrase', 'instance_boxes', 'Polygons'), place)
        place = f'{place} (task {task["task_id"]})'
        image_id = task['image_id']
        if image_id not in sizes:
            raise ReferringError(
                f'{place}: picture {image_id} is not in "{self.image_info_file}"; expected its size there. Use the '
                'two files of one download.'
            )
        height, width = sizes[image_id]
        require_boxes(task['instance_boxes'], place, ReferringError)
        return referring_sample(
            task_id=task['task_id'],
            image_id=image_id,
            img_path=osp.join(self.data_prefix.get('img') or '', f'{image_id}.jpg'),
            height=height,
            width=width,
            phrase=task['phrase'],
            boxes=[[x, y, x + w, y + h] for x, y, w, h in task['instance_boxes']],
            masks=[_flatten(polygons) for polygons in task['Polygons']],
            place=place,
        )


def _flatten(polygons: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Polygons of [x, y] points to COCO's [x1, y1, x2, y2, ...]."""
    return [[number for point in polygon for number in point] for polygon in polygons]
