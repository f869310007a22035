"""Starts tiny runs, waits for their moments, ends them, and judges what they left: shared by the kinds of faults."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.tiny_run import (
    Starter,
    TinyRun,
    family,
    last_step,
    log_of,
    logged,
    make_tiny_run,
    unequal_values,
)
from glipv2_mmdet.engine.whole_checkpoints import find_damage

#: A run that a fault ends must be over after this, in seconds.
END_WITHIN = 60
#: Far more than a run takes; a machine may be busy with other work.
FINISH_WITHIN = 400


class NotSurvivedError(AssertionError):
    """What was wrong afterwards."""


class NotInjectedError(NotSurvivedError):
    """The moment was missed."""


@dataclass(frozen=True)
class Run:
    """A training: where, of what, in how many processes."""

    work_dir: Path
    config: Path
    ranks: int = 1
    #: Two processes are started by tools/dist_train.sh.
    launcher: bool = False

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return log_of(self.work_dir).read_text(errors='replace')


class Bench:
    """The tiny run, its uninterrupted results, and the way to start, find and compare others."""

    def __init__(self, folder: Path, tiny: TinyRun) -> None:
        self.folder = folder
        self.tiny = tiny
        self.config = make_tiny_run(folder / 'tiny', tiny)
        self.starter = Starter()
        self._references: dict[tuple[Path, int], Run] = {}
        self._lock = threading.RLock()

    def new_run(self, name: str, ranks: int = 1, launcher: bool = False, own_data: bool = False) -> Run:
        config = make_tiny_run(self.folder / f'data_{name}', self.tiny) if own_data else self.config
        return Run(self.folder / name, config, ranks, launcher)

    def start(self, run: Run, *more: str) -> Any:
        """Always with ``--resume``: a run without checkpoints starts from the beginning."""
        begin = self.starter.train if run.ranks == 1 else self.starter.launch if run.launcher else self.starter.pair
        return begin(run.config, run.work_dir, '--resume', *more)

    def start_until(self, run: Run, step: int) -> Any:
        """A process that has logged this step."""
        process = self.start(run)
        until(lambda: last_step(run.work_dir) >= step, process)
        return process

    def finish(self, run: Run, *more: str) -> None:
        if wait(self.start(run, *more), FINISH_WITHIN):
            raise NotSurvivedError(f'A run that should succeed failed, see {log_of(run.work_dir)}: {run.log[-300:]}')

    def finish_and_compare(self, run: Run) -> None:
        """Resume; the result is that of an uninterrupted run, and nothing is left behind."""
        self.finish(run)
        compare(self.reference(run), run, self.tiny.steps)
        check_files(run)

    def reference(self, like: Run) -> Run:
        """An uninterrupted run, made once."""
        key = like.config, like.ranks
        with self._lock:
            if key not in self._references:
                run = Run(self.folder / f'reference_{like.config.parent.name}_{like.ranks}', *key)
                self.finish(run)
                self._references[key] = run
        return self._references[key]

    def seen(self, run: Run, pattern: str) -> str:
        """The last line of the log that has the pattern, without folders of this machine."""
        found = [line for line in run.log.splitlines() if re.search(pattern, line)]
        if not found:
            raise NotSurvivedError(f'Nothing in {log_of(run.work_dir)} says what happened (no "{pattern}").')
        return re.sub(
            r'^.* - mmengine - |\bglipv2_mmdet\.[\w.]+\.(?=\w+Error)', '', found[-1].replace(f'{self.folder}/', '')
        )


def poll(process: Any) -> int | None:
    """Exit code of a ``Popen``, a ``Pair`` or a ``multiprocessing.Process``."""
    return process.poll() if hasattr(process, 'poll') else process.exitcode


def until(happened: Callable[[], bool], process: Any, pause: float = 0.02) -> None:
    end = time.monotonic() + FINISH_WITHIN
    while not happened():
        if poll(process) is not None or time.monotonic() > end:
            raise NotInjectedError('The run was over before its moment came.')
        time.sleep(pause)


def wait(process: Any, seconds: float) -> int:
    """Exit code. Raises NotSurvivedError, after killing the run, when it is not over in time."""
    end = time.monotonic() + seconds
    while poll(process) is None:
        if time.monotonic() > end:
            kill_family(process)
            raise NotSurvivedError(f'The run was not over after {seconds:.0f} seconds.')
        time.sleep(0.02)
    return poll(process)


def kill_family(process: Any) -> None:
    for first in getattr(process, 'processes', [process]):
        for pid in family(first.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    while poll(process) is None:
        time.sleep(0.02)


def check_files(run: Run) -> None:
    """Every checkpoint with a final name is whole."""
    for path in run.work_dir.glob('*.pth'):
        damage = find_damage(path)
        if damage:
            raise NotSurvivedError(f'{path.name} is damaged: {damage}')


def check_no_partial_file(run: Run) -> None:
    partial = list(run.work_dir.glob('*.tmp'))
    if partial:
        raise NotSurvivedError(f'A partial file stayed: {partial[0]}')


def compare(reference: Run, run: Run, steps: int) -> None:
    """Logged values of every step, and everything in the final checkpoint."""
    expected, found = logged(reference.work_dir), logged(run.work_dir)
    unequal = [step for step in range(1, steps + 1) if step not in expected or expected[step] != found.get(step)]
    if unequal:
        raise NotSurvivedError(f'Logged values differ or are missing at steps {unequal}.')
    name = f'iter_{steps}.pth'
    names = unequal_values(reference.work_dir / name, run.work_dir / name)
    if names:
        raise NotSurvivedError(f'{len(names)} values of the final checkpoint differ, such as {names[0]}.')
    check_no_partial_file(run)
