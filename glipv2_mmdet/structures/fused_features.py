"""What the fusion neck hands to the heads."""
from __future__ import annotations

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
