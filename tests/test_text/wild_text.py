"""Strings that people and files really contain, for property tests.

Chosen characters instead of all of Unicode: nastier on average, and hypothesis takes seconds to index all.
"""

from __future__ import annotations

from hypothesis import strategies as st

WILD = (
    'abcXYZ 019'
    '._-()[]{}"\'`’,;:!?/&%$#@+*=<>|~^\\'  # separators and punctuation
    '\t\n\r\x00\x1f\x7f\u00a0\u2028\u3000'  # blanks and controls
    '\u200b\u200d\ufeff\ufe0f\u0301\u0308'  # no width: joiners, marks, accents
    'éßİıñŁﬁ'  # change length when lower-cased or normalised
    '猫犬。、，ｗ＃カ'  # wide, with their own full stop
    'אبहक्ष'  # right to left, conjuncts
    '🐶👩🏽¼²Ⅷ\ud83d'
)  # beyond 16 bit, digits that are none, half a character


def wild_text(min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Strings of these characters."""
    return st.lists(st.sampled_from(WILD), min_size=min_size, max_size=max_size).map(''.join)
