"""Which anchors answer for which boxes, and for which words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.structures import GroundingTargets


def assign_targets(
    assigner: ATSSAssigner,
    anchors: Tensor,
    level_sizes: Sequence[int],
    gt_boxes: Sequence[Tensor],
    positive_maps: Sequence[Tensor],
) -> GroundingTargets:
    """Assign anchors to boxes image by image and spell out the word targets.

    Anchors in the padded part of an image take part, as in the code that trained weights come from.

    Args:
        assigner: mmdet's ATSS assigner.
        anchors: (A, 4) xyxy, all levels joined, the same for every image of the batch.
        level_sizes: anchors per level.
        gt_boxes: per image (G, 4) xyxy in input pixels.
        positive_maps: per image (G, T) bool, the words each box stands for.

    Returns:
        Targets; a box without words leaves its anchors out of ``positive`` but not out of ``num_assigned``.
    """
    # the right and bottom side of an anchor are its last pixels (GLIP's "inclusive" boxes)
    inclusive = torch.cat((anchors[:, :2], anchors[:, 2:] - 1), dim=1)
    num_words = positive_maps[0].shape[1]
    word_targets = anchors.new_zeros(len(gt_boxes), len(anchors), num_words)
    assigned, positive, positive_boxes, boxes = [], [], [], []
    for i, (image_boxes, positive_map) in enumerate(zip(gt_boxes, positive_maps, strict=True)):
        anchor_ids, box_ids = _assign_image(assigner, inclusive, level_sizes, image_boxes)
        word_targets[i, anchor_ids] = positive_map[box_ids].to(word_targets.dtype)
        assigned.append((anchor_ids, box_ids))
        with_words = positive_map.any(dim=1)[box_ids]
        positive.append(anchor_ids[with_words] + i * len(anchors))
        positive_boxes.append(box_ids[with_words])
        boxes.append(image_boxes[positive_boxes[-1]])
    num_positive = tuple(len(ids) for ids in positive)
    positive = torch.cat(positive)
    return GroundingTargets(
        word_targets=word_targets,
        positive=positive,
        boxes=torch.cat(boxes),
        anchors=inclusive[positive % len(anchors)],
        box_ids=torch.cat(positive_boxes),
        num_positive=num_positive,
        num_assigned=tuple(len(ids) for ids, _ in assigned),
        assigned=tuple(assigned),
    )


def _assign_image(
    assigner: ATSSAssigner, anchors: Tensor, level_sizes: Sequence[int], boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Assigned anchors (P,), ascending, and the boxes they answer for (P,)."""
    # ATSS asks for labels only to hand them back
    labels = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    result = assigner.assign(InstanceData(priors=anchors), list(level_sizes), InstanceData(bboxes=boxes, labels=labels))
    anchor_ids = (result.gt_inds > 0).nonzero().squeeze(1)
    return anchor_ids, result.gt_inds[anchor_ids] - 1
