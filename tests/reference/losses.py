"""Loss terms by their formulas, one number at a time."""

from __future__ import annotations

import math

from torch import Tensor


def plain_focal(logit: float, target: int, alpha: float = 0.25, gamma: float = 2.0) -> float:
    """Focal loss of one pair (Lin et al., 2017, equation 5)."""
    prob = 1 / (1 + math.exp(-logit))
    if target:
        return -alpha * (1 - prob) ** gamma * math.log(prob)
    return -(1 - alpha) * prob**gamma * math.log(1 - prob)


def plain_centerness(anchor: Tensor, box: Tensor) -> float:
    """FCOS, equation 3, at the centre of one anchor."""
    x, y = float(anchor[0] + anchor[2]) / 2, float(anchor[1] + anchor[3]) / 2
    left, top, right, bottom = x - float(box[0]), y - float(box[1]), float(box[2]) - x, float(box[3]) - y
    return math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))


def plain_giou(box: Tensor, other: Tensor) -> float:
    """Generalised IoU of two boxes (Rezatofighi et al., 2019)."""
    x1, y1, x2, y2 = box.tolist()
    u1, v1, u2, v2 = other.tolist()
    overlap = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - overlap
    hull = (max(x2, u2) - min(x1, u1)) * (max(y2, v2) - min(y1, v1))
    return overlap / union - (hull - union) / hull


def plain_contrast(similarities: list[list[float]], positive: list[list[int]]) -> float:
    """Cross entropy of every row, its target spread evenly over the row's positives (GLIPv2, section 3.1)."""
    total = 0.0
    for row, marks in zip(similarities, positive, strict=True):
        if any(marks):
            log_sum = math.log(sum(math.exp(value) for value in row))
            chosen = [log_sum - value for value, mark in zip(row, marks, strict=True) if mark]
            total += sum(chosen) / len(chosen)
    return total
