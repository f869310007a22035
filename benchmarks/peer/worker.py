"""One side of the race in a process of its own; started by ``compare_mmdet_glip.py``, not by hand.

    python benchmarks/peer/worker.py ours|peer WEIGHTS --threads 2

Reads one request per line from the standard input and answers each with one line of JSON. ``WEIGHTS`` are written by
the peer's process where they do not exist yet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# the standard output belongs to the answers; whatever a library prints goes to the other one
ANSWERS = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.peer.cases import Case

LEARNING_RATE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('side', choices=['ours', 'peer'])
    parser.add_argument('weights', type=Path)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--checkpointing', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side == 'ours':
        from benchmarks.peer import ours as side
    else:
        from benchmarks.peer import mmdet_glip as side
    baseline = peak_mb()
    model = side.build(args.checkpointing)
    if not args.weights.exists():
        torch.save(side.seeded_weights(model), args.weights)
    side.load(model, torch.load(args.weights, mmap=True, weights_only=True))
    runner = Runner(model)
    tell(baseline_mb=baseline)
    for line in sys.stdin:
        request = json.loads(line)
        tell(**getattr(runner, request.pop('do'))(**request))


class Runner:
    """Runs cases on a model; both sides' models follow mmdet's interface, so this is the same for both."""

    def __init__(self, model: nn.Module) -> None:
        from benchmarks.peer.cases import CASES

        self.model = model
        self.cases = CASES
        self.optimizer: torch.optim.Optimizer | None = None

    def check(self, case: str, small: bool, out: str) -> dict:
        """Write what the model makes of a case: detections, or losses without dropout; untimed."""
        chosen = self._ready(case, small)
        if self.model.training:
            self.model.eval()
        with torch.no_grad():
            inputs, samples = chosen.images(), chosen.samples()
            results = (
                self.model.loss(inputs, samples) if chosen.training else fields(self.model.predict(inputs, samples))
            )
        np.savez(out, **{name: value.numpy() for name, value in results.items()})
        return {}

    def run(self, case: str, small: bool) -> dict:
        """Seconds of one run, on the clock and of all threads together, and the most memory held during it."""
        run = self._prepared(self._ready(case, small))
        forget_peak()
        clock, processor = time.perf_counter(), time.process_time()
        run()
        return dict(seconds=time.perf_counter() - clock, cpu_seconds=time.process_time() - processor, peak_mb=peak_mb())

    def profile(self, case: str, rows: int) -> dict:
        """The operations that take the processor longest."""
        run = self._prepared(self._ready(case, small=False))
        with torch.profiler.profile() as profiler:
            run()
        events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        return dict(
            seconds=total / 1e6,
            rows=[
                (event.key, event.count, event.self_cpu_time_total / 1e6, event.self_cpu_time_total / total)
                for event in events[:rows]
            ],
        )

    def _ready(self, name: str, small: bool) -> Case:
        case = self.cases[name].smaller() if small else self.cases[name]
        self.model.test_cfg['chunked_size'] = case.chunk_size
        return case

    def _prepared(self, case: Case) -> Callable[[], None]:
        """What is timed, with everything around it done."""
        inputs, samples = case.images(), case.samples()
        if self.model.training != case.training:
            self.model.train(case.training)
        if not case.training:
            return partial(self._predict, inputs, samples)
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE)
        return partial(self._step, inputs, samples)

    @torch.no_grad()
    def _predict(self, inputs: Tensor, samples: list) -> None:
        self.model.predict(inputs, samples)

    def _step(self, inputs: Tensor, samples: list) -> None:
        sum(self.model.loss(inputs, samples).values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def fields(samples: list) -> dict[str, Tensor]:
    """Boxes, scores and labels of the one image."""
    found = samples[0].pred_instances
    return dict(boxes=found.bboxes, scores=found.scores, labels=found.labels)


def peak_mb() -> float:
    """Most resident memory since :func:`forget_peak`.

    The kernel's mark of this process's own memory: ``ru_maxrss`` also remembers the process that started this one.
    """
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0]) / 1024


def forget_peak() -> None:
    Path('/proc/self/clear_refs').write_text('5')


def tell(**answer: object) -> None:
    print(json.dumps(answer), file=ANSWERS, flush=True)


if __name__ == '__main__':
    main()
