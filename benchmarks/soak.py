"""The reliability campaign: every program of benchmarks/reliability in turn, their figures in one file.

    make soak
    python benchmarks/soak.py --only faults inputs --json benchmarks/results/reliability.json

About 20 minutes on two cores. Each program also runs alone and takes its own options; docs/reliability.md says what
each does. A campaign in which anything failed makes this one fail, and the others still run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.report import write_json  # noqa: E402

#: Name -> program with its options. In the order in which a mistake is cheapest to find.
CAMPAIGNS = {
    'numbers': ('extreme_numbers.py',),
    'inputs': ('inputs.py',),
    'load': ('load.py',),
    'faults': ('faults.py',),
    'long_run': ('long_run.py', '--plot', 'docs/images/long_run.png'),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--only',
        nargs='+',
        choices=list(CAMPAIGNS),
        default=list(CAMPAIGNS),
        metavar='NAME',
        help=f'campaigns to run: {", ".join(CAMPAIGNS)}',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='figures; those of campaigns that do not run now are kept'
    )
    args = parser.parse_args()
    # a file that cannot be written is better known before than at the end
    figures = json.loads(args.json.read_text()) if args.json and args.json.is_file() else {}
    failed = []
    for name in args.only:
        print(f'\n## {name}\n', flush=True)
        found, minutes, exit_code = run(CAMPAIGNS[name])
        if exit_code:
            failed.append(name)
        if found:
            # nothing of an older run may stand beside the new figures
            figures = {key: value for key, value in figures.items() if not key.startswith(f'{name}_')}
            figures |= found | {
                f'{name}_minutes': round(minutes, 1),
                f'{name}_date': str(datetime.date.today()),
                f'{name}_command': ' '.join(['python', f'benchmarks/reliability/{CAMPAIGNS[name][0]}']),
            }
        if args.json:
            write_json(args.json, setup() | figures)
    print(f'\nFailed: {", ".join(failed)}.' if failed else f'\nAll of {", ".join(args.only)} passed.')
    return len(failed)


def run(program: Sequence[str]) -> tuple[dict[str, object], float, int]:
    """One campaign in a process of its own: its figures, minutes and exit code; what it prints is shown."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'figures.json'
        search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        done = subprocess.run(
            [sys.executable, str(ROOT / 'benchmarks/reliability' / program[0]), *program[1:], '--json', str(result)],
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=search_path),
        )
        figures = json.loads(result.read_text()) if result.is_file() else {}
    return figures, (time.monotonic() - started) / 60, done.returncode


def setup() -> dict[str, object]:
    return dict(machine=f'{platform.machine()} CPU, {os.cpu_count()} cores', torch=torch.__version__)


if __name__ == '__main__':
    sys.exit(main())
