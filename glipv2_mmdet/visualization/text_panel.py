"""The text under a picture: a prompt or caption with its phrases in their colours, or a question with its answers.

In: a data sample. Out: :class:`PanelText`, its wrapped :class:`Line` s, and the painted panel (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from glipv2_mmdet.text import Prompt, PromptError, parse_prompt
from glipv2_mmdet.visualization.palette import Colour, label_font, phrase_colour

BACKGROUND: Colour = (24, 26, 30)
PLAIN: Colour = (225, 228, 232)
QUIET: Colour = (150, 156, 164)
_MOST_ANSWERS = 5
#: Of a paragraph; the class names of LVIS are 15,000 characters. What is behind them is left out.
MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class PanelText:
    """One paragraph.

    Attributes:
        text: what it says.
        spans: (start, end, phrase) of the coloured characters; they do not overlap.
        quiet: True for a heading or a remark.
    """

    text: str
    spans: tuple[tuple[int, int, int], ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Line:
    """One line: pieces of text with the phrase that each belongs to, or None."""

    pieces: tuple[tuple[str, int | None], ...]
    quiet: bool = False

    @property
    def text(self) -> str:
        return ''.join(piece for piece, _ in self.pieces)


def panel_of(sample: Any) -> tuple[PanelText, ...]:
    """What to write under the picture of a data sample: caption, or question and answers, or prompt; may be nothing.

    Reads ``pred_caption`` (a text, or a ``PredictedCaption``), ``pred_answers`` (``Answers``) with ``question`` or
    ``text``, ``prompt``, or ``text`` as mmdet's inference has it.
    """
    caption = sample.get('pred_caption', None)
    if caption is not None:
        text = caption if isinstance(caption, str) else caption.text
        return (phrase_panel(text, getattr(caption, 'phrases', ())),)
    answers = sample.get('pred_answers', None)
    question = sample.get('question', None) or sample.get('text', None)
    if answers is not None:
        return answer_panel(question if isinstance(question, str) else '', answers.texts, answers.scores)
    prompt = sample.get('prompt', None) or shown_prompt(sample)
    return () if prompt is None else (phrase_panel(prompt.text.rstrip(), prompt.phrases),)


def phrase_panel(text: str, phrases: Sequence[Any]) -> PanelText:
    """A text with its phrases (anything with ``spans``) in their colours."""
    return PanelText(text, _phrase_spans(phrases, text))


def answer_panel(
    question: str, texts: Sequence[str], scores: Sequence[float], phrases: Sequence[Any] = ()
) -> tuple[PanelText, ...]:
    """A question, unless it is empty, and its best answers."""
    lines = [f'{answer}   {float(score):.2f}' for answer, score in zip(texts, scores, strict=True)][:_MOST_ANSWERS]
    head = (phrase_panel(question, phrases),) if question else ()
    return head + tuple(PanelText(line, quiet=place > 0) for place, line in enumerate(lines))


def wrap(paragraph: PanelText, width: int, size: int) -> list[Line]:
    """Breaks a paragraph between words so that every line fits; a word that is too long is cut.

    Args:
        width: most pixels of a line.
        size: of the font, in pixels.
    """
    font = label_font(size)
    lines: list[tuple[int, int]] = []  # character ranges
    start = end = 0
    for word_start, word_end in _words(paragraph.text):
        # a line never has more characters than pixels; measuring all of a long word for every line would take minutes
        while word_end - word_start > 1 and (
            word_end - word_start > width or font.getlength(paragraph.text[word_start:word_end]) > width
        ):
            if end > start:
                lines.append((start, end))
            cut = word_start + 1
            most = min(word_end, word_start + width)
            while cut < most and font.getlength(paragraph.text[word_start : cut + 1]) <= width:
                cut += 1
            lines.append((word_start, cut))
            start = end = word_start = cut
        if end > start and font.getlength(paragraph.text[start:word_end]) > width:
            lines.append((start, end))
            start = word_start
        elif end == start:
            start = word_start
        end = word_end
    if end > start:
        lines.append((start, end))
    return [Line(_pieces(paragraph, *line), paragraph.quiet) for line in lines]


def paint_panel(paragraphs: Sequence[PanelText], width: int, size: int) -> np.ndarray:
    """(H, ``width``, 3) RGB; H grows with the number of lines and is 0 for none."""
    margin, step = size // 2, line_height(size)
    lines = [line for paragraph in map(_shortened, paragraphs) for line in wrap(paragraph, width - 2 * margin, size)]
    if not lines:
        return np.zeros((0, width, 3), dtype=np.uint8)
    panel = Image.new('RGB', (width, 2 * margin + step * len(lines)), BACKGROUND)
    draw, font = ImageDraw.Draw(panel), label_font(size)
    for row, line in enumerate(lines):
        x, y = float(margin), margin + row * step
        for text, phrase in line.pieces:
            colour = (QUIET if line.quiet else PLAIN) if phrase is None else phrase_colour(phrase)
            advance = font.getlength(text)
            if phrase is not None:  # underlined too, for readers to whom the colours look alike
                draw.line([(x, y + step - 2), (x + advance, y + step - 2)], fill=colour, width=max(1, size // 10))
            draw.text((x, y), text, font=font, fill=colour)
            x += advance
    return np.asarray(panel)


def _shortened(paragraph: PanelText) -> PanelText:
    if len(paragraph.text) <= MOST_CHARACTERS:
        return paragraph
    return replace(paragraph, text=f'{paragraph.text[:MOST_CHARACTERS]} …')


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    ascent, descent = label_font(size).getmetrics()
    return ascent + descent + max(2, size // 5)


def shown_prompt(sample: Any) -> Prompt | None:
    """The prompt that the ``text`` of a sample makes, as mmdet's inference reads it; None where it makes none."""
    text = sample.get('text', None)
    if text is None:
        return None
    try:
        return parse_prompt(
            text,
            custom_entities=sample.get('custom_entities', False),
            overrides=sample.get('caption_prompt', None),
            tokens_positive=sample.get('tokens_positive', None),
        )
    except PromptError:  # a picture is worth having without its text
        return None


def _phrase_spans(phrases: Sequence[Any], text: str) -> tuple[tuple[int, int, int], ...]:
    """(start, end, phrase) in text order; where phrases share characters the earlier one keeps them."""
    found: list[tuple[int, int, int]] = []
    for index, phrase in enumerate(phrases):
        for start, end in getattr(phrase, 'spans', ()):
            end = min(end, len(text))
            if start < end and all(end <= other[0] or start >= other[1] for other in found):
                found.append((start, end, index))
    return tuple(sorted(found))


def _words(text: str) -> list[tuple[int, int]]:
    ranges, start = [], None
    for place, letter in enumerate(text + ' '):
        if letter.isspace():
            if start is not None:
                ranges.append((start, place))
            start = None
        elif start is None:
            start = place
    return ranges


def _pieces(paragraph: PanelText, start: int, end: int) -> tuple[tuple[str, int | None], ...]:
    pieces: list[tuple[str, int | None]] = []
    at = start
    for span_start, span_end, phrase in paragraph.spans:
        first, last = max(span_start, start), min(span_end, end)
        if first < last:
            pieces += [(paragraph.text[at:first], None), (paragraph.text[first:last], phrase)]
            at = last
    pieces.append((paragraph.text[at:end], None))
    return tuple((text, phrase) for text, phrase in pieces if text)
