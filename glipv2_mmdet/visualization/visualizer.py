"""mmdet's visualizer with a colour per phrase, legible labels at any size, and the text under the picture.

    visualizer = dict(type='GLIPv2Visualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw
from torch import Tensor

from .palette import label_font, phrase_colour
from .text_panel import PanelText, paint_panel, panel_of, shown_prompt

_BLACK = (0, 0, 0)
_MASK_OPACITY = 0.4


@VISUALIZERS.register_module()
class GLIPv2Visualizer(DetLocalVisualizer):
    """Draws boxes and masks in the colour of their phrase and writes prompt, caption or answers below.

    Everything else is mmdet's: it goes wherever ``DetLocalVisualizer`` goes, ``DetInferencer`` and the visualization
    hook among them. Small pictures are enlarged (by whole numbers), so that 160 px scenes are as readable as photos.

    Args:
        name: as in mmengine.
        least_side: pictures whose longer side is shorter are enlarged, in pixels.
        kwargs: as in ``DetLocalVisualizer``.
    """

    def __init__(self, name: str = 'visualizer', least_side: int = 640, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.least_side = least_side

    def add_datasample(self, name: str, image: np.ndarray, data_sample: DetDataSample | None = None,
                       draw_gt: bool = True, draw_pred: bool = True, show: bool = False, wait_time: float = 0,
                       out_file: str | None = None, pred_score_thr: float = 0.3, step: int = 0) -> None:
        """Draws what mmdet's does, enlarged and with the text below; arguments as there. ``image`` is RGB."""
        columns = []
        if data_sample is not None:
            data_sample = data_sample.cpu()
            if draw_gt and 'gt_instances' in data_sample:
                columns.append(data_sample.gt_instances)
            if draw_pred and 'pred_instances' in data_sample:
                found = data_sample.pred_instances
                columns.append(found[found.scores > pred_score_thr])
        paragraphs = panel_of(data_sample) if data_sample is not None else ()
        titles = ('ground truth', 'prediction') if len(columns) == 2 else ()
        picture = self.compose(image, columns, data_sample, paragraphs, titles)
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            Image.fromarray(picture).save(out_file)
        else:
            self.add_image(name, picture, step)

    def compose(self, image: np.ndarray, columns: Sequence[InstanceData], sample: DetDataSample | None,
                paragraphs: Sequence[PanelText], titles: Sequence[str] = ()) -> np.ndarray:
        """The picture of a sample: enlarged, once per set of instances, with titles above and text below.

        Args:
            image: (H, W, 3) RGB.
            columns: what to draw in each column, see :meth:`draw_phrases`; without any the image stands alone.
            sample: names phrases, see :meth:`draw_phrases`.
            paragraphs: the text below.
            titles: one per column, or none.

        Returns:
            (H', W', 3) RGB uint8.
        """
        image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
        scale = max(1, round(self.least_side / max(image.shape[:2])))
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        drawn = [self.draw_phrases(large, instances, scale, sample) for instances in columns] or [large]
        size, width = font_size(large.shape), large.shape[1]
        if titles:
            drawn = [np.concatenate((paint_panel([PanelText(title, quiet=True)], width, size), part))
                     for title, part in zip(titles, drawn, strict=True)]
        picture = np.concatenate(drawn, axis=1)
        return np.concatenate((picture, paint_panel(paragraphs, picture.shape[1], size)))

    def draw_phrases(self, image: np.ndarray, instances: InstanceData, scale: int, sample: DetDataSample) -> np.ndarray:
        """Boxes and masks over a copy of an enlarged picture.

        Args:
            image: (H, W, 3) RGB.
            instances: with ``labels`` and any of ``bboxes``, ``masks`` (in pixels before enlarging), ``scores``,
                ``label_names``.
            scale: how much the picture was enlarged.
            sample: names the phrases where the instances do not.
        """
        labels = [int(label) for label in instances.labels]
        image = image.copy()
        if 'masks' in instances and labels:
            for label, mask in zip(labels, _as_bitmaps(instances.masks), strict=True):
                large = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
                image[large] = (1 - _MASK_OPACITY) * image[large] + _MASK_OPACITY * np.array(phrase_colour(label))
        if 'bboxes' not in instances or not labels:
            return image
        boxes = _as_numbers(instances.bboxes) * scale
        picture = Image.fromarray(image)
        draw, size = ImageDraw.Draw(picture), font_size(image.shape)
        width = max(2, size // 6)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        for k in np.argsort(-areas):  # small boxes stay visible on large ones
            _outline(draw, boxes[k], phrase_colour(labels[k]), width)
        names = self._names(instances, sample, labels)
        taken: list[tuple[float, float, float, float]] = []
        for k in np.argsort(-_as_numbers(instances.scores), kind='stable') if 'scores' in instances else range(
                len(labels)):
            text = names[k] if 'scores' not in instances else f'{names[k]} {float(instances.scores[k]):.2f}'
            place = place_label(boxes[k], text, size, picture.size, taken)
            if place is not None:
                taken.append(place)
                draw.rectangle(place, fill=phrase_colour(labels[k]))
                draw.text((place[0] + size // 4, place[1]), text, font=label_font(size), fill=_BLACK)
        return np.asarray(picture)

    def _names(self, instances: InstanceData, sample: DetDataSample, labels: list[int]) -> list[str]:
        if 'label_names' in instances:
            return list(instances.label_names)
        prompt = sample.get('prompt', None) or shown_prompt(sample)
        known = prompt.names if prompt is not None else self.dataset_meta.get('classes', None) or ()
        return [known[label] if label < len(known) else f'phrase {label}' for label in labels]


def font_size(shape: tuple[int, ...]) -> int:
    """Pixels of label and panel text for a picture of this (H, W, ...)."""
    return int(np.clip(max(shape[:2]) / 40, 13, 26))


def place_label(box: np.ndarray, text: str, size: int, picture: tuple[int, int],
                taken: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float] | None:
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


def _as_numbers(values: Any) -> np.ndarray:
    values = getattr(values, 'tensor', values)
    return (values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(np.float64)


def _as_bitmaps(masks: Any) -> np.ndarray:
    """(G, H, W)."""
    return masks.to_ndarray() if isinstance(masks, (BitmapMasks, PolygonMasks)) else _as_numbers(masks)
