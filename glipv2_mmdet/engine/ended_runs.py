"""What a training says when something ends it: what happened, what is saved, how to go on.

torch ends a run within seconds when a loader or another rank dies, and names the signal or the broken connection; what
that means and what to do is added here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmengine.logging import print_log

from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.engine.data_fingerprint import DataChangedError
from glipv2_mmdet.engine.whole_checkpoints import LAST_CHECKPOINT, read_note

# parts of what torch raises when the other end of a connection is gone
_LOST_PEER = (
    'Connection closed by peer',
    'Connection reset by peer',
    'Broken pipe',
    'ncclRemoteError',
    'Watchdog caught collective operation timeout',
)


class RunEndedError(RuntimeError):
    """Something outside the training ended it; the text says what, and how to go on."""


@contextmanager
def explain_end(work_dir: str | os.PathLike) -> Iterator[None]:
    """Around a training: an error that ends it comes with the way to go on; SIGTERM is answered with it as well.

    Raises:
        SystemExit: Ctrl-C, with the exit code of shells, 130.
        RunEndedError: a process that loads data was killed or delivers nothing, or the connection to another rank is
            lost.
    """
    with _say_on_sigterm(work_dir), steady_output():
        try:
            yield
        except KeyboardInterrupt as error:
            sys.stderr.write(f'Stopped by Ctrl-C. {how_to_go_on(work_dir)}\n')
            raise SystemExit(128 + signal.SIGINT) from error
        except (CheckpointError, DataChangedError):  # they say what to do
            raise
        except Exception as error:
            text = str(error).strip().rstrip('.') or type(error).__name__
            if _is_lost_loader(error):
                raise RunEndedError(
                    f'A process that loads data was ended from outside ({text}). Often the machine ran out of memory '
                    '(dmesg tells), or /dev/shm is too small: a smaller train_dataloader.num_workers needs less. '
                    f'{how_to_go_on(work_dir)}'
                ) from error
            if isinstance(error, RuntimeError) and 'DataLoader timed out' in text:
                raise RunEndedError(
                    f'No batch came from the processes that load data ({text}). One of them ran out of memory (its '
                    'error is further up: fewer train_dataloader.num_workers or smaller images need less), or waits '
                    'for a file that never comes. If loading is only slow, raise default_hooks.loader_timeout.seconds. '
                    f'{how_to_go_on(work_dir)}'
                ) from error
            if isinstance(error, RuntimeError) and any(part in text for part in _LOST_PEER):
                raise RunEndedError(
                    f'The connection to another process of this run is lost ({text}). Its end is the cause: look for '
                    f'the first error in the output, or for a process that was killed. {how_to_go_on(work_dir)}'
                ) from error
            print_log(
                f'The training was ended by the error below. {how_to_go_on(work_dir)}',
                logger='current',
                level=logging.ERROR,
            )
            raise


@contextmanager
def steady_output() -> Iterator[None]:
    """Output that cannot be written (a full disk, a closed pipe or terminal) is left out; the log file has it.

    pycocotools prints, and a print that fails would end a training of days at its evaluation.
    """
    earlier = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_SteadyStream, earlier)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = earlier


class _SteadyStream:
    """A text stream whose writing never raises for want of a place to write to."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def how_to_go_on(work_dir: str | os.PathLike) -> str:
    """One or two sentences."""
    last = read_note(Path(work_dir) / LAST_CHECKPOINT)
    if not last:
        return 'No checkpoint was saved yet: start again.'
    return f'The last checkpoint is {last}. To go on from it, give the same command with --resume.'


def _is_lost_loader(error: Exception) -> bool:
    """torch names the worker; where it died in the middle of handing over a batch, only a broken connection shows."""
    if isinstance(error, RuntimeError):
        return 'DataLoader worker' in str(error)
    handing_over = any(frame.f_code.co_name == '_try_get_data' for frame, _ in traceback.walk_tb(error.__traceback__))
    return handing_over and isinstance(error, (OSError, EOFError))


@contextmanager
def _say_on_sigterm(work_dir: str | os.PathLike) -> Iterator[None]:
    """A launcher sends SIGTERM to the other ranks when one has died, a scheduler when time is up.

    The signal then does what it would have done. It waits for the computation or exchange that is going on, at most the
    half minute until the launcher sends SIGKILL.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pid = os.getpid()

    def answer(number: int, frame: Any) -> None:
        signal.signal(number, earlier)
        if os.getpid() == pid:  # and no process that was forked since
            text = (
                'This process was told to stop (SIGTERM): another process of the run has ended, or a scheduler or '
                f'a person ends it. {how_to_go_on(work_dir)}'
            )
            os.write(2, f'{text}\n'.encode())
        os.kill(os.getpid(), number)

    earlier = signal.signal(signal.SIGTERM, answer) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
