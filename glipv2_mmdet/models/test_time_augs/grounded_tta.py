"""Several views of a picture in, one set of boxes and masks out.

mmdet's ``DetTTAModel`` runs the views and turns boxes back; this one also turns masks back, keeps the names of the
phrases, and lets every scale answer for the sizes it is good at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip
from mmdet.structures.mask import encode_mask_results
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import Tensor

from glipv2_mmdet.models.checked_nms import checked_nms

_FLIPPED_AXES = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}


@MODELS.register_module()
class GroundedTTAModel(DetTTAModel):
    """Joins the detections of all views by suppression per phrase; a box keeps the mask it was found with.

    Args:
        tta_cfg: ``nms`` (as in mmcv), ``max_per_img``, and optionally ``area_ranges``: per scale (low, high); a view
            of that scale keeps boxes with low < sqrt(area) < high, in pixels of the *resized* picture. Scales in the
            order of the test pipeline, each followed by its flips. Source: public settings of GLIP's multi-scale
            test; that the paper used the ranges is not stated.
        kwargs: as in ``DetTTAModel``.

    Raises:
        ValueError: at the first picture, when the number of views does not divide by that of ``area_ranges``.
    """

    def __init__(self, tta_cfg: dict, **kwargs) -> None:
        super().__init__(tta_cfg=ConfigDict(tta_cfg), **kwargs)

    def _merge_single_sample(self, data_samples: Sequence[DetDataSample]) -> DetDataSample:
        """One picture's views, joined in the sample of the first."""
        ranges = self._ranges(len(data_samples))
        views = [
            _in_range(_turned_back(sample), sample, limits) for sample, limits in zip(data_samples, ranges, strict=True)
        ]
        merged = _joined(views)
        if len(merged) > 0:
            # suppression looks at boxes that end on their last pixel, as the model's own does
            boxes = merged.bboxes - merged.bboxes.new_tensor([0, 0, 1, 1])
            detections, keep = checked_nms(boxes, merged.scores, merged.labels, self.tta_cfg.nms)
            merged = merged[keep]
            merged.scores = detections[:, -1]  # soft suppression lowers scores
            limit = self.tta_cfg.get('max_per_img', -1)
            merged = merged[:limit] if limit >= 0 else merged
        data_samples[0].pred_instances = merged
        return data_samples[0]

    def _ranges(self, num_views: int) -> list[Sequence[float] | None]:
        """What each view may keep."""
        ranges = self.tta_cfg.get('area_ranges', None)
        if ranges is None:
            return [None] * num_views
        if num_views % len(ranges):
            raise ValueError(
                f'A picture has {num_views} views and tta_cfg.area_ranges {len(ranges)} entries. Expected one entry '
                'per scale of tta_pipeline, each with the same number of flips: correct the list or remove it.'
            )
        return [limits for limits in ranges for _ in range(num_views // len(ranges))]


def _turned_back(sample: DetDataSample) -> InstanceData:
    """Detections of a view in the original picture."""
    found = sample.pred_instances
    if not sample.get('flip', False):
        return found
    direction = sample.flip_direction
    found = found.new()
    found.bboxes = bbox_flip(found.bboxes, sample.ori_shape, direction)
    if 'masks' in found:
        axes = _FLIPPED_AXES[direction]
        found.masks = (
            found.masks.flip(axes)
            if isinstance(found.masks, Tensor)
            else [_flipped_rle(mask, axes) for mask in found.masks]
        )
    return found


def _flipped_rle(mask: dict, axes: Sequence[int]) -> dict:
    bitmap = np.flip(coco_mask.decode(mask), [axis - 1 for axis in axes])
    return encode_mask_results([bitmap])[0]


def _in_range(found: InstanceData, sample: DetDataSample, limits: Sequence[float] | None) -> InstanceData:
    """Boxes whose size in the resized picture lies between the limits."""
    if limits is None:
        return found
    low, high = limits
    scale = found.bboxes.new_tensor(sample.scale_factor)
    # the head's boxes end on their last pixel; that pixel was added in original size
    sides = (found.bboxes[:, 2:] - found.bboxes[:, :2] - 1) * scale + 1
    areas = sides.prod(dim=1)
    return found[(areas > low * low) & (areas < high * high)]


def _joined(views: Sequence[InstanceData]) -> InstanceData:
    """All detections of all views; those of views without any add nothing."""
    joined = InstanceData(
        bboxes=torch.cat([view.bboxes for view in views]),
        scores=torch.cat([view.scores for view in views]),
        labels=torch.cat([view.labels for view in views]),
    )
    if 'label_names' in views[0]:
        joined.label_names = [name for view in views for name in view.label_names]
    if 'masks' in views[0]:
        masks = [view.masks for view in views]
        joined.masks = (
            torch.cat(masks) if isinstance(masks[0], Tensor) else [mask for view_masks in masks for mask in view_masks]
        )
    return joined
