"""Annotation, vocabulary and prompt files: every field missing or of a wrong type, and every way a file can be broken.

What a right file of each format looks like is in ``file_formats.py``. Here one thing at a time is made wrong: a value
deep inside the json, or the bytes of the file.
"""

from __future__ import annotations

import copy
import math
import random
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.reliability.input_makers.file_formats import FORMATS, Format, encoded
from benchmarks.reliability.input_makers.verdict import Case

MISSING = object()
VALUES = (
    MISSING,
    None,
    True,
    False,
    0,
    -1,
    1,
    3.5,
    math.nan,
    math.inf,
    -math.inf,
    10**30,
    10**400,
    '',
    ' ',
    'x',
    '7',
    'x' * 5000,
    '\ud83d',
    '\x00',
    '../../x',
    [],
    [[]],
    [None],
    {},
    {'a': 1},
    [0, 0, 0, 0],
    [1, 2],
    ['a', 'b'],
    [[0, 3]],
    [[[0, 3]]],
)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless row of cases; every field missing, every way to break the bytes come first, in random order."""
    numbers = count()

    def case(format_: Format, file: str, content: bytes, name: str) -> Case:
        place = folder / f'{next(numbers)}'

        def call() -> None:
            place.mkdir()
            try:
                for other, right in format_.files.items():
                    (place / other).parent.mkdir(parents=True, exist_ok=True)
                    (place / other).write_bytes(content if other == file else encoded(right))
                format_.load(place)
            finally:
                shutil.rmtree(place)

        # an error says which file, or which folder
        return Case(
            'files',
            f'{format_.name}, {Path(file).name}',
            name,
            call,
            format_.subject,
            mentions=((Path(file).name, *format_.also_named, str(place)),),
        )

    fixed = [(format_, file) for format_ in FORMATS for file in format_.files]
    first = [
        case(format_, file, content, name)
        for format_, file in fixed
        for content, name in (*broken_bytes(encoded(format_.files[file]), rng), *_without(format_.files[file]))
    ]
    rng.shuffle(first)
    yield from first
    trees = [pair for pair in fixed if not isinstance(pair[0].files[pair[1]], bytes)]
    while True:
        format_, file = rng.choice(trees)
        content, name = mutated(format_.files[file], rng)
        yield case(format_, file, encoded(content), name)


def broken_bytes(right: bytes, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """Every way in which a file is not what it was."""
    yield right, 'as it should be'
    yield b'', 'empty'
    yield b'\n\n  \n', 'blanks'
    yield b'hello world\n', 'some words'
    yield b'<html><body>404</body></html>', 'a page of html'
    yield b'\x89PNG\r\n\x1a\n' + bytes(range(256)), 'an image'
    yield rng.randbytes(500), 'random bytes'
    yield bytes(500), 'zeros'
    yield b'\xef\xbb\xbf' + right, 'with a byte order mark'
    yield right.decode('utf-8', 'replace').encode('utf-16'), 'UTF-16'
    yield right.replace(b'cat', 'chât'.encode('latin-1'), 1), 'latin-1'
    yield b'[' * 100_000, 'lists in lists'
    yield b'{"a":' * 100_000, 'objects in objects'
    yield b'1' * 6000, 'a number of 6,000 digits'
    for word in (b'null', b'true', b'0', b'"x"', b'[]', b'{}', b'[[]]', b'[null]', b'NaN', b'[1, 2]', b'{"images": 1}'):
        yield word + b'\n', f'only {word.decode()}'
    for share in (0.1, 0.5, 0.9):
        yield right[: int(len(right) * share)], f'the first {share:.0%}'
    yield right[len(right) // 2 :], 'the second half'
    yield right + right, 'twice'
    yield right.replace(b'\n', b'\r\n'), 'with ends of lines of Windows'
    for _ in range(3):
        place = rng.randrange(len(right))
        yield right[:place] + rng.randbytes(3) + right[place + 3 :], f'other bytes from {place} on'


def mutated(tree: Any, rng: random.Random) -> tuple[Any, str]:
    """One value of the tree replaced, taken out, or there twice."""
    path = rng.choice([path for path in _paths(tree) if path])
    if rng.random() < 0.1 and isinstance(path[-1], int):
        tree = copy.deepcopy(tree)
        parent = _at(tree, path[:-1])
        parent.append(copy.deepcopy(parent[path[-1]]))
        return tree, f'{_spelled(path)} twice'
    return _replaced(tree, path, rng.choice(VALUES))


def _without(tree: Any) -> Iterator[tuple[Any, str]]:
    """Every value missing, and every value null, once."""
    if not isinstance(tree, bytes):
        for path in _paths(tree):
            if path:
                for value in (MISSING, None):
                    changed, name = _replaced(tree, path, value)
                    yield encoded(changed), name


def _replaced(tree: Any, path: tuple, value: Any) -> tuple[Any, str]:
    tree = copy.deepcopy(tree)
    parent = _at(tree, path[:-1])
    if value is MISSING:
        del parent[path[-1]]
        return tree, f'{_spelled(path)} missing'
    parent[path[-1]] = value
    return tree, f'{_spelled(path)} = {ascii(value)[:40]}'


def _paths(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _paths(value, (*path, key))


def _at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _spelled(path: tuple) -> str:
    return '.'.join(map(str, path))
