"""What the mask head works on: at training sampled boxes with targets, at inference the features of each prompt."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MaskTargets:
    """Boxes that the mask loss looks at, and what should be seen in them.

    Attributes:
        boxes: per image (R_b, 4) xyxy edges in input pixels, inside the image.
        word_maps: per image (R_b, T) bool, the words of the object in each box; every row has at least one.
        masks: (R, S, S) 0/1, the object inside each box; the boxes of all images joined.
    """

    boxes: tuple[Tensor, ...]
    word_maps: tuple[Tensor, ...]
    masks: Tensor


@dataclass(frozen=True)
class PromptFeatures:
    """One image after fusion with one of its prompts, kept until the masks of its boxes are made.

    Attributes:
        levels: (1, C, H, W) fused maps, fine to coarse.
        words: (1, T, C) the words regions are matched with.
        phrase_map: (K, T) bool, the words of each phrase.
        phrase_ids: place of each phrase in the image's full class list.
    """

    levels: tuple[Tensor, ...]
    words: Tensor
    phrase_map: Tensor
    phrase_ids: tuple[int, ...]
