"""RefCOCO, RefCOCO+ and RefCOCOg: is the best box, and the best mask, the object that the expression means.

    val_evaluator = dict(type='GroundedRefExpMetric', ann_file='data/coco/mdetr_annotations/finetune_refcoco_val.json')

Published figures differ in what makes a box right. Most papers ask for an IoU of 0.5 (``precision@k``). MDETR's code
asks for a generalised IoU of 0.5 (``giou_precision@k``), which is never larger. Both are reported.

mmdet's ``MDETRStyleRefCocoDataset`` reads the same file. Its ``RefExpMetric`` has no masks, needs all three data
sets in one file and stops at a picture without detections, hence this one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.functional import bbox_overlaps
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from torchvision.ops import generalized_box_iou

from glipv2_mmdet.evaluation.phrasecut_metric import as_array, decode_mask

#: What the overlap of a box is measured by, to the name of its precision.
OVERLAPS = {'iou': 'precision', 'giou': 'giou_precision'}


@METRICS.register_module()
class GroundedRefExpMetric(BaseMetric):
    """Precision@k of boxes; with masks on both sides, mean and cumulative IoU of the best detection's mask.

    All values are fractions, named ``<dataset_name>/precision@1``, ``<dataset_name>/giou_precision@1`` and so on; an
    expression for which nothing was found counts as wrong. Data sets are told apart by ``dataset_name`` of the image
    record.

    Args:
        ann_file: MDETR json: an image record per expression, each with exactly one annotation.
        topk: an expression is right at k when one of its k best boxes is.
        iou_thr: overlap from which a box is right.
        overlaps: which of 'iou' (``precision@k``) and 'giou' (``giou_precision@k``, MDETR's) to report.
        backend_args: as in mmengine.
        collect_device: as in mmengine.
        prefix: as in mmengine.

    Raises:
        ValueError: an unknown overlap, or an image record without exactly one annotation.
    """

    default_prefix = 'refexp'

    def __init__(
        self,
        ann_file: str,
        topk: Sequence[int] = (1, 5, 10),
        iou_thr: float = 0.5,
        overlaps: Sequence[str] = tuple(OVERLAPS),
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        unknown = [name for name in overlaps if name not in OVERLAPS]
        if unknown:
            raise ValueError(f'Overlap {unknown[0]!r}; expected some of {", ".join(OVERLAPS)}. Correct "overlaps".')
        self.ann_file = ann_file
        self.topk = tuple(topk)
        self.iou_thr = iou_thr
        self.overlaps = tuple(overlaps)
        with get_local_path(ann_file, backend_args=backend_args) as path:
            self.coco = COCO(path)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps (data set, rank of the first right box by overlap, (mask intersection, union)) of every expression."""
        for sample in data_samples:
            image, target = self._target(sample['img_id'])
            found = sample['pred_instances']
            order = np.argsort(-as_array(found['scores']), kind='stable')
            ranks = self._first_right(as_array(found['bboxes'])[order], target['bbox'])
            overlap = None
            if 'masks' in found and target.get('segmentation'):
                expected = self.coco.annToMask(target).astype(bool)
                predicted = decode_mask(found['masks'][int(order[0])]) if len(order) else np.zeros_like(expected)
                overlap = int((expected & predicted).sum()), int((expected | predicted).sum())
            self.results.append((image.get('dataset_name', 'all'), ranks, overlap))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """All figures by data set, as fractions."""
        by_name = defaultdict(list)
        for name, *outcome in results:
            by_name[name].append(outcome)
        figures = {}
        for name, outcomes in sorted(by_name.items()):
            for kind in self.overlaps:
                ranks = np.array([found[kind] for found, _ in outcomes])
                figures |= {f'{name}/{OVERLAPS[kind]}@{k}': float((ranks < k).mean()) for k in self.topk}
            overlaps = np.array([overlap for _, overlap in outcomes if overlap is not None], dtype=np.float64)
            if len(overlaps):
                intersections, unions = overlaps.T
                figures[f'{name}/mIoU'] = float((intersections / np.maximum(unions, 1)).mean())
                figures[f'{name}/cIoU'] = float(intersections.sum() / max(unions.sum(), 1))
        return figures

    def _target(self, image_id: int) -> tuple[dict, dict]:
        """Image record and annotation of an expression."""
        annotations = self.coco.loadAnns(self.coco.getAnnIds(imgIds=image_id))
        if len(annotations) != 1:
            raise ValueError(
                f'{self.ann_file}: image record {image_id} has {len(annotations)} annotations; expected exactly one, '
                'the object that its expression means. Phrases for several objects are measured by PhraseCutMetric.'
            )
        return self.coco.loadImgs(image_id)[0], annotations[0]

    def _first_right(self, boxes: np.ndarray, target: Sequence[float]) -> dict[str, float]:
        """Place (from 0) of the first box that is right by each overlap; infinite when none is."""
        x, y, width, height = target
        boxes, expected = boxes.reshape(-1, 4), np.array([[x, y, x + width, y + height]])
        ranks = {}
        for kind in self.overlaps:
            if kind == 'iou':
                overlaps = bbox_overlaps(boxes, expected)
            else:
                overlaps = generalized_box_iou(
                    *(torch.as_tensor(each, dtype=torch.float64) for each in (boxes, expected))
                )
            right = np.flatnonzero(as_array(overlaps) >= self.iou_thr)
            ranks[kind] = float(right[0]) if len(right) else np.inf
        return ranks
