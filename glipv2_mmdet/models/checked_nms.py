"""Suppression by mmcv, of the two kinds that exist: mmcv evaluates the name of the kind as Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcv.ops import batched_nms
from torch import Tensor

#: mmcv passes any other name to ``eval``.
NMS_TYPES = ('nms', 'soft_nms')


def checked_nms(boxes: Tensor, scores: Tensor, labels: Tensor, nms: Mapping[str, Any] | None) -> tuple[Tensor, Tensor]:
    """Boxes that no better box of the same label covers, best first.

    Args:
        boxes: (N, 4) pixels.
        scores: (N,).
        labels: (N,); boxes of different labels do not suppress each other.
        nms: as in mmcv, ``dict(type='nms', iou_threshold=0.6)``; None only sorts.

    Returns:
        (K, 5) boxes with their scores, and (K,) their places in ``boxes``.

    Raises:
        ValueError: a kind of suppression that does not exist.
    """
    kind = (nms or {}).get('type', 'nms')
    if isinstance(kind, str) and kind not in NMS_TYPES:
        raise ValueError(f'test_cfg.nms has the type {kind!r}. Expected one of {", ".join(NMS_TYPES)}.')
    return batched_nms(boxes, scores, labels, nms)
