"""Which boxes learn a mask, of which object, and for which words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.task_modules import MaxIoUAssigner, RandomSampler
from mmdet.structures.mask import BitmapMasks, mask_target
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.structures import MaskTargets


def assign_mask_targets(
    proposals: Sequence[Tensor],
    gt_boxes: Sequence[Tensor],
    gt_masks: Sequence[BitmapMasks],
    positive_maps: Sequence[Tensor],
    mask_size: int,
    max_boxes: int,
    min_overlap: float,
) -> MaskTargets:
    """Ground-truth boxes, and predicted ones that overlap them, with the masks cut out of the picture.

    A predicted box learns mask and words of the object it overlaps most, whatever phrase it was predicted for:
    at inference a wrong word is the box head's mistake, not the mask's.

    Args:
        proposals: per image (P, 4) xyxy edges in input pixels.
        gt_boxes: per image (G, 4) xyxy in input pixels, right and bottom side inclusive.
        gt_masks: per image G bitmaps; objects with an empty one, or without words, are left out.
        positive_maps: per image (G, T) bool.
        mask_size: side of the targets.
        max_boxes: most boxes per image, ground truth included; a random choice where there are more.
        min_overlap: least IoU between a predicted box and its object.
    """
    assigner = MaxIoUAssigner(
        pos_iou_thr=min_overlap, neg_iou_thr=min_overlap, min_pos_iou=min_overlap, match_low_quality=False
    )
    sampler = RandomSampler(num=max_boxes, pos_fraction=1.0, neg_pos_ub=0, add_gt_as_proposals=True)
    boxes, objects, word_maps, masks = [], [], [], []
    for image_proposals, image_boxes, image_masks, positive_map in zip(
        proposals, gt_boxes, gt_masks, positive_maps, strict=True
    ):
        with_mask = image_masks.masks.any(axis=(1, 2))
        usable = torch.from_numpy(with_mask).to(image_boxes.device) & positive_map.any(dim=1)
        # the last pixel belongs to the box, so its edge is one further
        edges = image_boxes[usable] + image_boxes.new_tensor([0, 0, 1, 1])
        image_masks = image_masks[np.flatnonzero(usable.cpu().numpy())]
        chosen, owners = _sample(assigner, sampler, image_proposals.to(edges.dtype), edges)
        limits = edges.new_tensor([image_masks.width, image_masks.height]).repeat(2)
        boxes.append(torch.minimum(chosen.clamp(min=0), limits))
        objects.append(owners)
        word_maps.append(positive_map[usable][owners])
        masks.append(image_masks)
    targets = mask_target(boxes, objects, masks, ConfigDict(mask_size=mask_size))
    return MaskTargets(boxes=tuple(boxes), word_maps=tuple(word_maps), masks=targets)


def _sample(
    assigner: MaxIoUAssigner, sampler: RandomSampler, proposals: Tensor, gt_boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """(R, 4) boxes and (R,) the object of each."""
    predicted = InstanceData(priors=proposals)
    objects = InstanceData(bboxes=gt_boxes, labels=torch.zeros(len(gt_boxes), dtype=torch.long, device=gt_boxes.device))
    sampled = sampler.sample(assigner.assign(predicted, objects), predicted, objects)
    return sampled.pos_priors, sampled.pos_assigned_gt_inds.long()
