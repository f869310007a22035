"""Referring segmentation: mean IoU, cumulative IoU and precision of one mask per phrase.

    val_evaluator = dict(type='PhraseCutMetric', score_thr=0.3)

The data set must hand its ``instances`` on: list ``'task_id'``, ``'ori_shape'`` and ``'instances'`` in the
``meta_keys`` of ``PackDetInputs``. Source: the evaluator of PhraseCut (Wu et al., 2020), section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from torch import Tensor

from glipv2_mmdet.datasets.mask_codes import check_polygon, run_length_code

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@METRICS.register_module()
class PhraseCutMetric(BaseMetric):
    """IoU between the union of the predicted masks and the union of the objects a phrase means.

    All values are fractions. ``mIoU`` is the mean over phrases (the paper's "mask AP" on PhraseCut, 59.4 for
    GLIPv2-T, is this number times 100), ``cIoU`` all intersections over all unions, ``Pr@t`` the share of phrases
    with an IoU above t; ``mIoU_one`` and ``mIoU_many`` are the mean over phrases for one and for several objects.
    A phrase for which nothing was predicted counts with IoU 0, and so does one whose masks do not meet.

    Args:
        score_thr: detections count from above this score. The paper does not give its value: choose it on the
            validation set (several metrics with a ``prefix`` each evaluate several thresholds in one run).
        top1_fallback: use the best detection where none is above ``score_thr``. Say so when you report figures.
        collect_device: as in mmengine.
        prefix: as in mmengine.
    """

    default_prefix = 'phrasecut'

    def __init__(
        self,
        score_thr: float = 0.3,
        top1_fallback: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.score_thr = score_thr
        self.top1_fallback = top1_fallback

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps (intersection, union, number of objects) of every phrase."""
        for sample in data_samples:
            expected, predicted = self.masks(sample)
            self.results.append(
                (int((expected & predicted).sum()), int((expected | predicted).sum()), len(sample['instances']))
            )

    def compute_metrics(self, results: list[tuple[int, int, int]]) -> dict[str, float]:
        """All figures, as fractions."""
        intersections, unions, numbers = np.array(results, dtype=np.float64).T
        ious = intersections / np.maximum(unions, 1)
        figures = dict(mIoU=float(ious.mean()), cIoU=float(intersections.sum() / max(unions.sum(), 1)))
        figures |= {f'Pr@{threshold}': float((ious > threshold).mean()) for threshold in THRESHOLDS}
        for name, chosen in (('mIoU_one', numbers == 1), ('mIoU_many', numbers > 1)):
            if chosen.any():
                figures[name] = float(ious[chosen].mean())
        return figures

    def masks(self, sample: dict) -> tuple[np.ndarray, np.ndarray]:
        """What a phrase means and what was found for it: two (H, W) bool of the size of the picture."""
        shape = tuple(sample['ori_shape'][:2])
        place = f'Task {sample["task_id"]}'
        expected = union([_draw(instance['mask'], shape, place) for instance in sample['instances']], shape)
        found = sample['pred_instances']
        if 'masks' not in found:
            raise ValueError(
                f'Predictions of task {sample["task_id"]} have no masks; PhraseCutMetric needs them. Evaluate a model '
                'with a mask_head.'
            )
        scores = as_array(found['scores'])
        chosen = np.flatnonzero(scores > self.score_thr)
        if len(chosen) == 0 and len(scores) > 0 and self.top1_fallback:
            chosen = scores.argmax(keepdims=True)
        return expected, union([decode_mask(found['masks'][k]) for k in chosen.tolist()], shape)


def union(masks: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool; all False for no masks."""
    return np.logical_or.reduce([np.zeros(shape, dtype=bool), *masks])


def _draw(mask: Any, shape: tuple[int, int], place: str) -> np.ndarray:
    """(H, W) bool of an annotated object, as the official evaluator draws it: whole pixels, outline included."""
    height, width = shape
    if isinstance(mask, dict):
        return decode_mask(run_length_code(mask, place, height, width))
    picture = Image.new('L', (width, height))
    for polygon in mask:
        if len(polygon) >= 4:
            check_polygon(polygon, place, height, width)
            ImageDraw.Draw(picture).polygon([int(number) for number in polygon], outline=1, fill=1)
    return np.array(picture, dtype=bool)


def decode_mask(mask: Any) -> np.ndarray:
    """(H, W) bool of a bitmap or of COCO run lengths."""
    if isinstance(mask, dict):
        if isinstance(mask['counts'], list):
            mask = coco_mask.frPyObjects(mask, *mask['size'])
        return coco_mask.decode(mask).astype(bool)
    return as_array(mask).astype(bool)


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """A tensor of any device, or an array, as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
