"""Collect what the documented commands wrote into flat files of figures below benchmarks/results.

    make quickstart
    bash tools/dist_train.sh configs/glipv2/glipv2_nano_raccoon.py 2
    python benchmarks/fusion.py --json benchmarks/results/fusion.json
    python benchmarks/collect.py core

    bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_masks.py 2
    bash tools/dist_test.sh configs/glipv2/glipv2_nano_shapes_referring.py \\
        work_dirs/glipv2_nano_shapes_masks/iter_500.pth 2
    bash tools/dist_train.sh configs/glipv2/glipv2_nano_fruits.py 2
    python benchmarks/mask_head.py --json benchmarks/results/mask_head.json
    python benchmarks/collect.py masks

    python benchmarks/ablation.py
    python benchmarks/resume.py --json benchmarks/results/resume.json
    python benchmarks/inter_loss.py --threads 1 --repeats 2 --json benchmarks/results/inter_loss.json
    python benchmarks/data_loading.py --json benchmarks/results/data_loading.json
    python benchmarks/collect.py pretraining

    python tools/finetune.py ...  (commands in docs/finetuning.md; every finished run below work_dirs/finetune counts)
    python benchmarks/collect.py transfer

    for task in vqa_looks vqa grounded_vqa caption grounded_caption; do
        bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_$task.py 2
    done
    bash tools/dist_test.sh configs/glipv2/glipv2_nano_shapes_{grounded_caption,caption_grounding}.py \\
        work_dirs/glipv2_nano_shapes_grounded_caption/iter_600.pth 2
    python benchmarks/caption_baseline.py --json benchmarks/results/caption_baseline.json
    python benchmarks/collect.py vl        (--tasks vqa ... where only these were run; the file keeps the others)

Nothing is measured here. A command that has not been run is an error, not a gap in the file.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401  (checkpoints load with torch's protection on)
from benchmarks.report import as_json, write_json  # noqa: E402

WORK_DIRS = ROOT / 'work_dirs'
RESULTS = ROOT / 'benchmarks/results'
VL_TASKS = ('vqa', 'grounded_vqa', 'caption', 'grounded_caption')
TRAIN = 'bash tools/dist_train.sh configs/glipv2/{}.py 2'
TEST = 'bash tools/dist_test.sh configs/glipv2/{}.py {} 2'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('name', choices=list(FILES), help='which file to write')
    parser.add_argument('--tasks', nargs='+', choices=VL_TASKS, default=VL_TASKS, help='of vl: those run here')
    args = parser.parse_args()
    name = args.name
    try:
        figures = FILES[name](*([args.tasks] if name == 'vl' else []))
    except FileNotFoundError as error:
        print(f'{error}\nRun the commands in the head of this file first.', file=sys.stderr)
        return 2
    write_json(RESULTS / f'{name}.json', figures)
    print(as_json(figures), end='')
    return 0


def core() -> dict[str, object]:
    """Quickstart, fine-tuning on real photos, fusion."""
    summary = json.loads((WORK_DIRS / 'quickstart/summary.json').read_text())
    quickstart = {
        f'quickstart_{key}': summary[key]
        for key in (
            'command',
            'box_ap',
            'box_ap50',
            'zero_shot_ap',
            'zero_shot_ap50',
            'minutes',
            'train_minutes',
            'images',
        )
    }
    raccoon = trained('glipv2_nano_raccoon', 'raccoon', 'bbox')
    return machine() | quickstart | raccoon | json.loads((RESULTS / 'fusion.json').read_text())


def masks() -> dict[str, object]:
    """Second stage, referring phrases, real photos with masks, cost of the head."""
    stage2 = trained('glipv2_nano_shapes_masks', 'shapes', 'bbox', 'segm')
    stage2['shapes_mask_to_box_ap'] = round(stage2['shapes_mask_ap'] / stage2['shapes_box_ap'], 3)
    stage2['shapes_tensors_changed_outside_the_head'] = changed_tensors(
        newest(WORK_DIRS / 'quickstart', 'iter_*.pth'), newest(WORK_DIRS / 'glipv2_nano_shapes_masks', 'iter_*.pth')
    )
    fruits = trained('glipv2_nano_fruits', 'fruits', 'bbox', 'segm')
    return machine() | stage2 | referring() | fruits | json.loads((RESULTS / 'mask_head.json').read_text())


def pretraining() -> dict[str, object]:
    """Ablation of losses, pseudo-labels of the documented command, resuming, cost of L_inter, loading."""
    runs = sorted((WORK_DIRS / 'ablation').glob('*/figures.json'))
    if not runs:
        raise FileNotFoundError(f'No finished run in {WORK_DIRS / "ablation"}.')
    rows = [json.loads(file.read_text()) for file in runs]
    others = [json.loads((RESULTS / f'{name}.json').read_text()) for name in ('resume', 'inter_loss', 'data_loading')]
    figures = machine() | dict(ablation_command='python benchmarks/ablation.py', ablation=rows) | pseudo_labels()
    for more in others:
        figures |= more
    return figures


def transfer() -> dict[str, object]:
    """One row per run of tools/finetune.py, and one per data set for the model that they all began with."""
    folder = WORK_DIRS / 'finetune'
    files = sorted(folder.glob('*/*/result.json'))
    if not files:
        raise FileNotFoundError(f'No finished run in {folder}.')
    rows = []
    for file in files:
        result, data = json.loads(file.read_text()), file.parts[-3]
        zero_shot = dict(
            data=data,
            mode='zero-shot',
            shots=0,
            seed=None,
            ap=result['ap_before'],
            ap50=result['ap50_before'],
            trained_share=0.0,
        )
        if zero_shot not in rows:
            rows.append(zero_shot)
        rows.append(
            dict(
                data=data,
                mode=result['mode'],
                shots=result['shots'] or 'all',
                **{key: result[key] for key in ('seed', 'ap', 'ap50', 'trained_share', 'steps', 'seconds')},
            )
        )
    return machine() | dict(transfer_commands='docs/finetuning.md', transfer=rows)


def vl(tasks: Sequence[str]) -> dict[str, object]:
    """Questions and captions of "shapes", each alone and with boxes; tasks that are not named stay as they are."""
    file = RESULTS / 'vl.json'
    figures = json.loads(file.read_text()) if set(tasks) != set(VL_TASKS) else {}
    figures['machine'] = machine()['machine']
    for task in tasks:
        config = f'glipv2_nano_shapes_{task}'
        records = training_records(config)
        last = [record for record in records if any('/' in key for key in record)][-1]
        figures |= {
            f'{task}_command': TRAIN.format(config),
            f'{task}_steps': trained_steps(records),
            f'{task}_date': trained_on(config),
        }
        figures |= metrics_of(last, task)
    if 'grounded_caption' in tasks:
        checkpoint = 'work_dirs/glipv2_nano_shapes_grounded_caption/iter_600.pth'
        for task in ('grounded_caption', 'caption_grounding'):
            config = f'glipv2_nano_shapes_{task}'
            tested = json.loads(newest(WORK_DIRS / config, '[0-9]*/[0-9]*.json').read_text())
            figures |= {f'{task}_test_command': TEST.format(config, checkpoint)} | metrics_of(tested, task)
    figures |= json.loads((RESULTS / 'caption_baseline.json').read_text())
    return figures | json.loads((RESULTS / 'caption_decoding.json').read_text())


def metrics_of(record: dict[str, object], prefix: str) -> dict[str, object]:
    """``metric/name`` of a log record as ``prefix_name``."""
    return {
        f'{prefix}_{key.split("/", 1)[1].replace("/", "_").replace(" ", "_")}': value
        for key, value in record.items()
        if '/' in key
    }


def pseudo_labels() -> dict[str, int]:
    newest(ROOT / 'data/shapes/pseudo', '*.jsonl')
    pairs = [json.loads(line) for file in (ROOT / 'data/shapes/pseudo').glob('*.jsonl') for line in file.open()]
    return dict(
        pseudo_label_captions=sum(1 for file in (ROOT / 'data/shapes/captions').glob('*.jsonl') for _ in file.open()),
        pseudo_label_pairs_with_boxes=len(pairs),
        pseudo_label_boxes=sum(len(region['bbox']) for pair in pairs for region in pair['grounding']['regions']),
    )


def machine() -> dict[str, object]:
    summary = json.loads((WORK_DIRS / 'quickstart/summary.json').read_text())
    return {
        'date': summary['date'][:10],
        'machine': f'{platform.machine()} CPU, {summary["machine"]["cores"]} cores, '
        f'Python {summary["machine"]["python"]}, torch {torch.__version__}',
    }


def trained(config: str, prefix: str, *kinds: str) -> dict[str, object]:
    """AP of the last evaluation of the newest training run of a config."""
    records = training_records(config)
    last = [record for record in records if f'coco/{kinds[0]}_mAP' in record][-1]
    figures = {f'{prefix}_command': TRAIN.format(config), f'{prefix}_steps': trained_steps(records)}
    for kind in kinds:
        name = {'bbox': 'box', 'segm': 'mask'}[kind]
        figures[f'{prefix}_{name}_ap'] = last[f'coco/{kind}_mAP']
        figures[f'{prefix}_{name}_ap50'] = last[f'coco/{kind}_mAP_50']
    return figures


def training_records(config: str) -> list[dict[str, object]]:
    """What the newest training run of a config logged."""
    log = newest(WORK_DIRS / config, '*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def trained_on(config: str) -> str:
    """The day of the newest training run of a config."""
    day = newest(WORK_DIRS / config, '*/vis_data/scalars.json').parents[1].name[:8]
    return f'{day[:4]}-{day[4:6]}-{day[6:]}'


def trained_steps(records: list[dict[str, object]]) -> int:
    return max(record['step'] for record in records if 'lr' in record)  # evaluations do not count steps


def referring() -> dict[str, object]:
    """Mean IoU of referring phrases at every threshold of the newest test run."""
    config = 'glipv2_nano_shapes_referring'
    log = newest(WORK_DIRS / config, '*/[0-9]*.json')
    # runs before MetricsLoggerHook: every process wrote this file, the longer text of another one may stick out behind
    metrics, _ = json.JSONDecoder().raw_decode(log.read_text())
    figures = {'referring_command': TEST.format(config, 'work_dirs/glipv2_nano_shapes_masks/iter_500.pth')}
    return figures | {name.replace('/', '_'): value for name, value in metrics.items() if 'IoU' in name}


def changed_tensors(before: Path, after: Path) -> int:
    """How many tensors of a checkpoint differ in a later one."""
    old, new = (torch.load(file, map_location='cpu', weights_only=True)['state_dict'] for file in (before, after))
    return sum(not torch.equal(tensor, new[name]) for name, tensor in old.items())


def newest(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)
    if not files:
        raise FileNotFoundError(f'Nothing matches {pattern} in {folder}.')
    return files[-1]


FILES = {'core': core, 'masks': masks, 'pretraining': pretraining, 'transfer': transfer, 'vl': vl}

if __name__ == '__main__':
    sys.exit(main())
