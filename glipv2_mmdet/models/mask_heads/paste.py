"""From maps inside boxes to masks of the whole picture, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.structures.mask import encode_mask_results
from torch import Tensor


def paste_bitmaps(probs: Tensor, boxes: Tensor, image_shape: Sequence[int], threshold: float) -> Tensor:
    """Masks as mmdet's metrics and visualizer take them.

    Args:
        probs: (R, S, S) probabilities inside the boxes.
        boxes: (R, 4) xyxy edges in pixels of the picture.
        image_shape: (H, W) of the picture.
        threshold: probability from which a pixel belongs to the object.

    Returns:
        (R, H, W) bool; (0, H, W) for no boxes.
    """
    bitmaps = torch.zeros(len(boxes), *image_shape[:2], dtype=torch.bool, device=boxes.device)
    for bitmap, (window, inside) in zip(bitmaps, _pasted(probs, boxes, image_shape, threshold), strict=True):
        bitmap[window] = inside
    return bitmaps


def paste_rles(probs: Tensor, boxes: Tensor, image_shape: Sequence[int], threshold: float) -> list[dict]:
    """The same masks as COCO run lengths; only one of them has the size of the picture at a time."""
    rles = []
    for window, inside in _pasted(probs, boxes, image_shape, threshold):
        bitmap = torch.zeros(*image_shape[:2], dtype=torch.bool)
        bitmap[window] = inside.cpu()
        rles += encode_mask_results([bitmap.numpy()])
    return rles


def _pasted(
    probs: Tensor, boxes: Tensor, image_shape: Sequence[int], threshold: float
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Per box: the window of the picture it touches, and the pixels of the object in it."""
    height, width = image_shape[:2]
    for prob, box in zip(probs, boxes, strict=True):
        pixels, window = _do_paste_mask(prob[None, None], box[None], height, width, skip_empty=True)
        yield window, pixels[0] >= threshold
