"""Writes ODVG files: whole or not at all, and only when something changed.

A finished file stands beside a small ``<name>.made_from.json``. A second call with the same sources and settings does
nothing; a killed one leaves only a temporary file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from glipv2_mmdet.files import atomic_write


def write_odvg(
    path: str | Path,
    records: Iterable[dict],
    sources: Sequence[str | Path],
    settings: dict[str, Any] | None = None,
    force: bool = False,
    progress: bool = True,
) -> int | None:
    """One json line per record.

    Args:
        path: file to write; its folder is made.
        records: read only when there is something to do.
        sources: raw files; their names, sizes and times decide whether ``path`` is up to date.
        settings: what else changes the result.
        force: write anyway.
        progress: bar on standard error.

    Returns:
        Number of records, or None when the file was up to date.
    """
    path = Path(path)
    origin = _origin(sources, settings or {})
    note = path.with_name(path.name + '.made_from.json')
    if not force and path.is_file() and note.is_file() and json.loads(note.read_text(encoding='utf-8')) == origin:
        return None
    count = 0
    note.unlink(missing_ok=True)
    with atomic_write(path) as file:
        for record in tqdm(records, desc=path.name, unit=' records', disable=not progress):
            file.write(json.dumps(record, ensure_ascii=False).encode() + b'\n')
            count += 1
    with atomic_write(note) as file:
        file.write(json.dumps(origin, indent=2).encode() + b'\n')
    return count


def write_label_map(path: str | Path, names: Iterable[str]) -> None:
    """{"0": name, ...}, mmdet's label map."""
    with atomic_write(Path(path)) as file:
        file.write(json.dumps({str(k): name for k, name in enumerate(names)}, indent=1, ensure_ascii=False).encode())


def _origin(sources: Sequence[str | Path], settings: dict[str, Any]) -> dict[str, Any]:
    files = []
    for source in map(Path, sources):
        state = source.stat()
        files.append([source.name, state.st_size if source.is_file() else 0, state.st_mtime_ns])
    return {'sources': files, 'settings': settings}
