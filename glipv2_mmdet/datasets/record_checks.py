"""What all readers of annotation files ask of a file and of a record before they believe it.

Annotation files are written by hundreds of tools. A wrong type deep inside a record would come out as a bare
``KeyError`` or ``TypeError`` of the reader's own code; here it becomes the reader's error, with file and record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import get

from glipv2_mmdet.known_settings import check_keys
from glipv2_mmdet.text.prompt import shorten

#: What code that reads a record raises when something in it is missing, of another type or too large; the lvis package
#: asserts.
_WRONG_RECORD = (
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ValueError,
    OverflowError,
    RecursionError,
    AssertionError,
)


@contextmanager
def reading(place: str, error_type: type[ValueError], expected: str) -> Iterator[None]:
    """Turns what a broken record raises into ``error_type``; errors of the package itself pass as they are.

    Args:
        place: file, and record where it is known.
        error_type: of the reader.
        expected: the layout, and what to do: whole sentences.

    Raises:
        error_type: names place, what was wrong, and ``expected``.
    """
    try:
        yield
    except _WRONG_RECORD as error:
        if type(error).__module__.startswith('glipv2_mmdet'):
            raise
        raise error_type(f'{place}: {_what(error)}. {expected}') from error


def read_json(
    path: str,
    error_type: type[ValueError],
    expected: str,
    backend_args: dict | None = None,
    unique_keys: bool = False,
) -> Any:
    """The content of a json file in UTF-8 (a byte order mark is fine) or UTF-16.

    Args:
        path: of the file.
        error_type: of the reader.
        expected: the layout, and what to do: whole sentences.
        backend_args: as in mmengine.
        unique_keys: refuse an object with a key twice, of which json would keep the last; costs time in large files.

    Raises:
        error_type: it is no json.
    """
    content = get(path, backend_args=backend_args)
    try:
        return json.loads(content, object_pairs_hook=_unique if unique_keys else None)
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError, and numbers of 5,000 digits
        raise error_type(f'{path}: not json ({error}). {expected}') from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'key "{shorten(twice)}" is given twice in one object')
    return content


def is_number(value: Any, least: float = -math.inf) -> bool:
    """Whether it is a finite number of at least ``least``; a truth value is none."""
    try:
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (value >= least)
        )
    except OverflowError:  # an integer that no float can hold
        return False


def is_size(value: Any) -> bool:
    """Whether it is a whole number of pixels, at least 1, as an integer or a float."""
    return is_number(value, 1) and value == int(value)


def is_box(value: Any) -> bool:
    """Whether it is a list of four finite numbers."""
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(is_number, value))


def is_span(value: Any, length: int) -> bool:
    """Whether it is a half-open range ``[start, end]`` of a text of that length, with a character in it."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(edge) is int for edge in value)
        and 0 <= value[0] < value[1] <= length
    )


def require_boxes(boxes: Sequence[Any], place: str, error_type: type[ValueError]) -> None:
    """Refuse boxes that are none.

    Raises:
        error_type: names the first.
    """
    for box in boxes:
        if not is_box(box):
            raise error_type(
                f'{place}: box {shorten(repr(box))}; expected 4 finite numbers. Correct or delete the box.'
            )


def require_size(height: Any, width: Any, place: str, error_type: type[ValueError]) -> None:
    """Refuse the size of a picture that is none.

    Raises:
        error_type: names it.
    """
    if not is_size(height) or not is_size(width):
        raise error_type(
            f'{place}: height {shorten(repr(height))}, width {shorten(repr(width))}; expected whole '
            'numbers of pixels, at least 1. Read them from the picture.'
        )


def _what(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f'no field {error}'
    if isinstance(error, RecursionError):
        return 'lists in lists without end'
    return f'a value of the wrong type or size ({shorten(str(error), 120)})'


def check_dataset_settings(dataset: Any, filter_keys: Sequence[str] = ()) -> None:
    """Refuse keys of ``filter_cfg`` and ``data_prefix`` that the data set does not read.

    Args:
        dataset: of mmengine.
        filter_keys: keys of ``filter_cfg`` that it reads.

    Raises:
        ValueError: names the key, and the nearest known one.
    """
    name = type(dataset).__name__
    check_keys(dataset.filter_cfg or {}, filter_keys, f'filter_cfg of {name}')
    check_keys(dataset.data_prefix, ('img', 'img_path'), f'data_prefix of {name}')
