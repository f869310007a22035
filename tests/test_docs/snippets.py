"""Fenced bash and python blocks of README and docs, cut into commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r'^```(\w+)\n(.*?)^```', re.MULTILINE | re.DOTALL)
_TABLE_COMMAND = re.compile(r'\|[^|\n]*?`((?:bash|python|pip|make|mim|glipv2) [^`\n]+)`')


@dataclass(frozen=True)
class Snippet:
    """One command, or one block of Python.

    Attributes:
        page: path below the repository.
        line: where it begins, from 1.
        kind: ``'bash'`` or ``'python'``.
        text: a bash command on one line without its comment, or the whole block.
    """

    page: str
    line: int
    kind: str
    text: str


def pages() -> list[Path]:
    """README, the model zoo's README, and all of docs."""
    return [ROOT / 'README.md', ROOT / 'configs/glipv2/README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def snippets_of(page: Path) -> list[Snippet]:
    """Snippets in the order of the page; commands in tables count too."""
    text, name = page.read_text(encoding='utf-8'), str(page.relative_to(ROOT))
    found = []
    for match in _FENCE.finditer(text):
        line = text.count('\n', 0, match.start()) + 2
        if match[1] in ('bash', 'sh', 'shell', 'console'):
            found += [Snippet(name, line + at, 'bash', command) for at, command in commands(match[2])]
        elif match[1] in ('python', 'py'):
            found.append(Snippet(name, line, 'python', match[2]))
    outside = _FENCE.sub(lambda match: '\n' * match[0].count('\n'), text)
    for number, row in enumerate(outside.splitlines(), 1):
        found += [Snippet(name, number, 'bash', match[1]) for match in _TABLE_COMMAND.finditer(row)]
    return found


def commands(block: str) -> list[tuple[int, str]]:
    """(line in the block, command) with continued lines joined and comments cut."""
    found, start, parts = [], 0, []
    for number, line in enumerate(block.splitlines()):
        line = re.sub(r'(^|\s)#.*$', '', line).rstrip()
        if not parts:
            start = number
        if line:
            parts.append(line.removesuffix('\\').strip())
        if parts and not line.endswith('\\'):
            found.append((start, ' '.join(parts)))
            parts = []
    return found
