"""What a detector with a caption head does: write a caption for an image, and say where its words are.

Text is read left to right and the image never looks at it. So the image side of fusion runs once per image; a search
then writes the caption word by word, and the boxes of its phrases are read from the same image features.
Source: GLIPv2 (Zhang et al., 2022), section 4 and appendix (captioning, grounded captioning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.models.layers.number_range import warn_not_finite
from glipv2_mmdet.models.task_heads.decoding import SearchSettings, beam_search
from glipv2_mmdet.structures import EncodedImage, PredictedCaption, PromptFeatures, TextFeatures
from glipv2_mmdet.text import Phrase, Prompt, PromptChunk, PromptError, find_noun_phrases, phrase_token_map, word_spans

if TYPE_CHECKING:
    from glipv2_mmdet.models.detectors.glipv2 import GLIPv2


def caption_settings(detector: GLIPv2) -> tuple[SearchSettings, bool]:
    """How captions are searched for, and whether they are grounded, from ``test_cfg.caption``.

    That is a dict of the fields of ``SearchSettings`` and ``grounded`` (by default: where the ``bbox_head`` is not
    frozen).

    Raises:
        ValueError: an unknown or wrong setting.
    """
    given = dict(detector.test_cfg.get('caption', {}))
    grounded = given.pop('grounded', 'bbox_head' not in detector.frozen_parts)
    try:
        settings = SearchSettings(**given)
    except TypeError as error:
        raise ValueError(
            f'test_cfg.caption has {", ".join(map(repr, given))}. Expected beam_size, max_words, length_penalty, '
            'no_repeat_ngram or grounded: correct the spelling.'
        ) from error
    room = detector.language_model.tokenizer.max_tokens - 2
    if settings.max_words > room:
        raise ValueError(
            f'test_cfg.caption.max_words is {settings.max_words}, the text encoder reads {room} tokens between start '
            'and end. Lower it, or raise max_tokens of the language model.'
        )
    return settings, grounded


def prepare_captioning(detector: GLIPv2) -> None:
    """Check that the parts go together, and take the gradient from weights that have no use in this mode.

    Distributed training waits for the gradient of every weight that has one. The way from words into the image is not
    used, and without training of regions the last dynamic convolution is not either.

    Raises:
        ValueError: parts that do not go with a caption head.
    """
    if detector.mlm_head is not None:
        raise ValueError(
            'A detector has both caption_head and mlm_head. With the first, text is read left to right, and hidden '
            'words are guessed from both sides: set mlm_head=None.'
        )
    if not detector.fusion.early_fusion:
        raise ValueError(
            'A detector has a caption_head and a fusion neck with early_fusion=False, where words never see the image. '
            'Set early_fusion=True.'
        )
    caption_settings(detector)
    for block in detector.fusion.blocks:
        for parameter in block['attention'].parts_for_image():
            parameter.requires_grad_(False)
    if not detector.learns_regions:
        detector.fusion.blocks[-1]['dynamic_conv'].requires_grad_(False)


def caption_of(sample: DetDataSample) -> Prompt:
    """The caption that a training sample is there for.

    Raises:
        PromptError: it has none.
    """
    prompt = sample.get('prompt', None)
    if prompt is None:
        raise PromptError(
            f'Image "{sample.get("img_path", "?")}" has no caption to learn from. Expected a Prompt under "prompt" in '
            'its meta information: use a caption data set and list "prompt" in the meta_keys of PackDetInputs.'
        )
    return prompt


def annotated_words(text: TextFeatures, prompts: Sequence[Prompt]) -> Tensor | None:
    """(B, T) bool, words that regions may be compared with; None for all.

    In a caption without phrases nobody has said which words are in the image: no region is right or wrong about them.
    """
    is_annotated = [bool(prompt.phrases) for prompt in prompts]
    if all(is_annotated):
        return text.padding_aware_mask
    return text.mask & text.mask.new_tensor(is_annotated)[:, None]


def predict_captions(detector: GLIPv2, levels: Sequence[Tensor], samples: SampleList, rescale: bool) -> None:
    """Set ``pred_caption`` of images without ``text``, and ``pred_instances`` where phrases are grounded.

    Args:
        detector: with a caption head.
        levels: (B, C, H, W) before fusion.
        samples: one per image. The text of one that has it is grounded as it is, read left to right.
        rescale: boxes in original pixels; otherwise in pixels of the network input.
    """
    settings, grounded = caption_settings(detector)
    given = [i for i, sample in enumerate(samples) if sample.get('text', None) is not None]
    to_write = [i for i in range(len(samples)) if i not in given]
    image = detector.fusion.encode_image(levels, final_levels=grounded or bool(given))
    if given:
        told = image.select(given)
        detector.ground(
            [samples[i] for i in given],
            lambda images, text: detector.fusion.fuse_text(told.select(images), text),
            rescale,
        )
    if to_write:
        untold = image.select(to_write)
        captions = write_captions(detector, untold, settings)
        for i, caption in zip(to_write, captions, strict=True):
            samples[i].pred_caption = caption
        if grounded:
            ground_captions(detector, untold, [samples[i] for i in to_write], rescale)


def write_captions(detector: GLIPv2, image: EncodedImage, settings: SearchSettings) -> list[PredictedCaption]:
    """One caption for each image, not grounded yet."""
    tokenizer, device = detector.language_model.tokenizer, image.tokens[0].device
    results = beam_search(
        CaptionSteps(detector, image), len(image.tokens[0]), tokenizer.start_id, tokenizer.end_id, settings, device
    )
    if not all(result.tokens for result in results):
        warn_not_finite('scores of words')
    texts = [tokenizer.decode(result.tokens) for result in results]
    return [PredictedCaption(text, result.score, word_spans(text)) for text, result in zip(texts, results, strict=True)]


class CaptionSteps:
    """Scores the next words of growing captions for :func:`beam_search`; every step is one word's work.

    What it keeps: keys and values of the words so far in every text layer. The image side is shared by all captions of
    an image.

    Args:
        detector: with a caption head.
        image: B images.
    """

    def __init__(self, detector: GLIPv2, image: EncodedImage) -> None:
        self.language_model = detector.language_model
        self.fusion = detector.fusion
        self.head = detector.caption_head
        self.image = image
        self.num_words = 0
        self.encoder_past = self.fusion_past = None
        self.unwritten = unwritten_mask(detector)

    def __call__(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """(R,) words behind rows ``parents`` (R,) of the call before, to (R, V) log probabilities of the next one."""
        if self.num_words:
            self.encoder_past, self.fusion_past = (
                tuple(kept.select(parents) for kept in past) for past in (self.encoder_past, self.fusion_past)
            )
        words, self.encoder_past = self.language_model.step(tokens, self.num_words, self.encoder_past)
        words, self.fusion_past = self.fusion.step(self.image, words, self.fusion_past)
        self.num_words += 1
        logits = self.head(words[:, 0], self.language_model.word_embeddings)
        return logits.float().log_softmax(dim=-1).masked_fill(self.unwritten, float('-inf'))


def unwritten_mask(detector: GLIPv2) -> Tensor:
    """(V,) bool, tokens that no caption is written with; rows of the embedding that no token has are among them."""
    tokenizer, embeddings = detector.language_model.tokenizer, detector.language_model.word_embeddings
    mask = torch.zeros(len(embeddings), dtype=torch.bool)
    mask[list(tokenizer.unwritten_ids)] = True
    mask[tokenizer.vocab_size :] = True
    return mask.to(embeddings.device)


def ground_captions(detector: GLIPv2, image: EncodedImage, samples: SampleList, rescale: bool) -> None:
    """Find the phrases and the words of written captions in their images.

    Sets ``pred_instances`` to the boxes of the noun phrases and completes ``pred_caption``.

    Args:
        detector: with a caption head and a trained ``bbox_head``.
        image: the B images, with their final levels.
        samples: with ``pred_caption``.
        rescale: as in ``predict``.
    """
    rows = [i for i, sample in enumerate(samples) if sample.pred_caption.word_spans]
    for sample in samples:
        if not sample.pred_caption.word_spans:  # punctuation alone names nothing
            sample.pred_instances = _no_instances(image.levels[0])
    if not rows:
        return
    samples, image = [samples[i] for i in rows], image.select(rows)
    prompts = [_noun_phrase_prompt(sample.pred_caption.text) for sample in samples]
    text = detector.language_model.encode(prompts, causal=True)
    fused = detector.fusion.fuse_text(image, text)
    outputs = detector.bbox_head(fused)
    tokenizer, num_words, device = detector.language_model.tokenizer, text.mask.shape[1], text.mask.device
    phrase_maps = [phrase_token_map(tokenizer(prompt), num_words).to(device) for prompt in prompts]
    candidates = detector.bbox_head.candidates(outputs, phrase_maps, [sample.img_shape for sample in samples])
    for row, (sample, prompt, phrase_map, found) in enumerate(
        zip(samples, prompts, phrase_maps, candidates, strict=True)
    ):
        chunk = PromptChunk(prompt, tuple(range(len(prompt.phrases))))
        features = PromptFeatures(
            tuple(level[row : row + 1] for level in fused.levels),
            fused.words[row : row + 1],
            phrase_map,
            chunk.phrase_ids,
        )
        detector.set_detections(sample, prompt, [chunk], [found], [features], rescale)
        caption = sample.pred_caption
        word_map = phrase_token_map(tokenizer(_word_prompt(caption)), num_words).to(device)
        boxes, scores = detector.bbox_head.word_regions(
            outputs, row, word_map, sample.img_shape, sample.scale_factor if rescale else None
        )
        sample.pred_caption = caption.grounded(prompt.phrases, boxes, scores)


def _noun_phrase_prompt(text: str) -> Prompt:
    phrases = (Phrase(name, spans) for name, spans in find_noun_phrases(text))
    return Prompt(text, tuple(phrases), is_detection=False)


def _word_prompt(caption: PredictedCaption) -> Prompt:
    """The caption with every word as a phrase."""
    phrases = (Phrase(word, (span,)) for word, span in zip(caption.words, caption.word_spans, strict=True))
    return Prompt(caption.text, tuple(phrases), is_detection=False)


def _no_instances(like: Tensor) -> InstanceData:
    return InstanceData(
        bboxes=like.new_zeros(0, 4),
        scores=like.new_zeros(0),
        labels=like.new_zeros(0, dtype=torch.long),
        label_names=[],
    )
