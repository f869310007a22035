"""Every measurement in a process of its own, and two forms in turn: A B A B.

A process that has run something else has warm caches and a grown heap; a machine is busier at one time than at
another. Fresh processes that alternate share neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Lines of a failed process that an error shows.
LINES_SHOWN = 15


class WorkerError(RuntimeError):
    """A process ended without figures; the text holds its command and its last lines."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a process runs its case.

    Attributes:
        device: ``cpu`` or ``cuda``.
        repeats: counted runs in one process.
        threads: of torch on the CPU.
        time_limit: seconds after which a process is given up.
    """

    device: str = 'cpu'
    repeats: int = 5
    threads: int = 2
    time_limit: float = 900.0


def run_fresh(suite: str, case: str, settings: WorkerSettings) -> dict:
    """The figures of one case, measured by a new process: ``python -m benchmarks.worker``.

    Args:
        suite: whose case it is, see ``benchmarks/worker.py``.
        case: as the suite names it.
        settings: of the process.

    Raises:
        WorkerError: the process failed, ran too long or left no figures.
    """
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    environment = dict(os.environ, PYTHONPATH=search_path, OMP_NUM_THREADS=str(settings.threads))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'figures.json'
        command = [
            sys.executable,
            '-m',
            'benchmarks.worker',
            suite,
            case,
            '--out',
            str(result),
            '--device',
            settings.device,
            '--repeats',
            str(settings.repeats),
            '--threads',
            str(settings.threads),
        ]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=settings.time_limit
            )
        except subprocess.TimeoutExpired as error:
            raise WorkerError(
                f'Case "{case}" still ran after {settings.time_limit:g} seconds. Raise --time-limit, or '
                'leave the case out with --cases.'
            ) from error
        if done.returncode or not result.is_file():
            written = '\n'.join((done.stdout + done.stderr).splitlines()[-LINES_SHOWN:])
            raise WorkerError(
                f'Case "{case}" ended with exit code {done.returncode} and no figures. Its command: '
                f'{" ".join(command)}\nIts last lines:\n{written}'
            )
        return json.loads(result.read_text(encoding='utf-8'))


def alternate_fresh(cases: Sequence[str], rounds: int, run: Callable[[str], dict]) -> dict[str, list[dict]]:
    """Figures of every case, one per round; a round runs all cases, in their order."""
    figures: dict[str, list[dict]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            figures[case].append(run(case))
    return figures
