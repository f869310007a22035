"""Turns the class names or the caption of a sample into its training prompt; the step before packing.

In: ``text`` (tuple of class names, or a caption with ``tokens_positive``) and labels that index it. Out:
``prompt`` (:class:`~glipv2_mmdet.text.Prompt`) and labels that index the prompt's phrases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from glipv2_mmdet.datasets.transforms.clean_boxes import keep_instances
from glipv2_mmdet.text import (
    Prompt,
    PromptError,
    PromptTokenizer,
    pack_captions,
    prompt_from_caption,
    prompt_from_classes,
    sample_prompt_classes,
)
from glipv2_mmdet.text.prompt import shorten


@TRANSFORMS.register_module()
class BuildPrompt(BaseTransform):
    """Builds ``results['prompt']`` and makes ``gt_bboxes_labels`` (G,) point to its phrases.

    Class lists become 'a. b. c'; with ``sample`` the classes of this picture plus random absent ones, in
    random order, as many as the token budget holds. Captions stay as they are, with the ``negative_captions`` of the
    sample, if any, packed around them (:func:`~glipv2_mmdet.text.pack_captions`). Boxes whose class or phrase
    has no place in the budget are removed. A picture without boxes still gets a prompt, all of it negative.

    Random numbers come from numpy's global state, which mmengine seeds per data loader worker.

    Args:
        vocab: vocabulary of the text encoder, see :class:`~glipv2_mmdet.text.PromptTokenizer`.
        max_tokens: token budget with both special tokens.
        max_negatives: most absent classes that are tried.
        full_probability: chance of trying ``max_negatives`` of them instead of a random smaller number.
        sample: False puts all classes in the given order; they must fit the budget. Words of a ``caption_prompt``
            (mmdet's data sets have it) then stand for the names.
        shuffle: False keeps sampled classes in the order of the class list.

    Raises:
        PromptError: labels outside the class list, spans outside the caption, or classes over budget while
            ``sample`` is False.
    """

    def __init__(
        self,
        vocab: str = 'bert-base-uncased',
        max_tokens: int = 256,
        max_negatives: int = 85,
        full_probability: float = 0.5,
        sample: bool = True,
        shuffle: bool = True,
    ) -> None:
        self.tokenizer = PromptTokenizer(vocab, max_tokens=max_tokens)
        self.max_negatives = max_negatives
        self.full_probability = full_probability
        self.sample = sample
        self.shuffle = shuffle
        self._all_classes: tuple[tuple[tuple[str, ...], dict], Prompt] | None = None  # the last and its prompt

    def transform(self, results: dict) -> dict:
        try:
            return self._add_prompt(results)
        except PromptError as error:  # the text package does not know which record it works on
            raise PromptError(f'Sample "{results.get("img_path", results.get("img_id"))}": {error}') from error

    def _add_prompt(self, results: dict) -> dict:
        text = results.get('text')
        labels = np.asarray(results.get('gt_bboxes_labels', ()), dtype=np.int64)
        if isinstance(text, str):
            prompt, positions = self._from_caption(
                text, results.get('tokens_positive'), labels, results.pop('negative_captions', ())
            )
        elif isinstance(text, Sequence) and text:
            prompt, positions = self._from_classes(tuple(text), labels, results.get('caption_prompt') or {})
        else:
            raise PromptError(
                f'"text" is {shorten(repr(text))}; expected class names or a caption. Use '
                'GroundedODVGDataset, or return_classes=True for COCO-type data sets.'
            )
        results['prompt'] = prompt
        if 'gt_bboxes_labels' in results:
            mapped = positions[labels]
            results['gt_bboxes_labels'] = mapped
            if (mapped < 0).any():
                keep_instances(results, mapped >= 0)
        return results

    def _from_classes(self, names: tuple[str, ...], labels: np.ndarray, overrides: dict) -> tuple[Prompt, np.ndarray]:
        """The prompt and, per class, its phrase index or -1."""
        _check_labels(labels, len(names), f'the {len(names)} class names')
        if not self.sample:
            return self._fixed_prompt(names, overrides), np.arange(len(names))
        if overrides:  # their words are not counted when classes are drawn
            raise PromptError(
                f'caption_prompt for {sorted(overrides)} was given with sample=True, which draws class '
                'names. Set sample=False in BuildPrompt, or drop caption_prompt.'
            )
        rng = np.random.default_rng(np.random.randint(2**31, size=4))
        chosen = sample_prompt_classes(
            names,
            np.unique(labels).tolist(),
            self.tokenizer,
            rng,
            max_negatives=self.max_negatives,
            full_probability=self.full_probability,
            shuffle=self.shuffle,
        )
        positions = np.full(len(names), -1)
        positions[chosen] = np.arange(len(chosen))
        return prompt_from_classes([names[k] for k in chosen]), positions

    def _fixed_prompt(self, names: tuple[str, ...], overrides: dict) -> Prompt:
        if self._all_classes is None or self._all_classes[0] != (names, overrides):
            prompt = prompt_from_classes(names, overrides)
            needed = self.tokenizer.count_tokens(prompt.text) + 2
            if needed > self.tokenizer.max_tokens:
                raise PromptError(
                    f'{len(names)} class names need {needed} tokens, the text encoder '
                    f'reads {self.tokenizer.max_tokens}. Set sample=True in BuildPrompt.'
                )
            self._all_classes = ((names, overrides), prompt)
        return self._all_classes[1]

    def _from_caption(
        self, caption: str, spans: list[list[list[int]]] | None, labels: np.ndarray, others: Sequence[str]
    ) -> tuple[Prompt, np.ndarray]:
        """The prompt and, per phrase, its own index, or -1 when truncation leaves it without a token."""
        if spans is None:
            raise PromptError(
                f'caption {shorten(repr(caption))} comes without "tokens_positive"; training needs the '
                'spans that its boxes belong to. Add them, or give class names.'
            )
        if not isinstance(spans, Sequence) or isinstance(spans, str):
            raise PromptError(
                f'"tokens_positive" is {shorten(repr(spans))} ({type(spans).__name__}); expected a list '
                'of spans per phrase, [[[start, end], ...], ...]. Write spans as lists.'
            )
        _check_labels(labels, len(spans), f'the {len(spans)} phrases of {shorten(repr(caption))}')
        # A caption that is about nothing drawn (no phrase) is one big negative: its words match no box.
        spans = spans or [[[0, len(caption)]]]
        if others:
            rng = np.random.default_rng(np.random.randint(2**31, size=4))
            caption, spans = pack_captions(caption, spans, others, self.tokenizer, rng)
        prompt = prompt_from_caption(caption, tokens_positive=spans)
        tokens = self.tokenizer(prompt).phrase_tokens
        return prompt, np.array([k if positions else -1 for k, positions in enumerate(tokens)], dtype=np.int64)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_tokens={self.tokenizer.max_tokens}, '
            f'max_negatives={self.max_negatives}, full_probability={self.full_probability}, '
            f'sample={self.sample}, shuffle={self.shuffle})'
        )


def _check_labels(labels: np.ndarray, count: int, what: str) -> None:
    wrong = labels[(labels < 0) | (labels >= count)]
    if wrong.size:
        raise PromptError(
            f'label {wrong[0]} is not among {what} (0 to {count - 1}). Check that the '
            'class list belongs to this annotation file.'
        )
