"""Data samples that the detector has filled → typed results in numpy."""

from __future__ import annotations

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from glipv2_mmdet.apis.images import InputImage
from glipv2_mmdet.apis.queries import Query
from glipv2_mmdet.apis.results import Answer, Caption, Detections
from glipv2_mmdet.text import Prompt


def detections_of(
    sample: DetDataSample, image: InputImage, query: Query, threshold: float, kind: type[Detections] = Detections
) -> Detections:
    """Boxes that score more than ``threshold``, and masks where the sample has them."""
    return _detections(sample.pred_instances, image, query.prompt, threshold, kind)


def answer_of(sample: DetDataSample, image: InputImage, query: Query, threshold: float) -> Answer:
    """Answers, and boxes where the VQA head is grounded."""
    found = None
    if 'pred_instances' in sample:
        found = _detections(sample.pred_instances, image, query.prompt, threshold, Detections)
    answers = sample.pred_answers
    return Answer(image.rgb, image.source, query.text, tuple(answers.texts), tuple(map(float, answers.scores)), found)


def caption_result_of(sample: DetDataSample, image: InputImage, query: Query, threshold: float) -> Caption:
    """A caption, and boxes where it was grounded."""
    caption, found = sample.pred_caption, None
    if 'pred_instances' in sample and caption.phrases:
        prompt = Prompt(caption.text, caption.phrases, is_detection=False)
        found = _detections(sample.pred_instances, image, prompt, threshold, Detections)
    return Caption(image.rgb, image.source, caption.text, float(caption.score), found)


def _detections(
    found: InstanceData, image: InputImage, prompt: Prompt, threshold: float, kind: type[Detections]
) -> Detections:
    found = found[found.scores > threshold]
    masks = None
    if 'masks' in found:
        masks = np.asarray(found.masks).astype(bool, copy=False).reshape(len(found), *image.rgb.shape[:2])
    return kind(
        image=image.rgb,
        source=image.source,
        prompt=prompt.text,
        boxes=found.bboxes.numpy().astype(np.float32, copy=False),
        scores=found.scores.numpy().astype(np.float32, copy=False),
        labels=found.labels.numpy(),
        phrases=prompt.phrases,
        masks=masks,
    )
