"""mmdet's visualizer with a colour per phrase, legible labels at any size, and the text under the picture.

visualizer = dict(type='GLIPv2Visualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from PIL import Image
from torch import Tensor

from glipv2_mmdet.visualization.painting import LEAST_SIDE, Marks, enlarge, font_size, paint_marks
from glipv2_mmdet.visualization.text_panel import PanelText, paint_panel, panel_of, shown_prompt


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

    def __init__(self, name: str = 'visualizer', least_side: int = LEAST_SIDE, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.least_side = least_side

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
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
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(out_file)
        else:
            self.add_image(name, picture, step)

    def compose(
        self,
        image: np.ndarray,
        columns: Sequence[InstanceData],
        sample: DetDataSample | None,
        paragraphs: Sequence[PanelText],
        titles: Sequence[str] = (),
    ) -> np.ndarray:
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
        large, scale = enlarge(np.ascontiguousarray(image.clip(0, 255).astype(np.uint8)), self.least_side)
        drawn = [self.draw_phrases(large, instances, scale, sample) for instances in columns] or [large]
        size, width = font_size(large.shape), large.shape[1]
        if titles:
            drawn = [
                np.concatenate((paint_panel([PanelText(title, quiet=True)], width, size), part))
                for title, part in zip(titles, drawn, strict=True)
            ]
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
        return paint_marks(
            image,
            Marks(
                labels=labels,
                names=self._names(instances, sample, labels),
                boxes=_as_numbers(instances.bboxes) if 'bboxes' in instances else None,
                scores=_as_numbers(instances.scores) if 'scores' in instances else None,
                masks=_as_bitmaps(instances.masks) if 'masks' in instances and labels else None,
            ),
            scale,
        )

    def _names(self, instances: InstanceData, sample: DetDataSample, labels: list[int]) -> list[str]:
        if 'label_names' in instances:
            return list(instances.label_names)
        prompt = sample.get('prompt', None) or shown_prompt(sample)
        known = prompt.names if prompt is not None else self.dataset_meta.get('classes', None) or ()
        return [known[label] if label < len(known) else f'phrase {label}' for label in labels]


def _as_numbers(values: Any) -> np.ndarray:
    values = getattr(values, 'tensor', values)
    return (values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(np.float64)


def _as_bitmaps(masks: Any) -> np.ndarray:
    """(G, H, W)."""
    return masks.to_ndarray() if isinstance(masks, (BitmapMasks, PolygonMasks)) else _as_numbers(masks)
