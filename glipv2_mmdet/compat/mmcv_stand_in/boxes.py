"""Non-maximum suppression and overlaps of boxes."""

from __future__ import annotations

import torch
import torchvision.ops as tv
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: a box goes when its IoU with a better one is larger.
        offset: 1 when the last pixel belongs to the box, else 0.
    """
    return tv.nms(_grow(boxes.float(), offset), scores.float(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Pick the best box, lower the scores of those that overlap it, drop what got too low, repeat.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        dets: (N, 5) buffer; its first K rows receive box and lowered score.
        iou_threshold: overlap from which methods 0 and 1 act.
        sigma: width of the Gaussian of method 2.
        min_score: boxes that fall below are dropped.
        method: 0 drops overlapping boxes, 1 lowers linearly, 2 by a Gaussian of the IoU.
        offset: as in :func:`nms`.

    Returns:
        (K,) indices in the order of picking.
    """
    remaining = torch.arange(boxes.size(0), device=boxes.device)
    scores = scores.clone()
    picked: list[int] = []
    while remaining.numel():
        best = remaining[scores[remaining].argmax()]
        dets[len(picked), :4] = boxes[best]
        dets[len(picked), 4] = scores[best]
        picked.append(int(best))
        remaining = remaining[remaining != best]
        iou = _overlaps(boxes[best, None], boxes[remaining], offset)[0]
        scores[remaining] *= _soft_weight(iou, iou_threshold, sigma, method)
        remaining = remaining[scores[remaining] >= min_score]
    return torch.tensor(picked, dtype=torch.long, device=boxes.device)


def _soft_weight(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-iou.square() / sigma)
    lowered = torch.zeros_like(iou) if method == 0 else 1 - iou
    return torch.where(iou >= iou_threshold, lowered, torch.ones_like(iou))


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes: each kept box, best first, and behind it those that it suppresses.

    Args:
        dets: (N, 5) xyxy and score.
        iou_threshold: a box joins the group of a better one from this IoU on.
    """
    remaining = dets[:, 4].argsort(descending=True, stable=True)
    groups = []
    while remaining.numel():
        overlap = _overlaps(dets[remaining[:1], :4].float(), dets[remaining, :4].float(), 0)[0] >= iou_threshold
        # also where its own overlap is no number, as for a box without area
        overlap[0] = True
        groups.append(remaining[overlap].tolist())
        remaining = remaining[~overlap]
    return groups


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Fill ``ious`` ((N, M), or (N,) when aligned) with IoU; with mode 1, with the share of the first box."""
    ious.copy_(_overlaps(bboxes1, bboxes2, offset, of_first=mode == 1, aligned=aligned))


def _overlaps(boxes1: Tensor, boxes2: Tensor, offset: int, of_first: bool = False, aligned: bool = False) -> Tensor:
    boxes1, boxes2 = _grow(boxes1, offset), _grow(boxes2, offset)
    area1, area2 = tv.box_area(boxes1), tv.box_area(boxes2)
    if not aligned:
        boxes1, area1 = boxes1[:, None], area1[:, None]
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(-1)
    return shared / (area1 if of_first else area1 + area2 - shared)


def _grow(boxes: Tensor, offset: int) -> Tensor:
    """A box with its last pixel inside ends ``offset`` later: in its own area and in every overlap."""
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes
