"""Class names of a config and categories of an annotation file, joined by name.

mmdet numbers labels in the order of the *file*, while the prompt is made in the order of the class names. Where the
two orders differ, every box gets the words of another class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from glipv2_mmdet.text.prompt import shorten

_FIX = (
    'Write the names as the file has them. (--cfg-options removes blanks from lists: set names with blanks in the '
    'config file.)'
)


class CategoryNameError(ValueError):
    """Class names that do not fit the categories of an annotation file; the message has the closest names."""


@dataclass(frozen=True)
class JoinedNames:
    """Result of :func:`join_names`.

    Attributes:
        ids: category id by class name, in the order of the names; None for a class that the file lacks.
        missing: class names that the file lacks.
        unused: ids of categories that are not asked for.
    """

    ids: tuple[Hashable | None, ...]
    missing: tuple[str, ...]
    unused: tuple[Hashable, ...]


def join_names(names: Sequence[str], categories: Mapping[Hashable, str], source: str) -> JoinedNames:
    """Find the category of every class name; blanks at both ends do not count.

    Args:
        names: class names in label order.
        categories: name by category id.
        source: of the categories, for messages.

    Raises:
        CategoryNameError: ``names`` is one text; a name stands twice; two categories have the same name; a name differs
            from a category in case, blanks or punctuation only; no name is in the file.
    """
    if isinstance(names, str):
        raise CategoryNameError(
            f'The class names are the text {shorten(repr(names))}; expected a list of names. One class needs a comma: '
            f"classes=('{shorten(names, 30)}',)."
        )
    names = [str(name).strip() for name in names]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise CategoryNameError(f'Class name "{shorten(twice)}" is given twice; expected each name once.')
    by_name: dict[str, list[Hashable]] = {}
    for key, name in categories.items():
        by_name.setdefault(str(name).strip(), []).append(key)
    for name in names:
        if len(by_name.get(name, ())) > 1:
            raise CategoryNameError(
                f'{source}: categories {by_name[name][:5]} are all called "{shorten(name)}"; expected different names. '
                'Make them one category, or rename them.'
            )
    missing = tuple(name for name in names if name not in by_name)
    _refuse_misspelled(missing, [name for name in by_name if name not in set(names)], source)
    if len(missing) == len(names) and names:
        raise CategoryNameError(
            f'{source}: none of the {len(names)} class names is a category of the file. Given: {_listed(names)}. '
            f'Categories: {_listed(list(by_name)) or "none"}. Set the names of the file on the data set: '
            "metainfo=dict(classes=('...', '...'))."
        )
    wanted = set(names)
    return JoinedNames(
        tuple(by_name[name][0] if name in by_name else None for name in names),
        missing,
        tuple(key for key, name in categories.items() if str(name).strip() not in wanted),
    )


def describe_missing(missing: Sequence[str], names: Sequence[str], categories: Sequence[str], source: str) -> str:
    """One line about class names without a category: which, and the closest names of the file."""
    shown = [f'"{shorten(name, 40)}"{_closest(name, categories)}' for name in missing[:5]]
    more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
    return (
        f'{source}: {len(missing)} of {len(names)} class names are no category of the file, so they have no boxes: '
        f'{", ".join(shown)}{more}. Correct the names, or leave them if they are only part of the prompt.'
    )


def _refuse_misspelled(missing: Sequence[str], unused: Sequence[str], source: str) -> None:
    """Equal letters and digits in another case or with other blanks are a mistake, never another class."""
    same_letters = {_letters(name): name for name in unused if _letters(name)}
    wrong = {name: same_letters[_letters(name)] for name in missing if _letters(name) in same_letters}
    if wrong:
        pairs = ', '.join(f'"{shorten(name, 40)}" (the file has "{right}")' for name, right in list(wrong.items())[:5])
        raise CategoryNameError(
            f'{source}: {len(wrong)} class names are spelled otherwise in the file: {pairs}. {_FIX}'
        )


def _letters(name: str) -> str:
    return ''.join(filter(str.isalnum, name.casefold()))


def _closest(name: str, categories: Sequence[str]) -> str:
    folded = {category.casefold(): category for category in categories}
    found = get_close_matches(name.casefold(), folded, n=1)
    return f' (closest: "{shorten(folded[found[0]], 40)}")' if found else ''


def _listed(names: Sequence[str]) -> str:
    shown = ', '.join(shorten(str(name), 40) for name in names[:8])
    return f'{shown}, ... ({len(names)})' if len(names) > 8 else shown
