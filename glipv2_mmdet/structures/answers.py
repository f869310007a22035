"""What a model answered to one question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answers:
    """The best answers of one question, best first.

    Attributes:
        texts: answers of the vocabulary.
        scores: in [0, 1], one per text; how likely people are to accept it. They need not add up to one.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> str:
        return self.texts[0]
