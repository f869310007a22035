"""A side of the race as seen from outside: its process, its requests, and whether two answers are equal."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EQUAL_SCORE = 1e-4


class SideError(RuntimeError):
    """A side's process ended before it answered."""


class Side:
    """A process with one of the models, and with nothing left of earlier runs; ends with the ``with`` block.

    Args:
        name: ``'ours'`` or ``'peer'``.
        python: interpreter of its environment.
        weights: file that both sides load; the peer's process writes it where it is missing.
        threads: of torch.
        checkpointing: compute inner activations of the fusion again in the backward pass.

    Raises:
        SideError: the process could not be started, or ended early; what it said is above.
    """

    def __init__(self, name: str, python: Path, weights: Path, threads: int, checkpointing: bool = False) -> None:
        self.name = name
        # what stands in the environment of the caller belongs to one of the two sides at most
        environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ('PYTHONPATH', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS')
        }
        command = [
            str(python),
            '-W',
            'ignore',
            str(ROOT / 'benchmarks/peer/worker.py'),
            name,
            str(weights),
            '--threads',
            str(threads),
            *(['--checkpointing'] if checkpointing else []),
        ]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.baseline_mb: float = self._answer()['baseline_mb']

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stdin.close()
        self._process.wait()

    def ask(self, do: str, **request: object) -> dict:
        """One request to ``worker.Runner``, and its answer."""
        print(json.dumps(dict(do=do, **request)), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SideError(
                f'The process of {self.name} ended with exit code {self._process.wait()}; its error is above.'
            )
        return json.loads(line)


@dataclass(frozen=True)
class Agreement:
    """How far two sides' results of a case are apart.

    Args:
        max_rel_diff: largest difference over the largest value, of any of the results.
        unmatched: detections that the other side has nothing like, except where a prompt's list of the best was cut
            between two of equal score.
    """

    max_rel_diff: float
    unmatched: int = 0


def compare_results(ours: Path, peer: Path, prompt_size: int = -1) -> Agreement:
    """Results of two ``check`` requests: losses, or detections in any order.

    Args:
        ours: file of our side.
        peer: file of the other.
        prompt_size: names per prompt; -1 for a single prompt.
    """
    with np.load(ours) as ours_file, np.load(peer) as peer_file:
        ours_values, peer_values = dict(ours_file), dict(peer_file)
    if 'boxes' not in peer_values:
        return Agreement(max(relative(ours_values[name], value) for name, value in peer_values.items()))
    rows, columns = match(ours_values, peer_values)
    unmatched = 0
    for found, partners in ((ours_values, rows), (peer_values, columns)):
        alone = np.ones(len(found['scores']), dtype=bool)
        alone[partners] = False
        if len(ours_values['scores']) == len(peer_values['scores']):
            alone &= ~at_the_cut(found, prompt_size)
        unmatched += int(alone.sum())
    if not len(rows):
        return Agreement(0.0, unmatched)
    return Agreement(
        max(relative(ours_values[name][rows], peer_values[name][columns]) for name in ('boxes', 'scores')), unmatched
    )


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """Largest difference over the largest wanted value."""
    return float(np.abs(got - want).max() / np.abs(want).max())


def at_the_cut(found: dict[str, np.ndarray], prompt_size: int) -> np.ndarray:
    """(N,) whether a detection has the lowest score of its prompt, or one that equals it but for rounding."""
    prompts = found['labels'] // prompt_size if prompt_size > 0 else np.zeros_like(found['labels'])
    lowest = np.array([found['scores'][prompts == prompt].min() for prompt in prompts])
    return found['scores'] - lowest <= EQUAL_SCORE


def match(ours: dict[str, np.ndarray], peer: dict[str, np.ndarray], pixels: float = 0.5) -> tuple[list[int], list[int]]:
    """Pairs of detections, as the places in both sides' lists.

    Partners have the same label and sides at most ``pixels`` apart; in the order of both sides' lists scores that are
    equal but for rounding may have changed places.
    """
    rows, columns, free = [], [], np.ones(len(ours['boxes']), dtype=bool)
    for column, (box, label) in enumerate(zip(peer['boxes'], peer['labels'], strict=True)):
        distance = np.abs(ours['boxes'] - box).max(axis=1)
        distance[(ours['labels'] != label) | ~free] = np.inf
        row = int(distance.argmin()) if len(distance) else 0
        if len(distance) and distance[row] <= pixels:
            rows.append(row)
            columns.append(column)
            free[row] = False
    return rows, columns
