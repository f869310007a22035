"""What the fusion neck hands to the heads, and what it knows of an image before it has read a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from glipv2_mmdet.structures.text_features import TextFeatures


@dataclass(frozen=True)
class FusedFeatures:
    """Image and words after they have seen each other.

    Attributes:
        levels: one (B, C, H, W) map per pyramid level, fine to coarse.
        text: the prompts; ``text.hidden`` holds the fused words.
        words: (B, T, C) the words regions are matched with: the fused ones with early fusion, the encoder's
            ``embedded`` without.
    """

    levels: tuple[Tensor, ...]
    text: TextFeatures
    words: Tensor


@dataclass(frozen=True)
class EncodedImage:
    """The image side of fusion with a text that it does not look at: made once, read by any number of texts.

    Attributes:
        tokens: per fusion block (B, V, C), what its words read: the normalised positions of all levels.
        levels: (B, C, H, W) after the last block, fine to coarse; empty where nobody looks for regions.
    """

    tokens: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]

    def select(self, images: Sequence[int]) -> EncodedImage:
        """The given images; the same tensors when these are all of them in order."""
        if list(images) == list(range(len(self.tokens[0]))):
            return self
        return EncodedImage(*(tuple(x[list(images)] for x in part) for part in (self.tokens, self.levels)))
