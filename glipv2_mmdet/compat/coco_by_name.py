"""mmdet's COCO data sets and metrics read their files by way of this package, so that names join by name.

mmdet numbers labels in the order of the categories in the file, while prompts, class tables and drawings follow
``metainfo.classes``. With the class names in another order than the file, training learns wrong words and AP is 0.
mmdet takes its reader of COCO files from a class attribute (``CocoDataset.COCOAPI``) and from names of its metric
modules; these are set to :class:`~glipv2_mmdet.datasets.coco_files.CheckedCOCO`. Where both orders agree, labels and
figures are the same as before.

Expiry: when mmdet maps categories by name.
"""

from __future__ import annotations

from mmdet.datasets import CocoDataset, Objects365V1Dataset, Objects365V2Dataset
from mmdet.evaluation.metrics import coco_metric, ov_coco_metric

from glipv2_mmdet.datasets.coco_files import CheckedCOCO
from glipv2_mmdet.evaluation.category_order import CategoryOrderEval, CategoryOrderEvalMP


def join_categories_by_name() -> None:
    """Give mmdet's COCO data sets and metrics the checked reader; a second call changes nothing."""
    for dataset in (CocoDataset, Objects365V1Dataset, Objects365V2Dataset):
        dataset.COCOAPI = CheckedCOCO
    for module in (coco_metric, ov_coco_metric):
        module.COCO = CheckedCOCO
        module.COCOeval, module.COCOevalMP = CategoryOrderEval, CategoryOrderEvalMP
