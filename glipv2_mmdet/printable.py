"""Names that others chose (files, prompts, hosts) as text that a terminal and a log show and do not obey."""

from __future__ import annotations

import unicodedata

#: Control characters, lone surrogates (undecodable bytes of file names), line separators; and marks of direction.
_HIDDEN = ('Cc', 'Cs', 'Zl', 'Zp')
_DIRECTION = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


def printable(text: str, keep: str = '') -> str:
    r"""``text`` with every control character written out: ESC becomes ``\x1b``, a line break ``\n``.

    Args:
        text: of anybody.
        keep: characters that stay, such as ``'\n'`` in a message of several lines.
    """
    if text.isprintable():
        return text
    return ''.join(repr(letter)[1:-1] if _is_hidden(letter) and letter not in keep else letter for letter in text)


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN or letter in _DIRECTION
