"""Trains a nano GLIPv2 for thousands of steps and watches memory, open files, processes and threads of the whole run.

    python benchmarks/reliability/long_run.py --json long_run.json --plot docs/images/long_run.png

The run is that of tools/train.py with the pre-training config: loader processes that stay, a checkpoint and a
validation every eighth of it. Scenes are rendered first and shown at 96 pixels, two per step, so that steps are many.
What counts is whether anything grows after the start, so a busy machine does no harm. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.reliability.process_family import Holdings, Sampler, drift, require_proc  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402

RUN = ROOT / 'work_dirs/long_run'
CONFIG = 'configs/glipv2/glipv2_nano_shapes_pretrain.py'
SCENES = ('--train', '200', '--val', '8', '--zero-shot', '4')
SIDE = 96
#: Averaged weights, optimizer state and two validations are there when the second quarter begins.
MOST_MEMORY_MB = 40.0


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--workers', type=int, default=2, help='processes that load images (default: %(default)s)')
    parser.add_argument('--seconds', type=float, default=2.0, help='between two looks (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--plot', type=Path, metavar='FILE', help='picture of the three curves')
    args = parser.parse_args()
    require_proc()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    data = RUN / 'shapes'
    subprocess.run(
        [sys.executable, 'tools/make_shapes.py', '--out', str(data), *SCENES],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment(),
    )
    samples = watch(command(args, data), args.seconds)
    (RUN / 'samples.json').write_text(json.dumps([asdict(sample) for sample in samples]) + '\n', encoding='utf-8')
    figures = judge(samples, args)
    rows = [
        (f'{sample.seconds:.0f}', f'{sample.memory_mb:.1f}', sample.open_files, sample.children, sample.threads)
        for sample in samples[:: max(1, len(samples) // 20)]
    ]
    publish(
        figures, markdown_table(('seconds', 'memory, MiB', 'open files', 'child processes', 'threads'), rows), args.json
    )
    # last: what was measured is there whatever happens to the picture
    if args.plot:
        draw(samples, args.plot, args.steps)
    return int(bool(figures['long_run_failures']))


def command(args: argparse.Namespace, data: Path) -> list[str]:
    """The training run."""
    eighth = max(1, args.steps // 8)
    options = {
        'randomness.seed': args.seed,
        'train_cfg.max_iters': args.steps,
        'train_cfg.val_interval': eighth,
        'default_hooks.checkpoint.interval': eighth,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': args.workers,
        'train_dataloader.dataset.data_root': f'{data}/',
        'train_dataloader.dataset.pipeline.3.scale': f'({SIDE},{SIDE})',
    }
    for split in ('val', 'test'):
        options |= {
            f'{split}_dataloader.dataset.data_root': f'{data}/',
            f'{split}_dataloader.dataset.pipeline.1.scale': f'({SIDE},{SIDE})',
            f'{split}_evaluator.ann_file': f'{data}/annotations/val.json',
        }
    return [
        sys.executable,
        'tools/train.py',
        CONFIG,
        '--work-dir',
        str(RUN / 'run'),
        '--cfg-options',
        *(f'{key}={value}' for key, value in options.items()),
    ]


def watch(words: Sequence[str], seconds: float) -> list[Holdings]:
    """Run a command to its end and look at it meanwhile."""
    log_file = RUN / 'run.log'
    with log_file.open('w', encoding='utf-8') as log:
        process = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT)
        try:
            with Sampler(process.pid, seconds, lambda: last_step(log_file)) as sampler:
                code = process.wait()
        finally:
            process.kill()
    if code:
        sys.exit(f'The run failed with exit code {code}, see {log_file}.')
    # the last look may fall into the end of the run
    return sampler.samples[:-1]


def last_step(log_file: Path) -> int:
    """The last step that the log of a run tells."""
    with log_file.open('rb') as log:
        log.seek(max(0, log_file.stat().st_size - 20_000))
        steps = re.findall(rb'Iter\(train\) \[ *(\d+)/', log.read())
    return int(steps[-1]) if steps else 0


def judge(samples: Sequence[Holdings], args: argparse.Namespace) -> dict[str, object]:
    """Figures, and among them what grew that should not."""
    memory = drift(samples, lambda sample: sample.memory_mb)
    files = drift(samples, lambda sample: sample.open_files)
    children = drift(samples, lambda sample: sample.children)
    threads = drift(samples, lambda sample: sample.threads)
    failures = [
        name
        for name, grew in (
            ('memory', memory > MOST_MEMORY_MB),
            ('open files', files > 0),
            ('child processes', children > 0),
            ('threads', threads > 0),
        )
        if grew
    ]
    last = samples[-len(samples) // 4 :]
    return dict(
        long_run_command=' '.join(['python', *sys.argv]),
        long_run_config=CONFIG,
        long_run_steps=args.steps,
        long_run_image_side=SIDE,
        long_run_samples=len(samples),
        long_run_seconds=round(samples[-1].seconds),
        long_run_memory_mb=round(max(sample.memory_mb for sample in last), 1),
        long_run_memory_drift_mb=round(memory, 1),
        long_run_open_files_drift=files,
        long_run_workers=args.workers,
        long_run_children=max(sample.children for sample in samples),
        long_run_children_drift=children,
        long_run_threads_drift=threads,
        long_run_failures=len(failures),
        long_run_failed=', '.join(failures),
    )


def draw(samples: Sequence[Holdings], file: Path, steps: int) -> None:
    """Three curves over time."""
    minutes = [sample.seconds / 60 for sample in samples]
    curves = (
        ('memory, MiB', [sample.memory_mb for sample in samples]),
        ('open files', [sample.open_files for sample in samples]),
        ('processes and threads', [1 + sample.children for sample in samples]),
    )
    figure, axes = pyplot.subplots(3, 1, sharex=True, figsize=(8, 6), constrained_layout=True)
    for axis, (title, values) in zip(axes, curves, strict=True):
        axis.plot(minutes, values, color='#0072b2', linewidth=1.2, label='processes' if 'threads' in title else None)
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axes[-1].plot(minutes, [sample.threads for sample in samples], color='#d55e00', linewidth=1.2, label='threads')
    axes[-1].legend(loc='center right')
    for axis in axes:
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel('minutes')
    axes[0].set_title(f'{steps} training steps, all processes of the run together')
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def environment() -> dict[str, str]:
    """One thread per process, and this checkout before any installed copy."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1')


if __name__ == '__main__':
    sys.exit(main())
