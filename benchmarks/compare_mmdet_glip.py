"""Races GLIPv2-T without masks and extra losses, which is GLIP-T, against mmdet 3.3's GLIP-T.

    bash benchmarks/peer/make_env.sh                                                       # once
    python benchmarks/compare_mmdet_glip.py                                                # table
    python benchmarks/compare_mmdet_glip.py --json benchmarks/results/compare_mmdet_glip.json      # and flat figures
    python benchmarks/compare_mmdet_glip.py --cases infer-480x640-words --repeats 5

Both sides get the same weights (random ones under mmdet's names, ours through the converter), images and prompts. What
they make of every case is compared first; nothing is timed unless it is equal. Then they run in turn, each side in
processes that are new for every case: at inference both models stay loaded and take turns, in training one process at
a time makes one step, forward, backward and AdamW, after a small one that warms up. docs/speed.md says how to read the
table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peer.process import Agreement, Side, compare_results  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402

NAME = 'compare_mmdet_glip'
SIDES = ('ours', 'peer')
#: (name, repeats at most); the first seven are the default.
CASES = {
    'infer-480x640-words': 5,
    'infer-800x1333-words': 3,
    'infer-480x640-coco': 5,
    'infer-480x640-lvis': 1,
    'train-480x640-words-b1': 3,
    'train-480x640-coco-b1': 3,
    'train-480x640-words-b2': 1,
    'train-480x640-coco-b2': 1,
    'infer-800x1333-coco': 3,
}
DEFAULT_CASES = tuple(CASES)[:7]
#: Results may differ by this part of the largest value: rounding of another order of summation.
MAX_REL_DIFF = 1e-3
#: Takes minutes at full size; all of its prompts are compared on a small image.
CHECKED_SMALL = 'infer-480x640-lvis'
CHUNK_SIZE = 40
PROFILE_ROWS = 15


@dataclass
class Race:
    """Measured runs of one case, per side."""

    agreement: Agreement
    seconds: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    cpu_seconds: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    peak_mb: dict[str, float] = field(default_factory=dict)
    total_mb: dict[str, float] = field(default_factory=dict)

    def add(self, side: Side, answer: dict) -> None:
        self.seconds[side.name].append(answer['seconds'])
        self.cpu_seconds[side.name].append(answer['cpu_seconds'])
        self.total_mb[side.name] = max(self.total_mb.get(side.name, 0), answer['peak_mb'])
        self.peak_mb[side.name] = self.total_mb[side.name] - side.baseline_mb

    def figures(self) -> dict[str, object]:
        median = {side: statistics.median(times) for side, times in self.seconds.items()}
        cpu = {side: statistics.median(times) for side, times in self.cpu_seconds.items()}
        spread = {
            f'spread_{side}': round((max(times) - min(times)) / median[side], 3) for side, times in self.seconds.items()
        }
        return dict(
            ours=round(median['ours'], 3),
            peer=round(median['peer'], 3),
            ratio=round(
                statistics.median(
                    peer / ours for ours, peer in zip(self.seconds['ours'], self.seconds['peer'], strict=True)
                ),
                3,
            ),
            repeats=len(self.seconds['ours']),
            **spread,
            cpu_ratio=round(cpu['peer'] / cpu['ours'], 3),
            max_rel_diff=self.agreement.max_rel_diff,
            unmatched=self.agreement.unmatched,
            **{f'peak_{side}': round(self.peak_mb[side]) for side in SIDES},
            peak_ratio=round(self.peak_mb['ours'] / self.peak_mb['peer'], 3),
            **{f'total_{side}': round(self.total_mb[side]) for side in SIDES},
        )


def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = partial(start_side, args=args, weights=Path(folder) / 'weights.pth')
        if args.profile:
            return profile(args, start)
        agreements = dict(check(args.cases, start, Path(folder)))
        unequal = {
            case: found
            for case, found in agreements.items()
            if found.unmatched or not found.max_rel_diff <= MAX_REL_DIFF
        }
        if unequal:
            sys.exit(f'Not timed, because results differ by more than {MAX_REL_DIFF}: {unequal}')
        races = {}
        for case, agreement in agreements.items():
            races[case] = race(case, agreement, start, min(args.repeats, CASES[case]))
            print(f'{case}: {races[case].figures()}', file=sys.stderr, flush=True)
    rows = [dict(case=case, **found.figures()) for case, found in races.items()]
    setup = describe_setup(NAME, args)
    publish(dict(mmdet_glip=rows, **setup), table(rows, setup), args.json)
    return 0


def start_side(name: str, args: argparse.Namespace, weights: Path) -> Side:
    python = Path(sys.executable) if name == 'ours' else args.peer_python
    return Side(name, python, weights, args.threads, name in args.checkpointing)


def check(cases: list[str], start: partial, folder: Path) -> Iterator[tuple[str, Agreement]]:
    """Every case through both sides once, one after the other; untimed."""
    for name in reversed(SIDES):  # the peer's process writes the weights
        with start(name) as side:
            for case in cases:
                side.ask('check', case=case, small=case == CHECKED_SMALL, out=str(folder / f'{case}_{name}.npz'))
    for case in cases:
        files = [folder / f'{case}_{name}.npz' for name in SIDES]
        yield case, compare_results(*files, CHUNK_SIZE if case == CHECKED_SMALL else -1)


def race(case: str, agreement: Agreement, start: partial, repeats: int) -> Race:
    """Both sides in turn."""
    found = Race(agreement)
    if case.startswith('train'):
        for _ in range(repeats):
            for name in SIDES:
                with start(name) as side:
                    side.ask('run', case=case, small=True)
                    found.add(side, side.ask('run', case=case, small=False))
        return found
    with ExitStack() as stack:
        sides = [stack.enter_context(start(name)) for name in SIDES]
        for side in sides:
            side.ask('run', case=case, small=case == CHECKED_SMALL)
        for _ in range(repeats):
            for side in sides:
                found.add(side, side.ask('run', case=case, small=False))
    return found


def profile(args: argparse.Namespace, start: partial) -> int:
    """Prints where our time goes, and writes it beside the JSON file as Markdown."""
    with start('peer'):
        pass  # writes the weights
    texts = []
    for case in args.cases:
        with start('ours') as side:
            side.ask('run', case=case, small=True)
            found = side.ask('profile', case=case, rows=PROFILE_ROWS)
        rows = [
            (f'`{key}`', count, f'{seconds:.3f}', f'{100 * share:.1f} %')
            for key, count, seconds, share in found['rows']
        ]
        texts.append(
            f'## {case}: {found["seconds"]:.2f} s\n\n'
            + markdown_table(('operation', 'calls', 'own time, s', 'share'), rows, text=('operation',))
        )
    report = '\n\n'.join(('# Where our time goes (torch profiler, own CPU time)', *texts)) + '\n'
    print(report)
    if args.json and args.json != '-':
        path = Path(args.json).with_name(f'{Path(args.json).stem}_profile.md')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report, encoding='utf-8')
    return 0


def table(rows: list[dict], setup: dict[str, object]) -> str:
    columns = (
        'case',
        'ours, s',
        'spread',
        'mmdet, s',
        'spread',
        'ratio',
        'largest rel. diff.',
        'peak ours, MB',
        'peak mmdet, MB',
        'ratio',
        'with libraries, MB',
        'mmdet',
    )
    lines = [
        (
            row['case'],
            f'{row["ours"]:.2f}',
            f'{100 * row["spread_ours"]:.0f} %',
            f'{row["peer"]:.2f}',
            f'{100 * row["spread_peer"]:.0f} %',
            f'{row["ratio"]:.2f}x',
            f'{row["max_rel_diff"]:.0e}',
            row['peak_ours'],
            row['peak_peer'],
            f'{row["peak_ratio"]:.2f}x',
            row['total_ours'],
            row['total_peer'],
        )
        for row in rows
    ]
    return f'{setup_sentence(NAME, setup)}\n\n{markdown_table(columns, lines, text=("case",))}'


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--cases',
        nargs='+',
        choices=CASES,
        default=list(DEFAULT_CASES),
        metavar='CASE',
        help=f'among {", ".join(CASES)}',
    )
    parser.add_argument('--repeats', type=int, default=5, help='at most; long cases have a lower limit of their own')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument(
        '--peer-python',
        type=Path,
        default=ROOT / '.venv-peer/bin/python',
        help='interpreter of the environment of benchmarks/peer/make_env.sh',
    )
    parser.add_argument(
        '--checkpointing',
        nargs='+',
        choices=SIDES,
        default=[],
        metavar='SIDE',
        help='sides that compute inner activations of the fusion again in the backward pass: leaner '
        "and slower. mmdet's fine-tuning configs do",
    )
    parser.add_argument('--profile', action='store_true', help='where our time goes, instead of the race')
    args = parser.parse_args()
    if not args.peer_python.exists():
        parser.error(f'There is no "{args.peer_python}". Make it: bash benchmarks/peer/make_env.sh')
    return args


if __name__ == '__main__':
    sys.exit(main())
