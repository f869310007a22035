"""Turns the caption of a sample into the training prompt of a captioning run; the step before packing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from glipv2_mmdet.datasets.transforms.build_prompt import BuildPrompt
from glipv2_mmdet.text import PromptError, prompt_from_caption


@TRANSFORMS.register_module()
class CaptionPrompt(BaseTransform):
    """Builds ``results['prompt']`` from a caption with boxes or without.

    A caption without phrases is one that nobody grounded: its prompt has no phrases. (For ``BuildPrompt`` it is one
    about nothing in the image, and all its words are negatives; true captions would unlearn their own objects.)
    Every prompt ends with a full stop, also where the annotators left it out: the word after it is the end that a
    captioning model has to learn.

    Args:
        vocab: as in ``BuildPrompt``.
        max_tokens: as in ``BuildPrompt``.

    Raises:
        PromptError: class names instead of a caption, a caption without words, labels or spans that do not fit.
    """

    def __init__(self, vocab: str = 'bert-base-uncased', max_tokens: int = 256) -> None:
        self.grounded = BuildPrompt(vocab=vocab, max_tokens=max_tokens)

    def transform(self, results: dict) -> dict:
        text = results.get('text')
        if not isinstance(text, str):
            raise PromptError(
                f'Sample "{results.get("img_path")}": "text" is {str(text)[:60]!r}; expected a caption. Use '
                "CocoCaption, or GroundedODVGDataset with filter_cfg=dict(kind='grounding')."
            )
        spans = results.get('tokens_positive')
        if spans is not None and not (isinstance(spans, Sequence) and len(spans) == 0):
            return self.grounded.transform(results)
        if len(results.get('gt_bboxes_labels', ())):
            raise PromptError(
                f'Sample "{results.get("img_path")}": {len(results["gt_bboxes_labels"])} boxes and no phrases; '
                'expected "tokens_positive" with the spans that the boxes belong to. Add them.'
            )
        results['prompt'] = prompt_from_caption(text, tokens_positive=[])
        results.setdefault('gt_bboxes_labels', np.zeros(0, dtype=np.int64))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(max_tokens={self.grounded.tokenizer.max_tokens})'
