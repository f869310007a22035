"""Reads json files of any size item by item, and groups rows by key on disk instead of in memory.

Objects365's annotations are one json document of several gigabytes, in which the boxes of a picture are scattered.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ijson

_CHUNK = 1 << 20  # bytes read at once
_MOST_BITS = 63  # of a number in the database
_DEEP = re.compile(rb'(?:[\[{]\s*(?:"[^"]{0,99}"\s*:\s*)?){200}')


def iterate_array(path: str | Path, key: str | None = None) -> Iterator[Any]:
    """The items of one array, in order, one in memory at a time.

    Args:
        path: json file.
        key: key of the array in the object at the top, without a dot; None when the file is an array itself.

    Raises:
        ValueError: no such key, no array there, or broken json; the text names the file and the place.
    """
    count = 0
    try:
        with open(path, 'rb') as file:
            prefix = 'item' if key is None else f'{key}.item'
            # json's own numbers instead of decimal ones
            for item in ijson.items(_Shallow(file), prefix, use_float=True, buf_size=_CHUNK):
                yield item
                count += 1
        if not count:
            _check_for_array(path, key)
    except (ijson.JSONError, ValueError, RecursionError) as error:  # a ValueError of text that is not UTF-8
        if type(error) is ValueError:  # our own
            raise
        place = 'before the first item' if not count else f'behind item {count}'
        raise ValueError(
            f'{path}: broken json {place} of {_name(key)} ({" ".join(str(error).split())}). Expected the json file '
            'as it was published: download it again if it is cut off.'
        ) from error


class _Shallow:
    """A file in which nothing is hundreds of lists deep: ijson keeps the path to each level, gigabytes of them."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        if _DEEP.search(content):
            raise ijson.JSONError('lists in lists without end')
        return content


def _check_for_array(path: str | Path, key: str | None) -> None:
    """Tells an empty array from another value and from none."""
    with open(path, 'rb') as file:
        events = ijson.parse(_Shallow(file), buf_size=_CHUNK)
        event = next((event for prefix, event, _ in events if prefix == (key or '')), None)
    if event is None:
        raise ValueError(
            f'{path}: no "{key}" at the top of this json file. Is it the annotation file this tool expects?'
        )
    if event != 'start_array':
        raise ValueError(
            f'{path}: {_name(key)} is no array but a {event.removeprefix("start_")}. Is it the '
            'annotation file this tool expects?'
        )


def field_of(row: Any, name: str, path: str | Path) -> int | str:
    """The key that a row is grouped by.

    Raises:
        ValueError: the row has none, or one that is neither number nor text.
    """
    key = row.get(name) if isinstance(row, dict) else None
    if not isinstance(key, (int, str)) or (isinstance(key, int) and key.bit_length() > _MOST_BITS):
        raise ValueError(
            f'{path}: "{name}" of {str(row)[:60]} is {str(key)[:60]}. Expected a number or a text. Is it '
            'the annotation file this tool expects?'
        )
    return key


def _name(key: str | None) -> str:
    return 'the top' if key is None else f'"{key}"'


class GroupedRows:
    """Rows by key, kept in a temporary database file, so that memory stays constant.

    A context manager; the file goes away with it. Rows of a key come back in the order in which they came.

    Args:
        rows: (key, json value) pairs.
        folder: where the file is made (about the size of the rows); None for the system's temporary folder.
    """

    def __init__(self, rows: Iterable[tuple[int | str, Any]], folder: str | Path | None = None) -> None:
        handle, self._path = tempfile.mkstemp(suffix='.rows', dir=folder)
        os.close(handle)
        self._database = sqlite3.connect(self._path)
        try:
            self._fill(rows)
        except BaseException:  # also Ctrl-C: rows of a broken file end here, and nobody else knows of the file
            self._remove()
            raise

    def __enter__(self) -> GroupedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def __getitem__(self, key: int | str) -> list[Any]:
        """The rows of a key; empty when there are none."""
        found = self._database.execute('SELECT value FROM rows WHERE key = ? ORDER BY rowid', (key,))
        return [json.loads(value) for (value,) in found]

    def keys(self) -> Iterator[int | str]:
        """Every key once, sorted."""
        for (key,) in self._database.execute('SELECT DISTINCT key FROM rows ORDER BY key'):
            yield key

    def _fill(self, rows: Iterable[tuple[int | str, Any]]) -> None:
        # a crash loses a temporary file: nothing that a journal would have to protect
        self._database.execute('PRAGMA journal_mode = OFF')
        self._database.execute('PRAGMA synchronous = OFF')
        self._database.execute('CREATE TABLE rows (key, value TEXT)')
        self._database.executemany('INSERT INTO rows VALUES (?, ?)', ((key, json.dumps(row)) for key, row in rows))
        self._database.execute('CREATE INDEX by_key ON rows (key)')
        self._database.commit()

    def _remove(self) -> None:
        self._database.close()
        os.unlink(self._path)
