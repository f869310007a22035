"""What a command prints and writes: each result as it comes, so that nothing is lost when the call ends early."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from glipv2_mmdet.files import atomic_write
from glipv2_mmdet.printable import printable

if TYPE_CHECKING:
    from glipv2_mmdet.apis.results import Result

_SUFFIX = '.jpg'
_NO_NAME = 'image'
_RESULTS, _SO_FAR = 'results.json', 'results.jsonl'


class ResultFolder:
    """The folder of ``--out``: a picture per image and ``results.json``.

    Numbers are appended to ``results.jsonl`` as they come. :meth:`close`, which also Ctrl-C and errors reach, makes
    ``results.json`` of them, which appears complete or not at all.

    Args:
        folder: made where it is missing.

    Raises:
        ValueError: nothing can be written there; raised before the first image is read.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lines: IO[str] = open(self.folder / _SO_FAR, 'w', encoding='utf-8')
        except OSError as error:
            raise ValueError(
                f'--out is "{self.folder}", where nothing can be written ({error.strerror}). Give another folder.'
            ) from error
        self._taken: set[str] = set()
        self.count = 0

    def add(self, result: Result) -> None:
        """Save the picture of a result and append its numbers."""
        picture = result.save(self.folder / file_name(result.source, self._taken))
        record = {**result.to_dict(), 'picture': picture.name}
        self._lines.write(f'{json.dumps(_printable(record), ensure_ascii=False)}\n')
        self._lines.flush()
        self.count += 1

    def close(self) -> None:
        """Make ``results.json`` of what was added."""
        self._lines.close()
        records = (self.folder / _SO_FAR).read_text(encoding='utf-8').splitlines()
        with atomic_write(self.folder / _RESULTS) as file:
            file.write(('[\n' + ',\n'.join(records) + '\n]\n').encode('utf-8'))
        (self.folder / _SO_FAR).unlink()
        sys.stderr.write(f'{self.count} pictures and {_RESULTS} are in {self.folder}\n')


def emit(results: Result | Iterable[Result], args: argparse.Namespace) -> None:
    """Print each result as it comes, and write what --out asks for; nothing is kept in memory."""
    from glipv2_mmdet.apis.results import Result

    results = [results] if isinstance(results, Result) else results
    out = None if args.out is None else ResultFolder(args.out)
    try:
        for result in results:
            text = result.to_json() if args.json else describe(result)
            sys.stdout.write(f'{_printable(text)}\n')
            sys.stdout.flush()
            if out is not None:
                out.add(result)
    finally:
        if out is not None:
            out.close()


def describe(result: Result) -> str:
    """A result for the eye: the image, then what was found."""
    from glipv2_mmdet.apis.results import Answer, Caption, Detections

    if isinstance(result, Answer):
        listed = ', '.join(f'{answer} {score:.2f}' for answer, score in zip(result.answers, result.scores, strict=True))
        return f'{result.source}: {result.question} {listed}'
    if isinstance(result, Caption):
        return f'{result.source}: {result.text}'
    assert isinstance(result, Detections)
    lines = [f'{result.source}: {len(result)} found']
    for name, score, box in zip(result.names, result.scores, result.boxes, strict=True):
        lines.append(f'  {score:.2f}  {name}  [{", ".join(f"{side:.0f}" for side in box)}]')
    return '\n'.join(lines)


def file_name(source: str, taken: set[str]) -> str:
    """A name for the picture of a result; images of the same name from different folders stay apart."""
    name, frame = source, ''
    if '#' in source and source.rsplit('#', 1)[1].isdigit():
        name, number = source.rsplit('#', 1)
        frame = f'_{int(number):06d}'
    stem = Path(name.split('?')[0]).stem or _NO_NAME
    candidate, count = f'{stem}{frame}{_SUFFIX}', 1
    while candidate in taken:
        count += 1
        candidate = f'{stem}{frame}_{count}{_SUFFIX}'
    taken.add(candidate)
    return candidate


def _printable(value: Any) -> Any:
    """Text that any file and terminal takes: bytes of other encodings and control characters as escapes."""
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if not isinstance(value, str):
        return value
    return printable(value, keep='\n')
