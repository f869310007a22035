"""Written captions: tokens joined with blanks → text as people write it, and the places of its words."""

from __future__ import annotations

import re

from glipv2_mmdet.text.noun_phrases import WORD

Span = tuple[int, int]

# Tokenizers put a blank around every punctuation mark; where none belongs:
_BEFORE = re.compile(r'\s+(?=[.,;:!?%)\]}])')
_BEHIND = re.compile(r'(?<=[(\[{$#])\s+')
_HYPHEN = re.compile(r'(?<=\w)\s+([-/])\s+(?=\w)')
# A lone quote may open or close, but before these letters it is an apostrophe.
_APOSTROPHE = re.compile(r"(?<=\w)\s+(['’])\s*(?=(?:s|t|m|re|ve|ll|d)\b)", re.IGNORECASE)


def close_up(text: str) -> str:
    """Take out the blanks that a tokenizer put around punctuation: "a man ' s t - shirt ." → "a man's t-shirt."."""
    for pattern, kept in ((_APOSTROPHE, r'\1'), (_HYPHEN, r'\1'), (_BEFORE, ''), (_BEHIND, '')):
        text = pattern.sub(kept, text)
    return text.strip()


def word_spans(text: str) -> tuple[Span, ...]:
    """Half-open character range of every word of a text; punctuation is no word."""
    return tuple(match.span() for match in WORD.finditer(text))
