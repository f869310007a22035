"""Kills a training run with SIGKILL, resumes it, and compares every logged loss with those of an uninterrupted run.

    python benchmarks/resume.py --json benchmarks/results/resume.json

The default config mixes detection, grounding and pseudo-labelled pairs and trains all losses (docs/data.md makes its
data); both runs go through tools/dist_train.sh with two processes. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402

RUNS = ROOT / 'work_dirs/resume'
CONFIG = 'configs/glipv2/glipv2_nano_shapes_mixed.py'
POLL_SECONDS = 0.2


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--steps', type=int, default=200, help='of both runs')
    parser.add_argument('--checkpoints', type=int, default=50, metavar='STEPS', help='steps between two checkpoints')
    parser.add_argument('--kill-at', type=int, default=130, metavar='STEP', help='kill once this step is in the log')
    args = parser.parse_args()
    if not args.checkpoints < args.kill_at < args.steps:
        parser.error(
            f'--kill-at {args.kill_at} must lie between --checkpoints {args.checkpoints} and --steps '
            f'{args.steps}: there has to be something to resume from, and something left to do.'
        )
    shutil.rmtree(RUNS, ignore_errors=True)

    whole, cut = RUNS / 'whole', RUNS / 'cut'
    finish(start(whole, args), whole)
    process = start(cut, args)
    while last_step(cut) < args.kill_at:
        if process.poll() is not None:
            sys.exit(f'The run ended before it could be killed, see {cut}.log.')
        time.sleep(POLL_SECONDS)
    for pid in family(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    killed_at, resumed_from = last_step(cut), (cut / 'last_checkpoint').read_text().strip()
    finish(start(cut, args, '--resume'), cut)

    expected, found = losses(whole), losses(cut)
    if expected.keys() != found.keys():
        sys.exit(f'Logged steps differ: {sorted(expected.keys() ^ found.keys())}.')
    differences = [
        abs(value - found[step][name]) for step, values in expected.items() for name, value in values.items()
    ]
    figures = dict(
        resume_command=' '.join(['python', *sys.argv]),
        resume_config=args.config,
        resume_steps=args.steps,
        resume_killed_after_step=killed_at,
        resume_checkpoint=Path(resumed_from).name,
        resume_values_compared=len(differences),
        resume_largest_difference=max(differences),
    )
    rows = [(step, f'{values["loss"]:.6f}', f'{found[step]["loss"]:.6f}') for step, values in expected.items()]
    publish(figures, markdown_table(('step', 'loss, uninterrupted', 'loss, killed and resumed'), rows), args.json)
    return int(max(differences) > 0)


def start(work_dir: Path, args: argparse.Namespace, *more: str) -> subprocess.Popen:
    """Launch one run; its output is added to a log beside its folder."""
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [
        'bash',
        'tools/dist_train.sh',
        args.config,
        '2',
        '--work-dir',
        str(work_dir),
        *more,
        '--cfg-options',
        'randomness.seed=0',
        f'train_cfg.max_iters={args.steps}',
        f'train_cfg.val_interval={args.steps + 1}',
        f'default_hooks.checkpoint.interval={args.checkpoints}',
        'default_hooks.logger.interval=10',
    ]
    with work_dir.with_suffix('.log').open('a', encoding='utf-8') as log:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ, PYTHON=sys.executable)
        )


def family(pid: int) -> list[int]:
    """A process and all that it started: launcher, ranks and their loaders are sessions of their own (Linux only)."""
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def finish(process: subprocess.Popen, work_dir: Path) -> None:
    if process.wait():
        sys.exit(f'A run failed with exit code {process.returncode}, see {work_dir}.log.')


def losses(work_dir: Path) -> dict[int, dict[str, float]]:
    """Step -> logged losses and gradient norm; a step that was repeated counts as it was the last time."""
    found = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        # the kill may have cut the last line
        for line in log.read_text().rpartition('\n')[0].splitlines():
            record = json.loads(line)
            if 'loss' in record:
                found[record['step']] = {
                    name: value for name, value in record.items() if name.startswith('loss') or name == 'grad_norm'
                }
    return dict(sorted(found.items()))


def last_step(work_dir: Path) -> int:
    return max(losses(work_dir), default=0)


if __name__ == '__main__':
    sys.exit(main())
