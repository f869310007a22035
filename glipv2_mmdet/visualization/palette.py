"""Colours of phrases and the font of labels; the same phrase has one colour on the image and in the text."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

Colour = tuple[int, int, int]
# Told apart by hue and lightness, also by most colour-blind readers, and legible on dark ground.
_COLOURS: tuple[Colour, ...] = (
    (255, 127, 14),
    (86, 180, 233),
    (240, 228, 66),
    (230, 97, 190),
    (0, 190, 140),
    (255, 99, 92),
    (170, 150, 255),
    (166, 216, 84),
    (229, 196, 148),
    (120, 220, 232),
)
_GOLDEN = 0.618034
_LEAST_LUMINANCE = 0.5


def phrase_colour(index: int) -> Colour:
    """RGB of phrase ``index``; ten chosen colours, then hues as far apart as the golden ratio puts them."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    colour = colorsys.hsv_to_rgb((index * _GOLDEN) % 1.0, 0.55 + 0.25 * (index % 2), 1.0)
    luminance = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    # blue and violet are too dark for a dark ground: mixed with white until they can be read
    white = max(0.0, (_LEAST_LUMINANCE - luminance) / (1 - luminance))
    red, green, blue = (round(255 * (value + white * (1 - value))) for value in colour)
    return red, green, blue


@lru_cache(maxsize=32)
def label_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries; ``size`` in pixels."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts/ttf' / name), size)
