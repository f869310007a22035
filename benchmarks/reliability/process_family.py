"""What a process and everything that it started holds: memory, open files, threads. Linux only, from /proc."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_MB = 1024


@dataclass(frozen=True)
class Holdings:
    """One look at a family.

    Attributes:
        seconds: since sampling began.
        memory_mb: what was allocated and is resident, 2^20 bytes; pages that several processes share count once. Files
            that are mapped (libraries) do not count: their share changes with what other programs do.
        open_files: descriptors of all processes together.
        children: processes besides the first.
        threads: of all processes together.
        step: how far the work was, where the sampler was told how to find out.
    """

    seconds: float
    memory_mb: float
    open_files: int
    children: int
    threads: int
    step: int = 0


def require_proc() -> None:
    """Ends the program where there is no /proc to read."""
    if not Path('/proc/self/smaps_rollup').is_file():
        sys.exit('This campaign reads /proc/PID/smaps_rollup, which Linux has. Run it on a Linux machine.')


def family(pid: int) -> list[int]:
    """A process and all its descendants that are there just now; empty where it is gone."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        member = waiting.pop()
        try:
            tasks = list(Path(f'/proc/{member}/task').iterdir())
            # any thread may have started a process
            waiting += [int(child) for task in tasks for child in (task / 'children').read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(member)
    return found


def look_at(pid: int, since: float, step: int = 0) -> Holdings | None:
    """Holdings of the family of ``pid``; None where it is gone. Members that end meanwhile are left out."""
    memory = files = threads = members = 0
    for member in family(pid):
        folder = Path(f'/proc/{member}')
        try:
            numbers = dict(line.split(':', 1) for line in (folder / 'smaps_rollup').read_text().splitlines()[1:])
            status = dict(line.split(':', 1) for line in (folder / 'status').read_text().splitlines())
            files += len(os.listdir(folder / 'fd'))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        memory += sum(int(numbers[name].split()[0]) for name in ('Pss_Anon', 'Pss_Shmem'))
        threads += int(status['Threads'])
        members += 1
    return Holdings(time.monotonic() - since, memory / _MB, files, members - 1, threads, step) if members else None


class Sampler:
    """Looks at a family every ``seconds`` in a thread of its own, from entering the block to its end.

    Args:
        pid: first process of the family.
        seconds: between two looks.
        progress: gives the step that the work is at.
    """

    def __init__(self, pid: int, seconds: float, progress: Callable[[], int] = lambda: 0) -> None:
        self.samples: list[Holdings] = []
        self._pid, self._seconds, self._progress = pid, seconds, progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._stop.wait(self._seconds):
            sample = look_at(self._pid, start, self._progress())
            if sample is not None:
                self.samples.append(sample)


def own_memory_mb() -> float:
    """Resident memory of this process after a collection, 2^20 bytes."""
    gc.collect()
    status = Path('/proc/self/status').read_text()
    return int(next(line for line in status.splitlines() if line.startswith('VmRSS')).split()[1]) / _MB


def drift(samples: Sequence[Holdings], value: Callable[[Holdings], float]) -> float:
    """Median of the last quarter minus median of the second: start-up is over in both, and single peaks do not count.

    Quarters of the steps where samples know theirs: on a busy machine a quarter of the time may be few steps.

    Raises:
        ValueError: fewer than eight samples, or a quarter without any.
    """
    if len(samples) < 8:
        raise ValueError(
            f'{len(samples)} samples are too few to tell a drift. Expected 8 or more: run longer, or sample more often.'
        )
    quarter, steps = len(samples) // 4, samples[-1].step
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    if steps:
        second = [sample for sample in samples if steps / 4 < sample.step <= steps / 2]
        last = [sample for sample in samples if sample.step > steps * 3 / 4]
    if not second or not last:
        raise ValueError(f'No sample lies in a quarter of the {steps} steps. Sample more often.')
    return statistics.median(map(value, last)) - statistics.median(map(value, second))
