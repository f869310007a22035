"""Tunes a GLIPv2 model on a folder of your own images and boxes: COCO json, YOLO or Pascal VOC.

    python tools/finetune.py --data my_data --mode full
    python tools/finetune.py --data my_data --modes prompt head full --shots 1 3 5 10 all --seeds 3 30 300 \
        --base CHECKPOINT --config CONFIG

Without --config and --base it tunes GLIPv2-mini, the model of the package. Class names come from the data. Each run
writes its prompt or weights, a config to use them with, pictures, its log and result.json below --work-dir; several
runs share one process. docs/finetuning.md explains all of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import glipv2_mmdet  # noqa: F401

# isort: split
from mmdet.utils import register_all_modules

from glipv2_mmdet.apis.finetuning import evaluate_base, finetune, result_table, split_that_counts
from glipv2_mmdet.apis.finetuning_config import MODES, FinetuneSettings, read_overrides
from glipv2_mmdet.apis.finetuning_record import check_reuse, move_data
from glipv2_mmdet.apis.model_names import config_of, tell_if_foreign
from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL, shipped_weights
from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.datasets.own_data import OwnDataError, prepare_own_data
from glipv2_mmdet.engine.work_folder_lock import FolderInUseError, hold_folder
from glipv2_mmdet.text import PromptError


def shots(text: str) -> int | None:
    return None if text == 'all' else int(text)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True, help='folder of the data')
    parser.add_argument(
        '--config', help='config of the base model; Python code, which is run (default: that of GLIPv2-mini)'
    )
    parser.add_argument('--base', help='checkpoint of the base model (default: the weights of GLIPv2-mini)')
    parser.add_argument(
        '--mode',
        '--modes',
        dest='modes',
        nargs='+',
        choices=MODES,
        default=['prompt'],
        help='what learns: the prompt embedding, the grounding head, everything (default: prompt)',
    )
    parser.add_argument('--shots', nargs='+', type=shots, default=[None], help='images per class, or all (default)')
    parser.add_argument(
        '--seed',
        '--seeds',
        dest='seeds',
        nargs='+',
        type=int,
        default=[3],
        help='of subset and run (default: 3; GLIP reports the mean of 3 30 300)',
    )
    parser.add_argument('--prompts', help='json with words for classes: {"class": "phrase"}')
    parser.add_argument('--work-dir', help='default: work_dirs/finetune/<name of the data folder>')
    parser.add_argument('--steps', type=int, help='training steps (default: 60, or 200 with all images)')
    parser.add_argument('--lr', type=float, help='learning rate (default: by mode, see docs/finetuning.md)')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--evaluations', type=int, default=4, help='looks at the validation split (default: 4)')
    parser.add_argument('--workers', type=int, default=0, help='processes that load images (default: 0)')
    parser.add_argument('--pictures', type=int, default=4, help='images to paint per run (default: 4)')
    parser.add_argument('--resume', action='store_true', help='keep finished runs and go on with an unfinished one')
    args = parser.parse_args(argv)
    if (args.config is None) != (args.base is None):
        parser.error('--config and --base belong together: give both, or neither for GLIPv2-mini.')
    if args.config is None:
        args.config, args.base = str(config_of(DEFAULT_MODEL)), str(shipped_weights(DEFAULT_MODEL))
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    tell_if_foreign(args.config)
    register_all_modules()
    work_dir = Path(args.work_dir or Path('work_dirs') / 'finetune' / Path(args.data).resolve().name)
    try:
        with hold_folder(work_dir), TemporaryDirectory(dir=work_dir, prefix='data_') as staging:
            return run_all(args, work_dir, Path(staging))
    except FolderInUseError as error:
        sys.stderr.write(f'finetune: {error}\n')
        return 2


def run_all(args: argparse.Namespace, work_dir: Path, staging: Path) -> int:
    """All runs of a call; gives the exit code. Data wait in ``staging`` until no earlier run speaks against them."""
    try:
        data = prepare_own_data(args.data, staging)
        overrides = read_overrides(args.prompts, data.classes) if args.prompts else {}
        # all settings are checked before the first run starts
        runs = [
            FinetuneSettings(
                config=args.config,
                base=args.base,
                work_dir=str(work_dir),
                mode=mode,
                shots=number,
                seed=seed,
                overrides=overrides,
                steps=args.steps,
                lr=args.lr,
                batch_size=args.batch_size,
                evaluations=args.evaluations,
                workers=args.workers,
                num_pictures=args.pictures,
            )
            for mode, number, seed in itertools.product(args.modes, args.shots, args.seeds)
        ]
        for settings in runs:
            check_reuse(settings, data, args.resume)
        data = move_data(data, work_dir / 'data')
        print(
            f'{len(data.classes)} classes ({", ".join(data.classes[:5])}{", ..." if len(data.classes) > 5 else ""}), '
            f'figures on the {split_that_counts(data)} split',
            flush=True,
        )
        # pycocotools and mmengine print a page per evaluation
        with open(work_dir / 'libraries.log', 'a') as log, redirect_stdout(log):
            before = evaluate_base(runs[0], data)
        print(f'before: AP {before["coco/bbox_mAP"]:.3f}, AP50 {before["coco/bbox_mAP_50"]:.3f}', flush=True)
        results = []
        for settings in runs:
            with open(work_dir / 'libraries.log', 'a') as log, redirect_stdout(log):
                results.append(finetune(settings, data, before, args.resume))
            print(
                f'{settings.run_dir}: AP {results[-1].ap:.3f}, AP50 {results[-1].ap50:.3f} after '
                f'{results[-1].steps} steps, {results[-1].seconds:.0f} s; {results[-1].file}',
                flush=True,
            )
    except (CheckpointError, FileExistsError, FileNotFoundError, OwnDataError, PromptError, ValueError) as error:
        sys.stderr.write(f'finetune: {error}\n')
        return 2
    print(result_table(results))
    (work_dir / 'results.json').write_text(
        json.dumps([json.loads((settings.run_dir / 'result.json').read_text()) for settings in runs], indent=1) + '\n'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
