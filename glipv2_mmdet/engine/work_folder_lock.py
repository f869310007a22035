"""One run per work folder: a second one would delete the checkpoint that the first is writing, and mix both runs.

The file ``.in_use.json`` in the folder names the owner. On one machine the operating system decides whether the owner
lives: it holds a lock of the kind that ends with the process (``fcntl.lockf``) and that forked loader processes do not
inherit, as they would one of ``flock``. Machines that share the folder may not see each other's locks. So the owner
also renews the file's time stamp, and a newcomer of another machine watches it.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from mmengine.logging import print_log

from glipv2_mmdet.printable import printable

try:
    import fcntl
except ImportError:  # Windows: the time stamp decides
    fcntl = None

OWNER_FILE = '.in_use.json'
#: Seconds between two time stamps, and after which an owner that renews none is over.
RENEW_SECONDS, SILENT_SECONDS = 20.0, 70.0
_RANK_VARIABLES = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
_held: set[Path] = set()


class FolderInUseError(RuntimeError):
    """Another run that lives writes to the folder; the text names its process and host."""


@contextmanager
def hold_folder(
    folder: str | os.PathLike,
    launcher: str = 'none',
    renew_seconds: float = RENEW_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> Iterator[None]:
    """Keep a work folder for this run while the block is running. What a killed run left is taken over.

    Args:
        folder: of logs and checkpoints; it is made.
        launcher: of mmengine. Only the first process of a run takes the folder.
        renew_seconds: between two time stamps.
        silent_seconds: an owner on another machine whose time stamp is older is over. A fresher one is watched for
            that long.

    Raises:
        FolderInUseError: another run that lives has it.
    """
    if not _is_first_process(launcher):
        yield
        return
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if folder in _held:  # opening the file once more would end the lock of this process
        raise FolderInUseError(_refusal(folder, _this_process()))
    path = folder / OWNER_FILE
    with _locked(path) as file:
        earlier = _read_owner(file)
        if earlier and not _is_over(earlier, path, silent_seconds):
            raise FolderInUseError(_refusal(folder, earlier))
        if earlier:
            print_log(
                f'{folder}: {_describe(earlier)} ended without a word. This run takes its place.', logger='current'
            )
        _write_owner(file, _this_process())
        stop = threading.Event()
        renewal = threading.Thread(target=_renew, args=(path, stop, renew_seconds), daemon=True)
        renewal.start()
        _held.add(folder)
        try:
            yield
        finally:
            _held.discard(folder)
            stop.set()
            renewal.join()
            path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The owner's file, opened and locked; an owner that lives on this machine is refused here."""
    while True:
        with open(path, 'a+', encoding='utf-8') as file:
            try:
                if fcntl:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:  # which of the two depends on the system
                raise FolderInUseError(_refusal(path.parent, _read_owner(file))) from error
            except OSError as error:  # a file system without locks: the time stamp decides
                print_log(f'{path} cannot be locked ({error}).', logger='current')
            # an owner that ended between opening and locking has removed the file
            if _same_file(file, path):
                yield file
                return


def _same_file(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_over(owner: Mapping[str, Any], path: Path, silent_seconds: float) -> bool:
    """Whether the owner of a file that could be locked has ended."""
    if fcntl and owner.get('host') == socket.gethostname():
        return True
    stamp, start = path.stat().st_mtime_ns, time.monotonic()
    # by the clock of the file system, which both machines share
    probe = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    probe.touch()
    patience = silent_seconds - (probe.stat().st_mtime_ns - stamp) / 1e9
    probe.unlink()
    if patience <= 0:
        return True
    print_log(f'{path.parent}: watching for {patience:.0f} s whether {_describe(owner)} lives.', logger='current')
    while time.monotonic() - start < patience:
        time.sleep(min(0.5, silent_seconds / 10))
        # one that removes its file ends just now, and the next attempt succeeds
        if not path.exists() or path.stat().st_mtime_ns != stamp:
            return False
    return True


def _renew(path: Path, stop: threading.Event, seconds: float) -> None:
    while not stop.wait(seconds):
        try:
            os.utime(path)
        except FileNotFoundError:  # somebody has removed the folder
            return


def _is_first_process(launcher: str) -> bool:
    return os.environ.get(_RANK_VARIABLES.get(launcher, ''), '0') == '0'


def _this_process() -> dict[str, Any]:
    return dict(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now().astimezone().isoformat(timespec='seconds'),
        command=shlex.join(sys.argv)[:300],
    )


def _read_owner(file: IO[str]) -> dict[str, Any]:
    """Empty where nothing, or no json, is in the file."""
    file.seek(0)
    try:
        owner = json.load(file)
    except ValueError:  # among them UnicodeDecodeError
        return {}
    return owner if isinstance(owner, dict) else {}


def _write_owner(file: IO[str], owner: Mapping[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    json.dump(owner, file)
    file.flush()


def _describe(owner: Mapping[str, Any]) -> str:
    if not owner:
        return 'another run'
    told = f'process {owner.get("pid")} on host {owner.get("host")}, started {owner.get("started")}'
    return printable(f'{told} ({owner.get("command")})')


def _refusal(folder: Path, owner: Mapping[str, Any]) -> str:
    return printable(
        f"{folder} is in use by {_describe(owner)}. Two runs in one folder would remove and mix each other's "
        'checkpoints. Wait for its end or stop it, or give another folder with --work-dir.'
    )
