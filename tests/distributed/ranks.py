"""Starts one Python process per rank, waits with a time-out, and shows what every rank wrote when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_ranks(arguments: Sequence[str], folder: Path, num_ranks: int = 2, timeout: float = 120) -> None:
    """Run ``python *arguments`` once per rank, with ``RANK`` and ``WORLD_SIZE`` in its environment.

    Args:
        arguments: for the interpreter, for example ``['-m', 'tests.distributed.worker', ...]``.
        folder: where the ranks' outputs are kept.
        num_ranks: how many processes.
        timeout: seconds for all of them together.

    Raises:
        AssertionError: a rank failed or the time was up; holds the output of every rank.
    """
    search_path = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    logs = [folder / f'rank{rank}.log' for rank in range(num_ranks)]
    processes = []
    for rank, log in enumerate(logs):
        environment = dict(
            os.environ,
            RANK=str(rank),
            WORLD_SIZE=str(num_ranks),
            OMP_NUM_THREADS='1',
            PYTHONPATH=search_path,
        )
        with log.open('w') as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=REPOSITORY,
                    env=environment,
                )
            )
    problem = _wait(processes, time.monotonic() + timeout, timeout)
    if problem:
        written = '\n'.join(f'---- rank {rank}\n{log.read_text()}' for rank, log in enumerate(logs))
        raise AssertionError(f'{problem}\n{written}')


def _wait(processes: Sequence[subprocess.Popen], deadline: float, timeout: float) -> str | None:
    """What went wrong, or None. A rank that fails ends the others: they would wait for it in a collective."""
    try:
        while time.monotonic() < deadline:
            codes = [process.poll() for process in processes]
            failed = [rank for rank, code in enumerate(codes) if code]
            if failed:
                return f'Rank {failed[0]} ended with code {codes[failed[0]]}.'
            if all(code == 0 for code in codes):
                return None
            time.sleep(0.05)
        waiting = [rank for rank, process in enumerate(processes) if process.poll() is None]
        return f'Ranks {waiting} still ran after {timeout:g} seconds.'
    finally:
        for process in processes:
            process.kill()
            process.wait()
