"""Clips boxes to the picture and drops what is too small to learn from; comes after geometric transforms.

A box without area has no defined overlap and turns losses into NaN, so it is refused here, before the model.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import BaseBoxes
from mmengine.logging import print_log

_CLIP_TOLERANCE = 0.5  # pixels; less is rounding of a resize, not a wrong box


@TRANSFORMS.register_module()
class CleanBoxes(BaseTransform):
    """Keeps boxes inside the picture and at least ``min_size`` pixels on both sides.

    Labels, ignore flags and masks of dropped boxes go with them. The first clipped and the first dropped box
    of a process are logged; the running numbers are in ``counts``.

    Args:
        min_size: shortest allowed side, in pixels of the picture as it is at this step.
    """

    def __init__(self, min_size: float = 1.0) -> None:
        if not min_size > 0:
            raise ValueError(
                f'Got min_size={min_size}, expected a number above 0: boxes without area break the '
                'losses. Use 1.0 if unsure.'
            )
        self.min_size = min_size
        self.counts: Counter[str] = Counter()

    def transform(self, results: dict) -> dict:
        """Cleans ``gt_bboxes`` (G, 4) xyxy and everything that runs parallel to it."""
        boxes = results.get('gt_bboxes')
        if boxes is None or len(boxes) == 0:
            return results
        before = _as_array(boxes)
        height, width = results['img_shape'][:2]
        after = np.clip(before, 0, np.array([width, height, width, height], dtype=before.dtype))
        # Written so that NaN is dropped: every comparison with NaN is False.
        keep = ((after[:, 2] - after[:, 0]) >= self.min_size) & ((after[:, 3] - after[:, 1]) >= self.min_size)
        moved = (np.abs(after - before) > _CLIP_TOLERANCE).any(axis=1) & keep
        if isinstance(boxes, BaseBoxes):
            boxes.tensor = torch.from_numpy(after).to(boxes.tensor)
        else:
            results['gt_bboxes'] = after
        self._count('clipped', int(moved.sum()), 'clipped to the picture', results)
        self._count('dropped', int((~keep).sum()), f'dropped (a side under {self.min_size} px)', results)
        return results if keep.all() else keep_instances(results, keep)

    def _count(self, kind: str, number: int, what: str, results: dict) -> None:
        if number and not self.counts[kind]:
            print_log(
                f'CleanBoxes: {number} of {len(results["gt_bboxes"])} boxes {what} in '
                f'"{results.get("img_path")}"; later ones are counted, not logged.',
                logger='current',
            )
        self.counts[kind] += number

    def __repr__(self) -> str:
        return f'{type(self).__name__}(min_size={self.min_size})'


def keep_instances(results: dict, keep: np.ndarray) -> dict:
    """Selects instances in every per-instance entry of ``results``; ``keep`` is (G,) bool."""
    kept = np.flatnonzero(keep)  # polygon masks take indices, not booleans
    for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks'):
        if key in results:
            results[key] = results[key][kept]
    return results


def _as_array(boxes: BaseBoxes | np.ndarray) -> np.ndarray:
    return boxes.tensor.numpy() if isinstance(boxes, BaseBoxes) else np.asarray(boxes)
