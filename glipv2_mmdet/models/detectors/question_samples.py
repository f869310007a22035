"""Samples that ask something: which they are, one question each, and what their answers are worth."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor


def is_question(sample: DetDataSample) -> bool:
    """Whether a sample's text is a sentence that no transform has made a prompt of."""
    return (sample.get('prompt', None) is None and isinstance(sample.get('text', None), str)
            and not sample.get('custom_entities', False))


def one_question_each(samples: SampleList) -> tuple[list[int], SampleList]:
    """Split samples with several ``questions``.

    Returns:
        The position of each question's image in ``samples``, and samples with one ``text`` (and one row of
        ``answer_scores``) each. Other samples stay as they are.
    """
    images: list[int] = []
    split: SampleList = []
    for image, sample in enumerate(samples):
        for row in range(len(sample.get('questions', (None,)))):
            images.append(image)
            split.append(sample if 'questions' not in sample else _question(sample, row))
    return images, split


def answer_targets(samples: Sequence[DetDataSample], device: torch.device) -> Tensor:
    """(B, V) soft scores of B questions.

    Raises:
        ValueError: a question has none.
    """
    for sample in samples:
        if sample.get('answer_scores', None) is None:
            raise ValueError(
                f'Question "{sample.text}" has no answer_scores to learn from. List "answer_scores" in the meta_keys '
                'of PackDetInputs, and give VQADataset an ann_file and the answer vocabulary.')
    return torch.from_numpy(np.stack([sample.answer_scores for sample in samples])).to(device)


def _question(sample: DetDataSample, row: int) -> DetDataSample:
    metainfo = {key: value for key, value in sample.metainfo_items() if key not in ('questions', 'answer_scores')}
    metainfo['text'] = sample.questions[row]
    if 'answer_scores' in sample:
        metainfo['answer_scores'] = sample.answer_scores[row]
    return DetDataSample(metainfo=metainfo, gt_instances=sample.gt_instances)
