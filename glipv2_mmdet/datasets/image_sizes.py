"""Sizes that annotation files state, compared with the headers of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glipv2_mmdet.datasets.box_layout import boxes_outside
from glipv2_mmdet.image_reading import ImageInputError, read_head

#: Up to so many images all headers are read; of more, so many, evenly spaced.
ALL_UP_TO, SAMPLED = 2000, 500


@dataclass(frozen=True)
class StatedSize:
    """What an annotation file says about one image.

    Attributes:
        path: of the image.
        width, height: pixels, as stated.
        boxes: (x, y, width, height) each.
    """

    path: str
    width: float
    height: float
    boxes: Sequence[Sequence[float]] = ()


def corrected_sizes(
    stated: Sequence[StatedSize], source: str, error_type: type[ValueError]
) -> tuple[dict[int, tuple[int, int]], list[str]]:
    """Sizes that have to be replaced by those of the upright images; images that are not there are left out.

    Width and height that are exchanged are corrected where the boxes fit into the image; any other difference means
    that the boxes belong to another picture.

    Args:
        stated: of each image.
        source: of the sizes, for messages.
        error_type: of the reader.

    Returns:
        (width, height) by place in ``stated``, and warnings.

    Raises:
        error_type: sizes that differ otherwise; exchanged sizes whose boxes leave the image; an image that is broken.
    """
    places = range(len(stated))
    if len(stated) > ALL_UP_TO:
        places = np.linspace(0, len(stated) - 1, SAMPLED).astype(int).tolist()
    exchanged, checked = _exchanged(stated, places, source, error_type)
    if exchanged and len(places) < len(stated):
        exchanged, checked = _exchanged(stated, range(len(stated)), source, error_type)
    if not exchanged:
        return {}, []
    first = next(iter(exchanged))
    example = f'"{stated[first].path}" is {exchanged[first][0]} x {exchanged[first][1]} pixels'
    for place, size in exchanged.items():
        boxes = np.asarray(stated[place].boxes, dtype=np.float64).reshape(-1, 4)
        if boxes_outside(boxes, np.asarray([size], dtype=np.float64)).any():
            raise error_type(
                f'{source}: width and height of {len(exchanged)} of {checked} images are exchanged, and boxes leave '
                f'"{stated[place].path}" ({size[0]} x {size[1]} pixels, upright). They were drawn on the image before '
                'it was turned (EXIF orientation). Save the images upright and turn the boxes, or label them anew.'
            )
    return exchanged, [
        f'{source}: width and height of {len(exchanged)} of {checked} images are exchanged ({example}, upright). The '
        'sizes of the images are used; look at some boxes, in case they were drawn on images that were not yet turned.'
    ]


def _exchanged(
    stated: Sequence[StatedSize], places: Sequence[int], source: str, error_type: type[ValueError]
) -> tuple[dict[int, tuple[int, int]], int]:
    """True sizes of images whose width and height are exchanged, by place, and how many images were looked at."""
    exchanged, other, checked = {}, {}, 0
    for place in places:
        entry = stated[place]
        if not Path(entry.path).is_file():
            continue
        try:
            size = read_head(entry.path).size
        except ImageInputError as error:
            raise error_type(f'{source}: {error} Replace or remove the image.') from error
        checked += 1
        if size == (entry.height, entry.width) and size[0] != size[1]:
            exchanged[place] = size
        elif size != (entry.width, entry.height):
            other[place] = size
    if other:
        first = next(iter(other))
        entry, size = stated[first], other[first]
        raise error_type(
            f'{source}: {len(other)} of {checked} images have another size than the file says, for example '
            f'"{entry.path}": {entry.width:g} x {entry.height:g} in the file, {size[0]} x {size[1]} in the image. '
            'Boxes belong to the size that was labelled. Use the images that were labelled, or scale boxes and sizes; '
            'if the boxes fit, write the true sizes.'
        )
    return exchanged, checked
