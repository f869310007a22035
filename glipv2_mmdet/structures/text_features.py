"""What a text encoder says about a batch of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class TextFeatures:
    """Encoded prompts, padded to the longest prompt of the batch.

    Attributes:
        hidden: (B, T, C) output of the last encoder layer; what fusion reads and rewrites.
        embedded: (B, T, C) the same words before fusion, zero on padding; what scoring reads when fusion is off.
        mask: (B, T) bool, True on real tokens.
        lengths: real tokens of each prompt, known on the host, so that nothing has to ask the device
            whether there is padding.
        causal: each word has read itself and the words before it only, and so it must go on: in fusion the text is
            read left to right and the image does not see it.
    """

    hidden: Tensor
    embedded: Tensor
    mask: Tensor
    lengths: tuple[int, ...]
    causal: bool = False

    @property
    def has_padding(self) -> bool:
        return any(length < self.mask.shape[1] for length in self.lengths)

    @property
    def padding_aware_mask(self) -> Tensor | None:
        """(B, T) mask, or None when every token is real and masking would be work for nothing."""
        return self.mask if self.has_padding else None

    def with_hidden(self, hidden: Tensor) -> TextFeatures:
        """The same prompts after a layer changed ``hidden`` (B, T, C)."""
        return replace(self, hidden=hidden)

    def shifted(self, residual: Tensor) -> TextFeatures:
        """The same prompts with ``residual`` (T, C) added to their words, those of both fields; padding stays."""
        residual = residual.to(self.hidden.device) * self.mask.unsqueeze(-1)
        return replace(self, hidden=self.hidden + residual, embedded=self.embedded + residual)

    @staticmethod
    def join(parts: Sequence[TextFeatures]) -> TextFeatures:
        """The prompts of several batches as one, padded with zeros to the longest."""
        if len(parts) == 1:
            return parts[0]
        longest = max(part.mask.shape[1] for part in parts)
        pads = [longest - part.mask.shape[1] for part in parts]
        hidden, embedded = (
            torch.cat([pad(words, (0, 0, 0, missing)) for words, missing in zip(tensors, pads, strict=True)])
            for tensors in zip(*((part.hidden, part.embedded) for part in parts), strict=True)
        )
        return TextFeatures(
            hidden=hidden,
            embedded=embedded,
            mask=torch.cat([pad(part.mask, (0, missing)) for part, missing in zip(parts, pads, strict=True)]),
            lengths=tuple(length for part in parts for length in part.lengths),
        )

    def select(self, indices: Sequence[int]) -> TextFeatures:
        """Rows ``indices`` of the batch, cut to the longest of them."""
        lengths = tuple(self.lengths[i] for i in indices)
        longest = max(lengths)
        rows = self.mask.new_tensor(indices, dtype=int)
        return replace(
            self,
            hidden=self.hidden[rows, :longest],
            embedded=self.embedded[rows, :longest],
            mask=self.mask[rows, :longest],
            lengths=lengths,
        )
