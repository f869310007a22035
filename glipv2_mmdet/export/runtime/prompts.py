"""Class names to tokens, for a model that reads any prompt. Needs the package ``tokenizers``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: The words between two class names that the models were trained with.
SEPARATOR = '. '
_PARENTHESES = re.compile(r'\([^()]*\)')
_BLANKS = re.compile(r'[_\s]+')
_CLASS_BREAK = re.compile(r'\.+(?=\s|$)')


@dataclass(frozen=True)
class Tokens:
    """A prompt as the graph takes it.

    Attributes:
        phrases: K names.
        ids: (1, T) int64.
        mask: (1, T) bool, True on real tokens.
        phrase_map: (K, T) float32, the share each token has in each phrase.
    """

    phrases: tuple[str, ...]
    ids: np.ndarray
    mask: np.ndarray
    phrase_map: np.ndarray


class PromptReader:
    """Makes :class:`Tokens` of class names.

    Args:
        tokenizer: JSON of the tokenizer.
        max_tokens: longest prompt.
    """

    def __init__(self, tokenizer: str, max_tokens: int) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                'This model reads prompts, which needs the package tokenizers. Install it: pip install tokenizers'
            ) from error
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.max_tokens = max_tokens

    def __call__(self, prompt: str | Sequence[str]) -> Tokens:
        """Read ``'cat . traffic light'`` or ``['cat', 'traffic light']``.

        Raises:
            ValueError: no names, a name without letters or digits or given twice, or more tokens than the model reads.
        """
        phrases = split_names(prompt)
        text, spans = join_names(phrases)
        encoded = self.tokenizer.encode(text)
        num_tokens = len(encoded.ids)
        if num_tokens > self.max_tokens:
            raise ValueError(
                f'The prompt of {len(phrases)} names has {num_tokens} tokens, this model reads '
                f'{self.max_tokens}. Ask for the names in several calls.'
            )
        starts, ends = np.array(encoded.offsets).T
        words = (np.array(encoded.special_tokens_mask) == 0) & (starts < ends)
        phrase_map = np.stack([words & (starts < end) & (ends > start) for start, end in spans]).astype(np.float32)
        phrase_map /= phrase_map.sum(axis=1, keepdims=True).clip(min=1)
        ids = np.array([encoded.ids], dtype=np.int64)
        return Tokens(phrases, ids, np.ones_like(ids, dtype=bool), phrase_map)


def split_names(prompt: str | Sequence[str]) -> tuple[str, ...]:
    """Names of a string with dots between them, or of a list, stripped and checked."""
    names = _CLASS_BREAK.split(prompt) if isinstance(prompt, str) else list(prompt)
    names = tuple(name.strip() for name in names if name.strip() or not isinstance(prompt, str))
    if not names:
        raise ValueError(f'The prompt {prompt!r} has no names. Expected for example "cat . traffic light", or a list.')
    for place, name in enumerate(names):
        if not any(map(str.isalnum, clean_name(name))):
            raise ValueError(
                f"Class name '{name}' (position {place}) has no letter or digit once '(...)' and '_' are "
                'removed. Give it other words.'
            )
        if name.casefold() in (other.casefold() for other in names[:place]):
            raise ValueError(f"Class name '{name}' is given twice. Expected every class once.")
    return names


def join_names(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of the prompt, and the half-open character range of each name in it."""
    text, spans = '', []
    for name in names:
        text += SEPARATOR if text else ''
        words = clean_name(name)
        spans.append((len(text), len(text) + len(words)))
        text += words
    return text, spans


def clean_name(name: str) -> str:
    """A label as words: without ``(...)``, underscores and runs of blanks as one blank."""
    while '(' in name and (shorter := _PARENTHESES.sub('', name)) != name:
        name = shorter
    return _BLANKS.sub(' ', name).strip()
