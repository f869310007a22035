"""Dicts of settings that a component reads itself: a key that nobody reads is an error, with the nearest that is known.

A misspelled argument of a constructor is refused by Python. A misspelled key of ``test_cfg`` would be ignored, and the
run would use the default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def check_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that are not known.

    Args:
        given: the settings.
        known: keys that are read.
        where: name of the dict and of what reads it, for the text.

    Raises:
        ValueError: names the first unknown key, the nearest known one, and all known ones.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f'{where} is {str(given)[:60]!r} ({type(given).__name__}). Expected a dict.')
    known = sorted(known)
    for key in given:
        if key not in known:
            nearest = get_close_matches(str(key), known, n=1)
            meant = f'Did you mean "{nearest[0]}"? ' if nearest else ''
            raise ValueError(f'{where} has no setting "{key}". {meant}Known are {", ".join(known) or "none"}.')


def check_numbers(given: Mapping[str, Any], names: Iterable[str], where: str, whole: bool = False) -> None:
    """Refuse settings that are no finite numbers; those that are absent are left to their defaults.

    Args:
        given: the settings.
        names: of those to look at.
        where: name of the dict and of what reads it, for the text.
        whole: only integers are right.

    Raises:
        ValueError: names setting and value.
    """
    for name in names:
        value = given.get(name, 0)
        is_right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not is_right or not math.isfinite(value):
            raise ValueError(f'{where}: {name} is {value!r}. Expected a {"whole " if whole else ""}number.')
