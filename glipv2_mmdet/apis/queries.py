"""What a user asks of an image: class names, a sentence with phrases, a question, or nothing (a caption)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from glipv2_mmdet.text import Prompt, PromptError, parse_prompt, question_prompt
from glipv2_mmdet.text.prompt import shorten

#: As in mmdet: phrases of a sentence as lists of half-open character ranges, or -1 for the sentence as a whole.
Spans = list[list[list[int]]] | int | None


@dataclass(frozen=True)
class Query:
    """The words that go with an image.

    Attributes:
        prompt: what the model reads, with the phrases that labels refer to; None asks for a caption.
        text: what the detector's pipeline would bring; None with a tuned prompt, which has its own.
        spans: see :data:`Spans`.
        is_question: the text is for a VQA head.
    """

    prompt: Prompt | None
    text: str | list[str] | None = None
    spans: Spans = None
    is_question: bool = False

    def metainfo(self) -> dict[str, Any]:
        """Meta information of a data sample that asks this."""
        if self.prompt is None or self.text is None:
            return {}
        if self.is_question:
            return dict(text=self.text)
        # a sample that has its prompt is no question, whatever heads the model has
        return dict(
            text=self.text,
            custom_entities=not isinstance(self.text, str),
            tokens_positive=self.spans,
            prompt=self.prompt,
        )


def class_query(prompt: str | Iterable[str]) -> Query:
    """Class names, ``'cat . remote'`` or a list.

    Raises:
        PromptError: they make no prompt.
    """
    parsed = parse_prompt(prompt, custom_entities=True)
    return Query(parsed, list(parsed.names))


def caption_query(caption: str, phrases: Sequence[str] | Spans = None) -> Query:
    """A sentence and what to look for in it.

    Args:
        caption: the sentence.
        phrases: words of it, or :data:`Spans`; None for its noun phrases.

    Raises:
        PromptError: the sentence has no words, a phrase is not in it, or something else than phrases was given.
    """
    spans = phrases
    if not isinstance(caption, str):
        raise PromptError(
            f'The sentence is {shorten(repr(caption))} ({type(caption).__name__}). Expected a text; '
            'class names go to detect().'
        )
    if phrases is not None and not (isinstance(phrases, int) and phrases == -1):
        if isinstance(phrases, str) or not isinstance(phrases, Sequence):
            raise PromptError(
                f'phrases is {shorten(repr(phrases))} ({type(phrases).__name__}). Expected a list of '
                'words of the sentence, such as ["a dog", "the ball"], of their character ranges, or -1.'
            )
        is_text = [isinstance(phrase, str) for phrase in phrases]
        if any(is_text) and not all(is_text):
            raise PromptError(
                f'phrases is {shorten(repr(phrases))}, texts and something else. Expected texts, or '
                'character ranges of the sentence.'
            )
        spans = _find_phrases(caption, phrases) if any(is_text) else list(phrases)
    return Query(parse_prompt(caption, tokens_positive=spans), caption, spans)


def question_query(question: str, answer_token: str | None) -> Query:
    """A question; ``answer_token`` stands for its answer where the VQA head is grounded.

    Raises:
        PromptError: it has no words.
    """
    return Query(question_prompt(question, answer_token), question, is_question=True)


def _find_phrases(caption: str, phrases: Sequence[str]) -> list[list[list[int]]]:
    """The place of each phrase; one that occurs twice in the list is the first, then the second in the sentence."""
    spans: list[list[list[int]]] = []
    used: set[tuple[int, int]] = set()
    places_of: dict[str, list[tuple[int, int]]] = {}
    for phrase in phrases:
        words = phrase.strip()
        if words not in places_of:
            pattern = rf'(?<!\w){re.escape(words)}(?!\w)'
            places_of[words] = [match.span() for match in re.finditer(pattern, caption, re.IGNORECASE) if words]
        places = places_of[words]
        if not places:
            raise PromptError(
                f'The phrase "{phrase[:60]}" is not in the sentence "{caption[:60]}". Give words of the '
                'sentence, or use detect() for a list of names.'
            )
        place = next((place for place in places if place not in used), places[0])
        used.add(place)
        spans.append([[*place]])
    return spans
