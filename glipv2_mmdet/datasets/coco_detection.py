"""mmdet's ``CocoDataset`` that also compares the sizes in the file with its images."""

from __future__ import annotations

import logging

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from glipv2_mmdet.datasets.coco_files import CheckedCOCO, CocoFileError
from glipv2_mmdet.datasets.image_sizes import StatedSize, corrected_sizes


@DATASETS.register_module()
class GroundedCocoDataset(CocoDataset):
    """COCO json with categories joined with the class names by name, checked records and checked sizes.

    Headers of all images of a small set are read, of a large one those of a sample. Images on a remote backend, or
    that are not there, are not looked at.

    Raises:
        CategoryNameError: see :func:`~glipv2_mmdet.datasets.category_names.join_names`.
        CocoFileError: see :func:`~glipv2_mmdet.datasets.coco_records.checked_content` and
            :func:`~glipv2_mmdet.datasets.image_sizes.corrected_sizes`.
    """

    COCOAPI = CheckedCOCO

    def load_data_list(self) -> list[dict]:
        """Records as in ``CocoDataset``, with the sizes of the images."""
        records = super().load_data_list()
        if self.backend_args is None:
            stated = [
                StatedSize(
                    record['img_path'],
                    record['width'],
                    record['height'],
                    [_xywh(instance['bbox']) for instance in record['instances']],
                )
                for record in records
            ]
            sizes, warnings = corrected_sizes(stated, str(self.ann_file), CocoFileError)
            for place, (width, height) in sizes.items():
                records[place].update(width=width, height=height)
            for warning in warnings:
                print_log(warning, logger='current', level=logging.WARNING)
        return records


def _xywh(corners: list[float]) -> list[float]:
    left, top, right, bottom = corners
    return [left, top, right - left, bottom - top]
