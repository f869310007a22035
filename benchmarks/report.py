"""How every benchmark prints: a table for people, flat figures as JSON for documents."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def make_parser(docstring: str) -> argparse.ArgumentParser:
    """A parser with the first line of the script's docstring and ``--json``."""
    parser = argparse.ArgumentParser(description=docstring.splitlines()[0])
    parser.add_argument(
        '--json',
        nargs='?',
        const='-',
        metavar='FILE',
        help='flat figures: to FILE beside the table, or instead of it to the standard output',
    )
    return parser


def publish(figures: Mapping[str, object], table: str, destination: str | None) -> None:
    """Prints the table, or the figures alone when ``destination`` is '-'; writes them when it is a file."""
    if destination == '-':
        print(as_json(figures), end='')
        return
    print(table)
    if destination:
        write_json(Path(destination), figures)


def as_json(figures: Mapping[str, object]) -> str:
    return json.dumps(figures, indent=2) + '\n'


def write_json(path: Path, figures: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(figures), encoding='utf-8')


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], text: Sequence[str] = ()) -> str:
    """Rows below a head; columns named in ``text`` are set to the left, numbers to the right."""
    marks = ['---' if column in text else '---:' for column in columns]
    return '\n'.join(f'| {" | ".join(map(str, row))} |' for row in (columns, marks, *rows))
