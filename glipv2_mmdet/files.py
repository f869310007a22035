"""Files that are whole or not there: written under another name, brought to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r'.+\.\d+\.tmp')


class DiskFullError(OSError):
    """There was no room for a file; the text names it, what it needed and what is free."""


@contextmanager
def atomic_write(path: Path, size: int | None = None) -> Iterator[IO[bytes]]:
    """A file that gets its name only when it is complete and on the disk; an error leaves nothing behind.

    A file of this name that was there before stays until then.

    Args:
        path: of the file; its folder is made.
        size: bytes that will be written, for the message when there is no room.

    Raises:
        DiskFullError: disk, quota or limit of the process is used up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    try:
        try:
            with open(temporary, 'wb') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(_no_room(path, size, error)) from error
    _sync_folder(path.parent)


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Removes what killed processes left of :func:`atomic_write` in a folder, and says which files those were."""
    leftovers = [path for path in sorted(Path(folder).glob('*.tmp')) if _TEMPORARY.fullmatch(path.name)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def megabytes(size: float) -> str:
    return f'{size / 1e6:.1f} MB'


def _no_room(path: Path, size: int | None, error: OSError) -> str:
    """Free space is read after the partial file was removed: it is what the next attempt will find."""
    needed = 'more than there was' if size is None else megabytes(size)
    if error.errno == errno.EFBIG:
        cause = f'it needs {needed}, and the largest file this process may write (ulimit -f) is smaller'
    else:
        cause = (
            f'{"the disk quota is used up" if error.errno == errno.EDQUOT else "the disk is full"}. It needs '
            f'{needed}, and {megabytes(shutil.disk_usage(path.parent).free)} are free on that disk'
        )
    return f'{path} could not be written: {cause}. The partial file is removed; files written before are whole.'


def _sync_folder(folder: Path) -> None:
    """Brings the new name to the disk as well; only where folders can be opened (not on Windows)."""
    if hasattr(os, 'O_DIRECTORY'):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
