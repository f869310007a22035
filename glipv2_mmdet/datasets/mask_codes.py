"""Polygons and run lengths of an annotation file → codes that pycocotools can be given.

Its C code believes what it is told: run lengths that do not add up to the picture, or coordinates that are not finite,
end the process or fill the memory. So they are counted here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

#: Coordinates beyond are no pixels of any picture.
_MOST_PIXELS = 1e6
#: Outlines that are longer than so many pictures are wide and high cost memory and mean nothing.
_MOST_ROUNDS = 1000


class MaskError(ValueError):
    """A mask that cannot be used; the message names picture, instance, value and fix."""


def polygon_code(polygon: Sequence[float], place: str, height: int, width: int) -> dict:
    """COCO's code of a polygon ``[x1, y1, x2, y2, ...]`` of at least three points.

    Raises:
        MaskError: as :func:`check_polygon`.
    """
    check_polygon(polygon, place, height, width)
    return coco_mask.frPyObjects([list(map(float, polygon))], height, width)[0]


def check_polygon(polygon: Sequence[float], place: str, height: int, width: int) -> None:
    """Refuse a polygon that cannot be drawn.

    Raises:
        MaskError: something else than pairs of numbers, numbers that are not finite, or far outside the picture.
    """
    try:
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise form_error(place, polygon) from error
    largest = np.abs(points).max(initial=0)
    length = np.hypot(*(np.roll(points, 1, axis=0) - points).T).sum() if largest <= _MOST_PIXELS else np.inf
    if not length <= _MOST_ROUNDS * (height + width):
        raise MaskError(
            f'{place}: polygon {str(list(polygon))[:60]} reaches far outside the picture of {height} x {width} '
            '(height x width), or has numbers that are not finite. Expected points in pixels. Correct or delete the '
            'polygon.'
        )


def run_length_code(mask: Any, place: str, height: int, width: int) -> dict:
    """Run lengths, compressed or not, as COCO's compressed code.

    Raises:
        MaskError: another form, another picture size, or lengths that do not add up to the picture.
    """
    counts, size = mask.get('counts'), mask.get('size')
    if not isinstance(counts, (list, str, bytes)) or not isinstance(size, (list, tuple)) or len(size) != 2:
        raise form_error(place, mask)
    if list(size) != [height, width]:
        raise MaskError(
            f'{place}: run lengths of a picture of {size[0]} x {size[1]}; expected {height} x {width} (height x '
            'width), the size of this picture. The annotation belongs to another version of the picture.'
        )
    lengths = counts if isinstance(counts, list) else _decompressed(counts)
    if lengths is None or not all(isinstance(length, int) and length >= 0 for length in lengths):
        raise form_error(place, mask)
    if sum(lengths) != height * width:
        raise MaskError(
            f'{place}: run lengths add up to {sum(lengths)} pixels; expected {height * width}, those of the picture. '
            'The code is cut off or broken: write it again.'
        )
    if isinstance(counts, list):
        return coco_mask.frPyObjects(dict(size=[height, width], counts=counts), height, width)
    return dict(size=[height, width], counts=counts)


def form_error(place: str, mask: Any) -> MaskError:
    """The error for something that is no mask."""
    return MaskError(
        f'{place}: mask {str(mask)[:60]!r}; expected a list of polygons [x1, y1, x2, y2, ...] or {{"size": [height, '
        'width], "counts": ...}. Correct the record.'
    )


def _decompressed(counts: str | bytes) -> list[int] | None:
    """Run lengths of COCO's text code; None where it is none.

    Letters hold five bits of a number and whether more follow; from the fourth number on it is the difference to the
    one before the last.
    """
    try:
        letters = counts.encode('ascii') if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        return None
    lengths: list[int] = []
    number = shift = 0
    for letter in letters:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:  # six letters hold any length of a picture
            return None
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    return None if shift else lengths
