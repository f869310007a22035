"""Name tables that are read in both directions: the lines they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

_PLACEHOLDERS = {'i': r'(?P<i>\d+)', 'j': r'(?P<j>\d+)', 'p': r'(?P<p>weight|bias)', 'rest': r'(?P<rest>.+)'}


@dataclass(frozen=True)
class TensorOp:
    """A change of layout. ``forward`` leads from the source to us, ``backward`` the other way."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rule:
    """One line of a name table.

    Templates hold ``{i}`` and ``{j}`` (numbers), ``{p}`` (weight or bias) and ``{rest}`` (anything). Where
    counting differs, the source's ``i`` is ``step`` times ours plus ``shift``.
    """

    source: str
    ours: str
    tensor: TensorOp | None = None
    step: int = 1
    shift: int = 0

    @cached_property
    def _source_pattern(self) -> re.Pattern:
        return _compile(self.source)

    @cached_property
    def _our_pattern(self) -> re.Pattern:
        return _compile(self.ours)

    def name_for_us(self, name: str) -> str | None:
        """Our name of the source's ``name``; None when this line is not about it."""
        found = self._source_pattern.fullmatch(name)
        if found is None:
            return None
        parts = found.groupdict()
        if 'i' in parts:
            index, remainder = divmod(int(parts['i']) - self.shift, self.step)
            if remainder or index < 0:
                return None
            parts['i'] = index
        return self.ours.format(**parts)

    def name_for_source(self, name: str) -> str | None:
        """The source's name of our ``name``; None when this line is not about it."""
        found = self._our_pattern.fullmatch(name)
        if found is None:
            return None
        parts = found.groupdict()
        if 'i' in parts:
            index = int(parts['i']) * self.step + self.shift
            if index < 0:
                return None
            parts['i'] = index
        return self.source.format(**parts)


def first_match(
    rules: Iterable[Rule], rename: Callable[[Rule, str], str | None], name: str
) -> tuple[str, Rule] | tuple[None, None]:
    """The new name and the line of the table that gives it; both None when there is none."""
    for rule in rules:
        renamed = rename(rule, name)
        if renamed is not None:
            return renamed, rule
    return None, None


def name_listing(names: Iterable[str], count: int = 3) -> str:
    """The first names in quotes, for a message."""
    names = list(names)
    return ', '.join(f'"{name}"' for name in names[:count]) + (', ...' if len(names) > count else '')


def _compile(template: str) -> re.Pattern:
    pieces = re.split(r'\{(\w+)\}', template)
    # odd pieces are the placeholders' names
    return re.compile(''.join(_PLACEHOLDERS[piece] if n % 2 else re.escape(piece) for n, piece in enumerate(pieces)))
