"""Reads any line of a huge text file by its number; the byte offsets stay on disk.

Offsets are kept beside the file as ``<file>.offsets.npy`` (8 bytes per line), made once and then memory-mapped: its
pages belong to the system's cache, not to the process.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from glipv2_mmdet.files import atomic_write

_BLOCK = 1 << 20


class LineReader:
    """Lines of a file by number; safe in forked and in spawned workers.

    Args:
        path: text file, one record per line.
        index_folder: where the offsets are kept when the file's own folder cannot be written to.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without lines.
    """

    def __init__(self, path: str | Path, index_folder: str | Path | None = None) -> None:
        self.path = Path(path)
        self._index = Path(index_folder or self.path.parent) / f'{self.path.name}.offsets.npy'
        file = self.path.stat()
        if not file.st_size:
            raise ValueError(f'{path}: the file is empty; expected one record per line. Check the download.')
        if not _fits(self._index, file):
            print_log(
                f'{path}: looking for the beginning of every line, once; kept in {self._index}.', logger='current'
            )
            _write_offsets(self.path, self._index)
        self._open()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, number: int) -> bytes:
        """Line ``number`` (from 0) without its end."""
        start, end = int(self._offsets[number]), int(self._offsets[number + 1])
        # pread has no file position that forked workers would share
        return os.pread(self._file.fileno(), end - start, start).rstrip(b'\r\n')

    def __getstate__(self) -> dict:
        return dict(path=self.path, _index=self._index)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._file = open(self.path, 'rb')
        self._offsets = np.load(self._index, mmap_mode='r')


def _fits(index: Path, file: os.stat_result) -> bool:
    """Whether the offsets are of the file as it is: of its size, and not older, for lines may change within a size."""
    return index.is_file() and index.stat().st_mtime_ns >= file.st_mtime_ns and _last_offset(index) == file.st_size


def _last_offset(index: Path) -> int | None:
    """Size of the file that the offsets are of; None where they are broken, and have to be made again."""
    try:
        return int(np.load(index, mmap_mode='r')[-1])
    except (ValueError, EOFError, IndexError, OSError, TypeError):
        return None


def _write_offsets(path: Path, index: Path) -> None:
    """Begin of every line and, last, the size of the file; in constant memory."""
    count = 1 + sum(len(block) for block in _line_ends(path))
    with atomic_write(index) as file:
        np.lib.format.write_array_header_1_0(file, dict(descr='<i8', fortran_order=False, shape=(count,)))
        file.write(np.zeros(1, dtype='<i8').tobytes())
        for block in _line_ends(path):
            file.write(block.astype('<i8').tobytes())


def _line_ends(path: Path):
    """Offsets behind every line, in blocks; the last line may lack its newline."""
    position, last = 0, 0
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord('\n')) + position + 1
            position += len(block)
            if len(ends):
                last = int(ends[-1])
                yield ends
    if last != position:
        yield np.array([position])
