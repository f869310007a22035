"""The one folder that the demo reads from and writes to: uploads, examples and results.

It is private to the user that runs the server, has a bounded size, and is deleted when the server ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# gradio asks this variable where files go, at every call
_VARIABLE = 'GRADIO_TEMP_DIR'


class UploadArea:
    """A folder with a bounded content.

    Args:
        folder: exists.
        most_bytes: of all files together, before uploads are refused.
        seconds_kept: age at which :meth:`sweep` deletes a file.
        most_files: in it, before uploads are refused; empty files take no bytes, but fill a disk's table of files and
            make every look at the folder slow.
    """

    def __init__(self, folder: str | Path, most_bytes: int, seconds_kept: float, most_files: int = 10_000) -> None:
        self.folder = Path(folder).resolve()
        self.most_bytes = most_bytes
        self.seconds_kept = seconds_kept
        self.most_files = most_files
        self._kept: frozenset[Path] = frozenset()

    def contains(self, path: str | os.PathLike) -> bool:
        """Whether ``path`` is a file below the folder, links and ``..`` followed."""
        try:
            return Path(path).resolve(strict=True).is_relative_to(self.folder) and Path(path).is_file()
        except (OSError, ValueError, RuntimeError):  # not there, a name with a zero byte, a circle of links
            return False

    def keep_present(self) -> None:
        """Files that are here now (examples) are never swept."""
        self._kept = frozenset(self._files())

    def sweep(self) -> None:
        """Deletes what is too old."""
        oldest = time.time() - self.seconds_kept
        for path in self._files():
            if path not in self._kept:
                with _vanished():
                    status = path.lstat()
                    if max(status.st_mtime, status.st_ctime) < oldest:
                        path.unlink()
        for folder in [path for path in self.folder.rglob('*') if path.is_dir()]:
            with _vanished():
                if time.time() - folder.stat().st_mtime > self.seconds_kept:
                    folder.rmdir()  # refused, and passed over, where something is in it

    def is_full(self) -> bool:
        """Whether the files together have reached ``most_bytes``, or their number ``most_files``."""
        used = number = 0
        for path in self._files():
            number += 1
            with _vanished():
                used += path.lstat().st_size
        return used >= self.most_bytes or number >= self.most_files

    def new_file(self, name: str) -> Path:
        """A path for a result, in a folder of its own."""
        return Path(tempfile.mkdtemp(prefix='result-', dir=self.folder)) / name

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.folder):
            yield from (Path(folder, name) for name in names)


@contextmanager
def private_area(most_bytes: int, seconds_kept: float) -> Iterator[UploadArea]:
    """A new :class:`UploadArea` that gradio uses too; deleted at the end.

    Pages must be built inside: their components remember the folder.
    """
    before = os.environ.get(_VARIABLE)
    folder = Path(tempfile.mkdtemp(prefix='glipv2-demo-')).resolve()  # readable by this user alone
    os.environ[_VARIABLE] = str(folder)
    try:
        yield UploadArea(folder, most_bytes, seconds_kept)
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _vanished() -> Iterator[None]:
    """Files may be deleted by another request meanwhile; that is what was wanted."""
    try:
        yield
    except OSError:
        pass
