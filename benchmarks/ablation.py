"""The paper's ablation of losses (GLIPv2, table 4) on the shapes data: trains each row, tests it, prints the table.

    python benchmarks/ablation.py

Every row has the same number of steps, two processes and three seeds; an hour on two cores. A run that is finished is
not repeated, so the command goes on where it was stopped (--fresh starts over). ``collect.py pretraining`` puts the
rows into benchmarks/results/pretraining.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.report import markdown_table  # noqa: E402

RUNS = ROOT / 'work_dirs/ablation'
ZERO_SHOT = 'configs/glipv2/glipv2_nano_shapes_zero_shot.py'
ROWS = {
    'none': 'none',
    'mlm': 'MLM',
    'loc_intra': 'loc + intra',
    'loc_intra_mlm': 'loc + intra + MLM',
    'loc_intra_inter': 'loc + intra + inter',
    'all': 'all',
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='+', choices=list(ROWS), default=list(ROWS), help='configs to run')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--fresh', action='store_true', help='forget finished runs')
    args = parser.parse_args()
    if args.fresh:
        shutil.rmtree(RUNS, ignore_errors=True)
    rows = [run(row, seed) for seed in args.seeds for row in args.rows]
    print(table(rows, args.rows))
    return 0


def run(row: str, seed: int) -> dict[str, object]:
    """Train and test one row with one seed; the figures of a finished run are read from its folder."""
    folder = RUNS / f'{row}_seed{seed}'
    finished = folder / 'figures.json'
    if not finished.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        trained, tested = folder / 'train', folder / 'zero_shot'
        call(
            trained,
            [
                'tools/dist_train.sh',
                f'configs/glipv2/ablation/{row}.py',
                '2',
                '--work-dir',
                trained,
                '--cfg-options',
                f'randomness.seed={seed}',
            ],
        )
        checkpoint = (trained / 'last_checkpoint').read_text().strip()
        call(tested, ['tools/dist_test.sh', ZERO_SHOT, checkpoint, '2', '--work-dir', tested])
        figures = dict(
            losses=ROWS[row], seed=seed, box_ap=average_precision(trained), zero_shot_ap=average_precision(tested)
        )
        finished.write_text(json.dumps(figures) + '\n', encoding='utf-8')
    return json.loads(finished.read_text(encoding='utf-8'))


def call(work_dir: Path, command: list[str | Path]) -> None:
    """Run a shell script of tools/ that writes into a work folder; its output goes beside that, a failure names it."""
    log = work_dir.with_suffix('.log')
    print(f'{work_dir.relative_to(RUNS)} ...', file=sys.stderr, flush=True)
    with log.open('w', encoding='utf-8') as output:
        code = subprocess.call(
            ['bash', *map(str, command)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, PYTHON=sys.executable),
        )
    if code:
        sys.exit(f'{work_dir} failed with exit code {code}, see {log}.')


def average_precision(work_dir: Path) -> float:
    """Box AP of the last evaluation below a work folder; COCO's metric names none when there was not a single box."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json')) or sorted(work_dir.glob('*/*.json'))
    found = [value for line in logs[-1].read_text().splitlines() for value in scores(line)]
    return found[-1] if found else 0.0


def scores(line: str) -> list[float]:
    # every process writes the file of a test; the longer text of another one may stick out behind
    record, _ = json.JSONDecoder().raw_decode(line)
    return [record['coco/bbox_mAP']] if 'coco/bbox_mAP' in record else []


def table(rows: list[dict[str, object]], names: list[str]) -> str:
    """Mean and standard deviation over the seeds, as Markdown."""
    cells = []
    for name in names:
        runs = [row for row in rows if row['losses'] == ROWS[name]]
        cells.append((ROWS[name], *(spread([run[key] for run in runs]) for key in ('box_ap', 'zero_shot_ap'))))
    return markdown_table(('losses', 'box AP', 'zero-shot AP'), cells, text=('losses',))


def spread(values: list[float]) -> str:
    deviation = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.3f}{deviation}'


if __name__ == '__main__':
    sys.exit(main())
