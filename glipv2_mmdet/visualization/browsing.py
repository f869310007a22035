"""Samples as the model gets them, painted: boxes, masks, prompt, caption, questions with their answers.

In: a config and a split. Out: one RGB picture per sample. The pipeline of the config runs as in training, so that a
flip that turns "left" into "right", or a prompt without the class of a box, is seen before it is learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS, VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

from glipv2_mmdet.text import question_prompt, read_answers
from glipv2_mmdet.visualization.text_panel import PanelText, panel_of

SPLITS = ('train', 'val', 'test')
_RESIZING = frozenset({'Resize', 'FixScaleResize', 'FixShapeResize', 'RandomChoiceResize', 'RandomResize'})
_MOST_QUESTIONS = 6
_ANSWER = '(answer)'


@dataclass(frozen=True)
class PaintedSample:
    """One sample of a split.

    Attributes:
        index: its place in the data set, or in the stream.
        source: path of its image; empty where the image came out of a shard.
        picture: (H, W, 3) RGB uint8.
    """

    index: int
    source: str
    picture: np.ndarray


def paint_samples(
    cfg: Config, split: str = 'train', number: int = 8, places: Sequence[int] | None = None
) -> Iterator[PaintedSample]:
    """Paints samples of a split, by default from all over the data set.

    Args:
        cfg: with ``<split>_dataloader``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        number: most samples.
        places: these samples instead.

    Raises:
        ValueError: the config has no such split, or the data set no such place.
    """
    if split not in SPLITS or cfg.get(f'{split}_dataloader') is None:
        known = [name for name in SPLITS if cfg.get(f'{name}_dataloader') is not None]
        raise ValueError(f"The split is '{split}'. This config has data for {', '.join(known) or 'none'}.")
    settings = cfg[f'{split}_dataloader'].dataset
    data = DATASETS.build(settings)
    answers = _answers(cfg, settings)
    visualizer = VISUALIZERS.build(dict(type='GLIPv2Visualizer', name=f'browse {split}'))
    visualizer.dataset_meta = getattr(data, 'metainfo', None) or {}
    in_original_frame = boxes_stay_behind(_pipeline_of(settings))
    for index, packed in _chosen(data, number, places):
        sample = packed['data_samples']
        if sample.get('answer_scores', None) is not None and sample.get('tokens_positive', None) is not None:
            sample.set_metainfo(dict(prompt=question_prompt(sample.text, _ANSWER, sample.tokens_positive)))
        columns = _annotations(sample, in_original_frame)
        image = packed['inputs'].numpy().transpose(1, 2, 0)[..., ::-1]
        picture = visualizer.compose(image, columns, sample, annotated_panel(sample, answers))
        yield PaintedSample(index, str(sample.get('img_path', '') or ''), picture)


def annotated_panel(sample: DetDataSample, answers: Sequence[str] = ()) -> tuple[PanelText, ...]:
    """What is known about a sample in words: its questions with what people answered, its captions, or its prompt.

    Args:
        sample: of a pipeline. ``questions`` or ``text`` come with ``answer_scores`` in training, with ``gt_answers`` in
            evaluation.
        answers: the vocabulary that ``answer_scores`` counts.
    """
    scores = sample.get('answer_scores', None)
    if scores is not None:
        questions = sample.get('questions', None) or [sample.get('text')]
        rows = np.atleast_2d(np.asarray(scores))
        if sample.get('prompt', None) is not None:  # a grounded question: its phrases have boxes
            return (*panel_of(sample), PanelText(_best_answers(rows[0], answers)))
        lines = [
            PanelText(f'{question}   {_best_answers(row, answers)}')
            for question, row in zip(questions, rows, strict=True)
        ]
        rest = len(lines) - _MOST_QUESTIONS
        return (*lines[:_MOST_QUESTIONS], *([PanelText(f'and {rest} more questions', quiet=True)] if rest > 0 else []))
    given = sample.get('gt_answers', None)
    if given is not None:
        people = Counter(given).most_common()
        said = ', '.join(answer if count == 1 else f'{answer} ×{count}' for answer, count in people)
        return (PanelText(f'{sample.get("text")}   {said}'),)
    return panel_of(sample)


def boxes_stay_behind(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Whether annotations are loaded after the image was resized: they then stay in pixels of the original image, as
    metrics want them (mmdet's habit in evaluation)."""
    kinds = [step['type'] for step in pipeline]
    loads = [place for place, kind in enumerate(kinds) if kind == 'LoadAnnotations']
    resizes = [place for place, kind in enumerate(kinds) if kind in _RESIZING]
    return bool(loads and resizes and loads[0] > resizes[0])


def _chosen(data: Any, number: int, places: Sequence[int] | None) -> Iterator[tuple[int, dict]]:
    if not hasattr(data, '__len__'):  # shards are read from the front
        for index, packed in zip(range(number if places is None else max(places) + 1), data, strict=False):
            if places is None or index in places:
                yield index, packed
        return
    size = len(data)
    if places is None:
        places = np.linspace(0, size - 1, min(number, size)).astype(int).tolist()
    for index in places:
        if not 0 <= index < size:
            raise ValueError(f'Sample {index} was asked for; the data set has {size}, counted from 0.')
        yield index, data[index]


def _pipeline_of(settings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The pipeline of a data set, or that of the first data set inside a wrapper."""
    while 'pipeline' not in settings or not settings['pipeline']:
        inner = settings.get('dataset') or settings.get('datasets')
        if not inner:
            return ()
        settings = inner[0] if isinstance(inner, (list, tuple)) else inner
    return settings['pipeline']


def _answers(cfg: Config, settings: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = settings.get('answers') or (cfg.get('model', {}).get('vqa_head') or {}).get('answers')
    return () if wanted is None else tuple(read_answers(wanted))


def _annotations(sample: DetDataSample, in_original_frame: bool) -> list[InstanceData]:
    """What to draw: annotated boxes and masks, or the boxes that a metric will read, or nothing."""
    instances = sample.get('gt_instances', None)
    if instances is None or 'labels' not in instances:
        return []
    if len(instances) == 0 and sample.get('instances', None):
        given = sample.instances
        labels = [entry['bbox_label'] for entry in given]
        if any(np.ndim(label) for label in labels):  # a metric's own form: a box may answer several phrases
            return []
        instances = InstanceData(bboxes=torch.tensor([entry['bbox'] for entry in given]), labels=torch.tensor(labels))
        in_original_frame = True
    if in_original_frame:
        _follow_resize(instances, sample)
    return [instances]


def _follow_resize(instances: InstanceData, sample: DetDataSample) -> None:
    """Puts annotations that stayed in original pixels where the resized image shows them."""
    factor = np.asarray(sample.scale_factor, dtype=np.float32)
    boxes = get_box_tensor(instances.bboxes)
    instances.bboxes = boxes * boxes.new_tensor(np.tile(factor, 2))
    if 'masks' in instances and isinstance(instances.masks, (BitmapMasks, PolygonMasks)):
        instances.masks = instances.masks.resize(tuple(sample.img_shape[:2]))


def _best_answers(row: np.ndarray, answers: Sequence[str]) -> str:
    best = [index for index in np.argsort(-row, kind='stable')[:3] if row[index] > 0]
    if not best:
        return '(no answer of the vocabulary)'
    return ', '.join(f'{answers[index] if index < len(answers) else index} {row[index]:.1f}' for index in best)
