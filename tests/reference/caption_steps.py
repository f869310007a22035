"""Next-word scores with nothing kept: all words so far pass through encoder, fusion and head again at every step."""

from __future__ import annotations

import torch
from torch import Tensor

from glipv2_mmdet.models.detectors.captioning import unwritten_mask
from glipv2_mmdet.text import TokenBatch


class RecomputedSteps:
    """Like ``CaptionSteps``, by ``forward`` of whole texts. ``levels``: before fusion, one row per image."""

    def __init__(self, detector, levels) -> None:
        self.detector, self.levels = detector, levels
        self.texts = None
        self.logits: list[Tensor] = []

    def __call__(self, tokens: Tensor, parents: Tensor) -> Tensor:
        before = tokens.new_empty(len(tokens), 0) if self.texts is None else self.texts[parents]
        self.texts = torch.cat((before, tokens[:, None]), dim=1)
        lengths = (self.texts.shape[1],) * len(tokens)
        batch = TokenBatch(self.texts, torch.ones_like(self.texts, dtype=torch.bool), lengths)
        text = self.detector.language_model(batch, causal=True)
        repeats = len(tokens) // len(self.levels[0])
        fused = self.detector.fusion([level.repeat_interleave(repeats, dim=0) for level in self.levels], text)
        logits = self.detector.caption_head(fused.words[:, -1], self.detector.language_model.word_embeddings)
        self.logits.append(logits)
        return logits.log_softmax(dim=-1).masked_fill(unwritten_mask(self.detector), float('-inf'))
