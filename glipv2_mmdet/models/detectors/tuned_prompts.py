"""What a detector does with tuned prompts: learn one, take the right one for each image, name its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from glipv2_mmdet.models.prompt_tuning import PromptTuning
from glipv2_mmdet.models.tuned_prompt import TunedPrompt
from glipv2_mmdet.text import Prompt, PromptChunk, chunk_prompt

if TYPE_CHECKING:
    from glipv2_mmdet.models.detectors.glipv2 import GLIPv2


def build_prompt_tuning(detector: GLIPv2, config: dict) -> PromptTuning:
    """The residual that learns, for the detector's text encoder.

    Raises:
        ValueError: the detector has a part whose own layers would have to learn.
    """
    others = [
        name for name in ('inter_loss', 'mlm_head', 'vqa_head', 'caption_head') if getattr(detector, name) is not None
    ]
    if others:
        raise ValueError(
            f'prompt_tuning was given with {others[0]}, whose own layers would have to learn; in '
            f'prompt tuning the prompt alone does. Set {others[0]}=None.'
        )
    encoder = detector.language_model
    return MODELS.build(
        {
            'chunked_size': detector.test_cfg.get('chunked_size', -1),
            **config,
            'tokenizer': encoder.tokenizer,
            'channels': encoder.channels,
        }
    )


def tuning_of(detector: GLIPv2, sample: DetDataSample) -> PromptTuning | None:
    """The tuned prompt of an image: its own, the one that was set, or the one that learns.

    Raises:
        TunedPromptError: it was tuned on other weights.
        ValueError: the detector has a caption head.
    """
    tuned = sample.get('tuned_prompt', None) or detector.tuned_prompt
    if tuned is None:
        return detector.prompt_tuning
    if detector.caption_head is not None:
        raise ValueError(
            'A tuned prompt was given to a detector with a caption_head, which reads text left to right; '
            'prompts are tuned for words that see all others. Set caption_head=None.'
        )
    tuned = tuned if isinstance(tuned, TunedPrompt) else TunedPrompt.load(tuned)
    return detector.bound_prompts.bind(tuned, detector)


def prompt_and_chunks(
    detector: GLIPv2, sample: DetDataSample, tuning: PromptTuning | None
) -> tuple[Prompt, list[PromptChunk]]:
    """What an image asks for, and the prompts that pass through the network for it.

    Raises:
        PromptError: the image asks for nothing.
        TunedPromptError: it asks for other classes than its tuned prompt has.
    """
    if tuning is not None and not tuning.is_positional:
        if sample.get('text', None) is not None:
            tuning.check_names(detector.inference_prompt(sample).names)
        return tuning.prompt, tuning.chunks
    prompt = detector.inference_prompt(sample)
    return prompt, chunk_prompt(
        prompt,
        detector.language_model.tokenizer,
        detector.test_cfg.get('chunked_size', -1),
        overrides=sample.get('caption_prompt', None),
    )
