"""A caption that the model wrote, and where in the image its words are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from glipv2_mmdet.text import Phrase

Span = tuple[int, int]


@dataclass(frozen=True)
class PredictedCaption:
    """One image's caption; ``pred_caption`` of a data sample.

    Attributes:
        text: the caption.
        score: what the search ranked by: log probability over (number of tokens) ** length_penalty.
        word_spans: half-open character range of each of its W words; punctuation is no word.
        phrases: its noun phrases; label k of ``pred_instances`` means ``phrases[k]``. Empty without grounding.
        word_boxes: (W, 4) xyxy, the region that matches each word best, in the frame of ``pred_instances``; None
            without grounding.
        word_scores: (W,) how well it matches, 0 to 1; None without grounding.
    """

    text: str
    score: float
    word_spans: tuple[Span, ...]
    phrases: tuple[Phrase, ...] = ()
    word_boxes: Tensor | None = None
    word_scores: Tensor | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The W words as they stand in the text."""
        return tuple(self.text[start:end] for start, end in self.word_spans)

    def grounded(self, phrases: Sequence[Phrase], word_boxes: Tensor, word_scores: Tensor) -> PredictedCaption:
        """The same caption, found in its image."""
        return replace(self, phrases=tuple(phrases), word_boxes=word_boxes, word_scores=word_scores)
