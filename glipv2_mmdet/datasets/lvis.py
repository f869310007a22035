"""LVIS v1 whose labels follow the class names, not the numbers of the categories in the file."""

from __future__ import annotations

from mmdet.datasets import CocoDataset, LVISV1Dataset
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.coco_files import CheckedCOCO

_ADDRESS = 'http://images.cocodataset.org/'


class _LVISFile(CheckedCOCO):
    """Takes folder and name of an image from its address, as mmdet does: 'val2017/000000000139.jpg'."""

    def createIndex(self) -> None:
        for image in self.dataset.get('images', ()):
            if 'coco_url' in image:
                image['file_name'] = str(image['coco_url']).replace(_ADDRESS, '')
        super().createIndex()


@DATASETS.register_module()
class GroundedLVISDataset(LVISV1Dataset):
    """mmdet's ``LVISV1Dataset`` with categories joined by name; it does not need the ``lvis`` package.

    mmdet's numbers labels by category id, whatever ``metainfo.classes`` says.

    Raises:
        CategoryNameError: see :func:`~glipv2_mmdet.datasets.category_names.join_names`.
        CocoFileError: see :func:`~glipv2_mmdet.datasets.coco_records.checked_content`.
    """

    COCOAPI = _LVISFile

    def load_data_list(self) -> list[dict]:
        """Records as in ``CocoDataset``."""
        return CocoDataset.load_data_list(self)
