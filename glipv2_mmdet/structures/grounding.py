"""What the grounding head says, what it should have said, and what decoding works on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GroundingOutputs:
    """Raw output of the grounding head, all levels joined fine to coarse, row-major inside a level.

    Attributes:
        word_logits: (B, A, T) region-word scores before the sigmoid.
        box_deltas: (B, A, 4) box regression, level scale applied.
        centerness: (B, A) before the sigmoid.
        level_shapes: (H, W) of each level; their areas add up to A.
    """

    word_logits: Tensor
    box_deltas: Tensor
    centerness: Tensor
    level_shapes: tuple[tuple[int, int], ...]

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Anchors of each level."""
        return tuple(height * width for height, width in self.level_shapes)


@dataclass(frozen=True)
class GroundingTargets:
    """Assigned targets of a batch.

    Attributes:
        word_targets: (B, A, T) 0/1, which words each anchor stands for.
        positive: (P,) indices into the B * A anchors that answer for a box with at least one word.
        boxes: (P, 4) their ground-truth boxes, xyxy in input pixels.
        anchors: (P, 4) their anchors, xyxy with inclusive right and bottom side.
        box_ids: (P,) which ground-truth box of its image each of them answers for.
        num_positive: per image, how many of the P are its own; they stand in image order.
        num_assigned: per image, the anchors that answer for any box, with words or without.
        assigned: per image, the anchors' indices (P_b,) and their boxes' indices (P_b,), words or not.
    """

    word_targets: Tensor
    positive: Tensor
    boxes: Tensor
    anchors: Tensor
    box_ids: Tensor
    num_positive: tuple[int, ...]
    num_assigned: tuple[int, ...]
    assigned: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Candidates:
    """Scored boxes of one image and one prompt, before non-maximum suppression.

    Attributes:
        boxes: (R, 4) xyxy with inclusive right and bottom side, input pixels, clipped to the image.
        scores: (R,) square root of phrase score times centerness.
        phrases: (R,) index of the phrase in the prompt.
        anchors: (R,) index of the anchor, all levels joined.
    """

    boxes: Tensor
    scores: Tensor
    phrases: Tensor
    anchors: Tensor
