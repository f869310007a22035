"""Reads json files of any size item by item, and groups rows by key on disk instead of in memory.

Objects365's annotations are one json document of several gigabytes, in which the boxes of a picture are scattered.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

_CHUNK = 1 << 20  # characters read at once
_DECODER = json.JSONDecoder()
_AFTER_NUMBER = frozenset(',]} \t\r\n')


def iterate_array(path: str | Path, key: str | None = None) -> Iterator[Any]:
    """The items of one array, in order, one in memory at a time.

    Args:
        path: json file.
        key: key of the array in the object at the top; None when the file is an array itself.

    Raises:
        ValueError: no such key, no array there, or broken json; the text names the file and the character.
    """
    with open(path, encoding='utf-8') as file:
        reader = _Reader(file, str(path))
        if key is None:
            yield from reader.array()
            return
        reader.expect('{')
        while reader.peek() != '}':
            name = reader.value()
            reader.expect(':')
            if name == key:
                yield from reader.array()
                return
            reader.skip_value()
            if reader.peek() == ',':
                reader.expect(',')
    raise ValueError(f'{path}: no "{key}" at the top of this json file. Is it the annotation file this tool expects?')


class _Reader:
    """A window on the text of a json file."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.text, self.position, self.dropped, self.ended = '', 0, 0, False

    def array(self) -> Iterator[Any]:
        self.expect('[')
        if self.peek() == ']':
            self.expect(']')
            return
        while True:
            yield self.value()
            if self.peek() == ']':
                self.expect(']')
                return
            self.expect(',')

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
            except json.JSONDecodeError as error:
                if self._fill():
                    continue
                raise self._error(f'broken json ({error.msg})', error.pos) from error
            # a number that the end of the window cuts (3|.5, 4e|2) may go on behind it
            if isinstance(value, (int, float)) and self.text[end : end + 1] not in _AFTER_NUMBER and self._fill():
                continue
            self.position = end
            return value

    def skip_value(self) -> None:
        """Passes over a value; an array item by item, because another one may be the file's largest part."""
        if self.peek() == '[':
            for _ in self.array():
                pass
        else:
            self.value()

    def peek(self) -> str:
        while True:
            while self.position < len(self.text) and self.text[self.position].isspace():
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._fill():
                raise self._error('the file ends too early', self.position)

    def expect(self, mark: str) -> None:
        found = self.peek()
        if found != mark:
            raise self._error(f"found '{found}' instead of '{mark}'", self.position)
        self.position += 1

    def _fill(self) -> bool:
        if self.ended:
            return False
        more = self.file.read(_CHUNK)
        self.ended = not more
        self.dropped += self.position
        self.text, self.position = self.text[self.position :] + more, 0
        return bool(more)

    def _error(self, what: str, position: int) -> ValueError:
        return ValueError(
            f'{self.name}: {what} at character {self.dropped + position}. Expected the json file as it was '
            'published: download it again if it is cut off.'
        )


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
        # a crash loses a temporary file: nothing that a journal would have to protect
        self._database.execute('PRAGMA journal_mode = OFF')
        self._database.execute('PRAGMA synchronous = OFF')
        self._database.execute('CREATE TABLE rows (key, value TEXT)')
        self._database.executemany('INSERT INTO rows VALUES (?, ?)', ((key, json.dumps(row)) for key, row in rows))
        self._database.execute('CREATE INDEX by_key ON rows (key)')
        self._database.commit()

    def __enter__(self) -> GroupedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        os.unlink(self._path)

    def __getitem__(self, key: int | str) -> list[Any]:
        """The rows of a key; empty when there are none."""
        found = self._database.execute('SELECT value FROM rows WHERE key = ? ORDER BY rowid', (key,))
        return [json.loads(value) for (value,) in found]

    def keys(self) -> Iterator[int | str]:
        """Every key once, sorted."""
        for (key,) in self._database.execute('SELECT DISTINCT key FROM rows ORDER BY key'):
            yield key
