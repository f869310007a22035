"""Takes training steps on extreme numbers: each must stay finite, or stop with the weights as they were.

    python benchmarks/reliability/extreme_numbers.py --json numbers.json

Losses on a grid of extremes and types, a small detector on odd images, boxes and weights, and random draws of both.
Exits with 1 when a step did anything else.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import glipv2_mmdet  # noqa: E402, F401

# isort: split
from mmdet.utils import register_all_modules  # noqa: E402

from benchmarks.reliability.number_cases import loss_cases, model_cases, outcome  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--random', type=int, default=30, help='random draws per loss, and twice as many detectors')
    parser.add_argument('--seed', type=int, default=0, help='of the draws')
    args = parser.parse_args()
    logging.disable(logging.INFO)  # start values of every weight
    register_all_modules(init_default_scope=True)
    start, rows, wrong = time.monotonic(), [], []
    total: Counter[str] = Counter()
    for kind, cases in (
        ('losses', loss_cases(args.seed, args.random)),
        ('detector', model_cases(args.seed, 2 * args.random)),
    ):
        counts: Counter[str] = Counter()
        for case in cases:
            result = outcome(case)
            counts[result if result in ('finite', 'stopped') else 'other'] += 1
            if result not in ('finite', 'stopped'):
                wrong.append(f'{case.name}: {result}')
        rows.append((kind, counts.total(), counts['finite'], counts['stopped'], counts['other']))
        total += counts
    figures = dict(
        numbers_cases=total.total(),
        numbers_finite=total['finite'],
        numbers_stopped=total['stopped'],
        numbers_other=total['other'],
        numbers_seed=args.seed,
        numbers_seconds=round(time.monotonic() - start),
    )
    table = markdown_table(('steps of', 'cases', 'finite', 'stopped', 'other'), rows, ('steps of',))
    publish(figures, table, args.json)
    print(*wrong, sep='\n', end='\n' if wrong else '', file=sys.stderr)
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
