"""What a detector with a VQA head does: tell questions from other texts, learn their answers, give them.

Source: GLIPv2 (Zhang et al., 2022), section 4 and appendix (VQA, grounded VQA).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor

from glipv2_mmdet.models.detectors.samples import parsed_prompt
from glipv2_mmdet.models.task_heads import VQAHead
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import Prompt, PromptTokenizer, question_prompt

if TYPE_CHECKING:
    from glipv2_mmdet.models.detectors.glipv2 import GLIPv2


def prepare_answering(detector: GLIPv2) -> None:
    """Check that the parts go together, and take the gradient from weights that have no use without boxes.

    Distributed training waits for the gradient of every weight that has one. Answers are read from words, so nothing
    looks at the image behind the last block of fusion.

    Raises:
        ValueError: parts that do not go with the VQA head.
    """
    if detector.caption_head is not None:
        raise ValueError(
            'A detector has both vqa_head and caption_head. With the second, text is read left to right, '
            'and a question is read from both sides: set one of them to None.'
        )
    if not detector.fusion.early_fusion:
        raise ValueError(
            'A detector has a vqa_head and a fusion neck with early_fusion=False, where words never see '
            'the image. Set early_fusion=True.'
        )
    if not detector.vqa_head.grounded and 'bbox_head' not in detector.frozen_parts:
        raise ValueError(
            'The vqa_head is not grounded, so questions come without boxes that the bbox_head could '
            "learn from. Set frozen_parts=('bbox_head',), or vqa_head.grounded=True."
        )
    if not detector.learns_regions:
        last = detector.fusion.blocks[-1]
        last['dynamic_conv'].requires_grad_(False)
        for parameter in last['attention'].parts_for_image():
            parameter.requires_grad_(False)


def is_question(sample: DetDataSample) -> bool:
    """Whether a sample's text is a sentence that no transform has made a prompt of."""
    return (
        sample.get('prompt', None) is None
        and isinstance(sample.get('text', None), str)
        and not sample.get('custom_entities', False)
    )


def prompt_of(sample: DetDataSample, vqa_head: VQAHead | None, tokenizer: PromptTokenizer) -> Prompt:
    """The question of a sample where there is a head for it, else its classes or caption.

    Raises:
        PromptError: there is no text, or it makes no prompt.
    """
    if vqa_head is None or not is_question(sample):
        return parsed_prompt(sample)
    token = tokenizer.answer_token if vqa_head.grounded else None
    return question_prompt(sample.text, token, sample.get('tokens_positive', None))


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


def answer_loss(vqa_head: VQAHead, text: TextFeatures, samples: SampleList) -> Tensor:
    """L_vqa over the questions of a batch; zero for a batch without any, with a graph, since other ranks wait.

    Raises:
        ValueError: a question has no ``answer_scores``.
    """
    rows = [row for row, sample in enumerate(samples) if is_question(sample)]
    if not rows:
        return 0 * vqa_head(text).sum()
    targets = _answer_targets([samples[row] for row in rows], text.hidden.device)
    return vqa_head.loss(text if len(rows) == len(samples) else text.select(rows), targets)


def answer(vqa_head: VQAHead, text: TextFeatures, samples: SampleList) -> None:
    """Put ``pred_answers`` into the samples that ask something; ``text`` holds the fused words of each."""
    rows = [row for row, sample in enumerate(samples) if is_question(sample)]
    if rows:
        for row, answers in zip(rows, vqa_head.predict(text.select(rows)), strict=True):
            samples[row].pred_answers = answers


def _answer_targets(samples: Sequence[DetDataSample], device: torch.device) -> Tensor:
    """(B, V) soft scores of B questions."""
    for sample in samples:
        if sample.get('answer_scores', None) is None:
            raise ValueError(
                f'Question "{sample.text}" has no answer_scores to learn from. List "answer_scores" in the meta_keys '
                'of PackDetInputs, and give VQADataset an ann_file and the answer vocabulary.'
            )
    return torch.from_numpy(np.stack([sample.answer_scores for sample in samples])).to(device)


def _question(sample: DetDataSample, row: int) -> DetDataSample:
    metainfo = {key: value for key, value in sample.metainfo_items() if key not in ('questions', 'answer_scores')}
    metainfo['text'] = sample.questions[row]
    if 'answer_scores' in sample:
        metainfo['answer_scores'] = sample.answer_scores[row]
    return DetDataSample(metainfo=metainfo, gt_instances=sample.gt_instances)
