"""Injects faults into trainings, resumes them, and compares the result bit for bit with an uninterrupted run.

    python benchmarks/reliability/faults.py --kills 20 --seed 0 --json FILE

Every run is a process of its own, or two. A fault counts as survived when the run ended in time with a message (or
went on, where it should), every checkpoint with a final name is whole, and the resumed run has the logged values,
weights, averaged weights, optimizer state and schedules of the uninterrupted one.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.reliability.fault_bench import Bench, NotInjectedError  # noqa: E402
from benchmarks.reliability.fault_kinds import Fault, all_faults  # noqa: E402
from benchmarks.reliability.tiny_run import TinyRun  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402


@dataclass
class Outcome:
    """Of one fault."""

    kind: str
    injected: bool = False
    survived: bool = False
    seen: str = ''


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--kills', type=int, default=20, help='kills at random moments of training')
    parser.add_argument('--seed', type=int, default=0, help='of the moments, places and bits')
    parser.add_argument('--jobs', type=int, default=2, help='faults at a time')
    parser.add_argument('--only', default='', help='kinds whose name has this pattern')
    parser.add_argument('--keep', metavar='FOLDER', help='keep runs and logs here')
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix='faults_'))
    faults = [fault for fault in all_faults(args.kills) if re.search(args.only, fault.kind)]
    started = time.monotonic()
    bench = Bench(folder, TinyRun())
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(lambda item: inject(bench, item[1], args.seed, item[0]), enumerate(faults)))
    if not args.keep:
        shutil.rmtree(folder)

    figures: dict[str, object] = dict(
        faults_command=' '.join(['python', *sys.argv]),
        faults_seed=args.seed,
        faults_minutes=round((time.monotonic() - started) / 60, 1),
        faults_injected=sum(outcome.injected for outcome in outcomes),
        faults_survived=sum(outcome.survived for outcome in outcomes),
    )
    rows = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        those = [outcome for outcome in outcomes if outcome.kind == kind]
        injected, survived = (sum(getattr(outcome, name) for outcome in those) for name in ('injected', 'survived'))
        key = kind.replace(' ', '_').replace(',', '')
        figures |= {f'faults_{key}_injected': injected, f'faults_{key}_survived': survived}
        failed = [outcome.seen for outcome in those if not outcome.survived]
        rows.append((kind, injected, survived, (failed or [those[-1].seen])[0]))
    publish(
        figures,
        markdown_table(
            ('fault', 'injected', 'survived', 'what the user sees'), rows, text=('fault', 'what the user sees')
        ),
        args.json,
    )
    return int(not all(outcome.injected and outcome.survived for outcome in outcomes))


def inject(bench: Bench, fault: Fault, seed: int, number: int) -> Outcome:
    outcome = Outcome(fault.kind)
    try:
        outcome.seen = fault.run(bench, f'{number:03d}', random.Random(f'{seed}.{number}'))
        outcome.injected = outcome.survived = True
    except Exception as error:  # noqa: BLE001  (one that fails is a result, and the others go on)
        outcome.injected = not isinstance(error, NotInjectedError)
        outcome.seen = f'{type(error).__name__}: {error}'.replace('\n', ' ')[:400]
        traceback.print_exc()
    print(f'{fault.kind}: {"survived" if outcome.survived else "FAILED"} ({outcome.seen[:160]})', file=sys.stderr)
    return outcome


if __name__ == '__main__':
    sys.exit(main())
