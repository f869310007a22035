"""Bad input by the thousand: prompts, spans, boxes, masks, images, configs and data files, wrong in every way we know.

    python benchmarks/reliability/inputs.py --count 600 --seed 0 --json inputs.json

Every input has to give a valid result or an error that is documented and names what was given. Each kind runs in a
process of its own with limits of time and memory, so that a crash, too, is an answer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402

KINDS = ('prompts', 'annotations', 'images', 'configs', 'files')
OUTCOMES = ('valid', 'documented', 'other')
#: Address space beyond what the process has when its first input comes: what is larger ends in a MemoryError.
GIGABYTES = 6
#: Per input, over all inputs of a kind.
SECONDS_PER_INPUT, SECONDS_TO_START = 1.0, 120


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--count', type=int, default=1000, help='inputs of each kind')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--child', metavar='KIND', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        json.dump(run_kind(args.child, args.count, args.seed), sys.stdout)
        return 0
    figures, rows, others = {}, [], []
    for kind in args.kinds:
        start = time.perf_counter()
        counts, wrong = in_a_process(kind, args.count, args.seed)
        seconds = time.perf_counter() - start
        rows.append((kind, sum(counts.values()), *(counts[outcome] for outcome in OUTCOMES), f'{seconds:.0f}'))
        others += [(kind, entry, name, text) for entry, name, text in wrong]
        figures |= {f'inputs_{kind}_{outcome}': counts[outcome] for outcome in OUTCOMES}
        figures[f'inputs_{kind}_tried'] = sum(counts.values())
    total = {
        f'inputs_{name}': sum(figures[f'inputs_{kind}_{name}'] for kind in args.kinds) for name in ('tried', *OUTCOMES)
    }
    figures = dict(inputs_command=' '.join(['python', *sys.argv]), inputs_seed=args.seed, **figures, **total)
    table = markdown_table(('kind', 'tried', 'valid result', 'documented error', 'other', 'seconds'), rows, ('kind',))
    listed = [f'{kind}, {entry}, {name}: {text}' for kind, entry, name, text in others]
    publish(figures, '\n'.join([table, *listed]), args.json)
    return int(bool(others))


def in_a_process(kind: str, count: int, seed: int) -> tuple[Counter[str], list[tuple[str, str, str]]]:
    """Counts by outcome, and (entry, input, error) of each that was neither valid nor documented."""
    command = [sys.executable, __file__, '--child', kind, '--count', str(count), '--seed', str(seed)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_TO_START + SECONDS_PER_INPUT * count
        )
    except subprocess.TimeoutExpired as error:
        return Counter(other=1), [(kind, 'the whole process', f'not done after {error.timeout:.0f} s')]
    if done.returncode:
        tail = ' '.join(done.stderr.split())[-400:]
        return Counter(other=1), [(kind, 'the whole process', f'exit code {done.returncode}: {tail}')]
    found = json.loads(done.stdout.splitlines()[-1])
    return Counter(found['counts']), [tuple(row) for row in found['others']]


def run_kind(kind: str, count: int, seed: int) -> dict:
    """Judge inputs of one kind, in this process."""
    from benchmarks.reliability.input_makers import load_maker
    from benchmarks.reliability.input_makers.verdict import judge

    counts, others = Counter(), []
    with TemporaryDirectory() as folder, open(os.devnull, 'w') as nothing:
        for case in islice(load_maker(kind)(random.Random(seed), Path(folder)), count):
            if not counts:
                limit_memory()
            out, sys.stdout = sys.stdout, nothing  # mmdet prints
            verdict = judge(case)
            sys.stdout = out
            counts[verdict.outcome] += 1
            if verdict.outcome == 'other':
                others.append((case.entry, case.name, verdict.text))
    return dict(counts=counts, others=others)


def limit_memory() -> None:
    """At most so much more than now."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIGABYTES * 2**30,) * 2)


if __name__ == '__main__':
    sys.exit(main())
