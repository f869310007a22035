"""Boxes, masks and labels on a picture: plain functions on arrays, no window, no figure, no state.

The visualizer hands in what a data sample has, a result of the inferencer what it has; both get the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from glipv2_mmdet.text.prompt import shorten
from glipv2_mmdet.visualization.palette import label_font, phrase_colour
from glipv2_mmdet.visualization.text_panel import PanelText, paint_panel

#: Pictures whose longer side is shorter are enlarged.
LEAST_SIDE = 640
_BLACK = (0, 0, 0)
_MASK_OPACITY = 0.4
_MOST_CHARACTERS = 100  # of a label


@dataclass(frozen=True)
class Marks:
    """N objects to mark.

    Attributes:
        labels: N phrases; each has its colour.
        names: N texts.
        boxes: (N, 4) xyxy in pixels, or None.
        scores: (N,) written behind the names; those with the highest get the best places for their label.
        masks: (N, H, W) of the size of the picture, or None.
    """

    labels: Sequence[int]
    names: Sequence[str]
    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None


def enlarge(image: np.ndarray, least_side: int = LEAST_SIDE) -> tuple[np.ndarray, int]:
    """A picture (H, W, 3) that is large enough to read, and the whole number it was enlarged by."""
    scale = max(1, round(least_side / max(image.shape[:2])))
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), scale


def paint(
    image: np.ndarray, marks: Marks, paragraphs: Sequence[PanelText] = (), least_side: int = LEAST_SIDE
) -> np.ndarray:
    """A picture with its marks, and with text below.

    Args:
        image: (H, W, 3) uint8 RGB.
        marks: in pixels of ``image``.
        paragraphs: of the panel; none for a picture without one.
        least_side: see :func:`enlarge`.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    large, scale = enlarge(np.ascontiguousarray(image), least_side)
    picture = paint_marks(large, marks, scale)
    return np.concatenate((picture, paint_panel(paragraphs, picture.shape[1], font_size(large.shape))))


def paint_marks(image: np.ndarray, marks: Marks, scale: int = 1) -> np.ndarray:
    """Masks, boxes and labels over a copy of an enlarged picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        marks: in pixels before enlarging.
        scale: how much the picture was enlarged.
    """
    labels = marks.labels
    image = image.copy()
    if marks.masks is not None:
        for label, mask in zip(labels, marks.masks, strict=True):
            large = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
            image[large] = (1 - _MASK_OPACITY) * image[large] + _MASK_OPACITY * np.array(phrase_colour(label))
    if marks.boxes is None or not len(labels):
        return image
    boxes = np.asarray(marks.boxes, dtype=np.float64) * scale
    picture = Image.fromarray(image)
    draw, size = ImageDraw.Draw(picture), font_size(image.shape)
    width = max(2, size // 6)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for k in np.argsort(-areas):  # small boxes stay visible on large ones
        _outline(draw, boxes[k], phrase_colour(labels[k]), width)
    taken: list[tuple[float, float, float, float]] = []
    order = range(len(labels)) if marks.scores is None else np.argsort(-np.asarray(marks.scores), kind='stable')
    for k in order:
        text = shorten(marks.names[k], _MOST_CHARACTERS)
        text = text if marks.scores is None else f'{text} {float(marks.scores[k]):.2f}'
        place = place_label(boxes[k], text, size, picture.size, taken)
        if place is not None:
            taken.append(place)
            draw.rectangle(place, fill=phrase_colour(labels[k]))
            draw.text((place[0] + size // 4, place[1]), text, font=label_font(size), fill=_BLACK)
    return np.asarray(picture)


def font_size(shape: tuple[int, ...]) -> int:
    """Pixels of label and panel text for a picture of this (H, W, ...); a photo of 4,000 px is looked at smaller."""
    side = max(shape[:2])
    return int(max(13, min(side / 40, 26), side / 60))


def place_label(
    box: np.ndarray, text: str, size: int, picture: tuple[int, int], taken: list[tuple[float, float, float, float]]
) -> tuple[float, float, float, float] | None:
    """Where the label of a box goes: a place inside the picture that covers no other label.

    Args:
        box: xyxy in pixels of the picture.
        size: of the font.
        picture: (width, height).
        taken: xyxy of the labels before it.

    Returns:
        xyxy, or None where no place near the box is free; a label on a label could not be read.
    """
    font = label_font(size)
    width, height = font.getlength(text) + size // 2, sum(font.getmetrics())
    left, top, right, bottom = map(float, box)
    most_x, most_y = max(0.0, picture[0] - width - 1), max(0.0, picture[1] - height - 1)
    for y in (top - height, top, bottom, bottom - height, *(top + k * height for k in (1, -2, 2, -3))):
        for x in (left, right - width):
            x1, y1 = min(max(x, 0.0), most_x), min(max(y, 0.0), most_y)
            place = (x1, y1, x1 + width, y1 + height)
            if all(place[2] <= a or place[0] >= c or place[3] <= b or place[1] >= d for a, b, c, d in taken):
                return place
    return None


def _outline(draw: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    """A coloured frame with a thin dark one around it, so that it shows on a ground of the same colour."""
    left, top, right, bottom = map(float, box)
    for grow, fill, thick in ((1, _BLACK, width + 2), (0, colour, width)):
        outer = (left - grow, top - grow, max(right, left + 1) + grow, max(bottom, top + 1) + grow)
        draw.rectangle(outer, outline=fill, width=thick)
