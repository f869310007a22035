"""From maps inside boxes to masks of the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def paste(probs: np.ndarray, boxes: np.ndarray, image_size: Sequence[int], threshold: float) -> np.ndarray:
    """Bilinear look-ups, outside a map zero.

    Args:
        probs: (R, S, S) probabilities inside the boxes.
        boxes: (R, 4) xyxy edges in pixels of the image.
        image_size: (H, W).
        threshold: probability from which a pixel belongs to the object.

    Returns:
        (R, H, W) bool.
    """
    height, width = image_size
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, prob, (left, top, right, bottom) in zip(masks, probs, boxes, strict=True):
        rows, columns = _window(top, bottom, height), _window(left, right, width)
        down = _interpolation(rows, top, bottom, prob.shape[0])
        across = _interpolation(columns, left, right, prob.shape[1])
        mask[rows, columns] = down @ prob @ across.T >= threshold
    return masks


def _window(first: float, last: float, size: int) -> slice:
    """The pixels that a box touches along one axis, and one more at each end."""
    return slice(max(int(np.floor(first)) - 1, 0), min(int(np.ceil(last)) + 1, size))


def _interpolation(pixels: slice, first: float, last: float, size: int) -> np.ndarray:
    """(pixels, size) weights of the cells of a map that lies between two edges."""
    centers = np.arange(pixels.start, pixels.stop, dtype=np.float32) + np.float32(0.5)
    place = (centers - first) / (last - first) * size - np.float32(0.5)
    distance = np.abs(place[:, None] - np.arange(size, dtype=np.float32))
    return (1 - distance).clip(min=0).astype(np.float32)
