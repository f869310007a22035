"""Collect the figures of the core commands into one flat file.

    make quickstart
    bash tools/dist_train.sh configs/glipv2/glipv2_nano_raccoon.py 2
    python benchmarks/fusion.py --json benchmarks/results/fusion.json
    python benchmarks/core.py                   # reads what these three wrote; benchmarks/results/core.json

Nothing is measured here. A command that has not been run is an error, not a gap in the file.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / 'work_dirs/quickstart/summary.json'
RACCOON = ROOT / 'work_dirs/glipv2_nano_raccoon'
RACCOON_COMMAND = 'bash tools/dist_train.sh configs/glipv2/glipv2_nano_raccoon.py 2'
RESULTS = ROOT / 'benchmarks/results'


def main() -> int:
    try:
        figures = quickstart_figures() | raccoon_figures(RACCOON) | json.loads((RESULTS / 'fusion.json').read_text())
    except FileNotFoundError as error:
        print(f'{error}\nRun the commands in the head of this file first.', file=sys.stderr)
        return 2
    file = RESULTS / 'core.json'
    file.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(figures, indent=1))
    return 0


def quickstart_figures() -> dict[str, object]:
    summary = json.loads(QUICKSTART.read_text())
    machine = summary['machine']
    return {
        'date': summary['date'][:10],
        'machine': f'{platform.machine()} CPU, {machine["cores"]} cores, Python {machine["python"]}',
        'quickstart_command': summary['command'],
    } | {
        f'quickstart_{key}': summary[key]
        for key in ('box_ap', 'box_ap50', 'zero_shot_ap', 'zero_shot_ap50', 'minutes', 'train_minutes', 'images')
    }


def raccoon_figures(work_dir: Path) -> dict[str, object]:
    """The last evaluation of the newest run in ``work_dir``."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not logs:
        raise FileNotFoundError(f'No training log below {work_dir}.')
    records = [json.loads(line) for line in logs[-1].read_text().splitlines()]
    last = [record for record in records if 'coco/bbox_mAP' in record][-1]
    return {
        'raccoon_command': RACCOON_COMMAND,
        'raccoon_steps': last['step'],
        'raccoon_ap': last['coco/bbox_mAP'],
        'raccoon_ap50': last['coco/bbox_mAP_50'],
        'raccoon_date': logs[-1].parents[1].name[:8],
    }


if __name__ == '__main__':
    sys.exit(main())
