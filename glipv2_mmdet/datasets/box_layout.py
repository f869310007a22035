"""Whether the boxes of a file are (x, y, width, height), as COCO has them, or corners (x1, y1, x2, y2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Boxes that have to leave their images before corners are assumed, and their share of all boxes.
_MIN_OUTSIDE, _MIN_SHARE = 3, 0.1
#: Pixels by which rounding may take an edge out of its image.
TOLERANCE = 1.0


def boxes_outside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which boxes leave their image by more than a pixel.

    Args:
        boxes: (N, 4), x, y, width, height.
        sizes: (N, 2), width and height of their images.

    Returns:
        (N,) bool.
    """
    leave_start = (boxes[:, :2] < -TOLERANCE).any(axis=1)
    return leave_start | (boxes[:, :2] + boxes[:, 2:] > sizes + TOLERANCE).any(axis=1)


def refuse_corner_boxes(
    boxes: Sequence[Sequence[float]],
    sizes: Sequence[tuple[float, float]],
    source: str,
    error_type: type[ValueError],
) -> None:
    """Refuse a file whose boxes leave their images as (x, y, width, height) and all fit as corners.

    Args:
        boxes: N boxes as the file has them.
        sizes: width and height of the image of each.
        source: for the message.
        error_type: of the reader.

    Raises:
        error_type: names the share of boxes, and the first one.
    """
    if not boxes:
        return
    given, frames = np.asarray(boxes, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    fit_as_corners = (given[:, 2:] > given[:, :2]) & (given[:, :2] >= -TOLERANCE) & (given[:, 2:] <= frames + TOLERANCE)
    if not fit_as_corners.all():
        return
    outside = boxes_outside(given, frames)
    if outside.sum() >= max(_MIN_OUTSIDE, _MIN_SHARE * len(given)):
        first = int(np.flatnonzero(outside)[0])
        width, height = sizes[first]
        raise error_type(
            f'{source}: the boxes look like corners (x1, y1, x2, y2): as (x, y, width, height), {outside.sum()} of '
            f'{len(given)} leave their image, for example {list(boxes[first])} in {width} x {height} pixels; as '
            'corners all fit. Write x, y, x2 - x1, y2 - y1.'
        )
