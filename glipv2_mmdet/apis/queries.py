"""What a user asks of an image: class names, a sentence with phrases, a question, or nothing (a caption)."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..text import Prompt, PromptError, parse_prompt, question_prompt

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
        return dict(text=self.text, custom_entities=not isinstance(self.text, str), tokens_positive=self.spans,
                    prompt=self.prompt)


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
        PromptError: the sentence has no words, or a phrase is not in it.
    """
    spans = phrases
    if phrases is not None and phrases != -1:
        if isinstance(phrases, str) or not all(isinstance(phrase, str) for phrase in phrases):
            spans = None if isinstance(phrases, str) else list(phrases)
            if spans is None:
                raise PromptError(f'phrases is the text "{phrases[:60]}". Expected a list of phrases: ["{phrases}"].')
        else:
            spans = _find_phrases(caption, phrases)
    parse_caption = parse_prompt(caption, tokens_positive=spans)
    return Query(parse_caption, caption, spans)


def question_query(question: str, answer_token: str | None) -> Query:
    """A question; ``answer_token`` stands for its answer where the VQA head is grounded.

    Raises:
        PromptError: it has no words.
    """
    return Query(question_prompt(question, answer_token), question, is_question=True)


def _find_phrases(caption: str, phrases: Sequence[str]) -> list[list[list[int]]]:
    """The place of each phrase; one that occurs twice in the list is the first, then the second in the sentence."""
    spans: list[list[list[int]]] = []
    for phrase in phrases:
        pattern = rf'(?<!\w){re.escape(phrase.strip())}(?!\w)'
        places = [[*match.span()] for match in re.finditer(pattern, caption, re.IGNORECASE)] if phrase.strip() else []
        if not places:
            raise PromptError(f'The phrase "{phrase[:60]}" is not in the sentence "{caption[:60]}". Give words of the '
                              'sentence, or use detect() for a list of names.')
        spans.append([next((place for place in places if [place] not in spans), places[0])])
    return spans
