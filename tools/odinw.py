"""Zero-shot detection on ODinW's 13 or 35 data sets with one table at the end.

    python tools/odinw.py CONFIG CHECKPOINT --root data/odinw --set 13 --out work_dirs/odinw
    bash tools/dist_odinw.sh CONFIG CHECKPOINT 8 --root data/odinw --set 13

Protocol of the paper: test split (PascalVOC: valid), GLIP's prompts, box AP, plain mean. Data sets that are not there
are skipped and named; finished ones are kept when the command is repeated. The config gives model and test pipeline.
"""

import argparse
import gc
import json
import os
import sys
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
# mmdet only now: the line above repairs what it stands on
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dist import init_dist, is_main_process
from mmengine.runner import Runner

from glipv2_mmdet.apis.model_names import tell_if_foreign
from glipv2_mmdet.compat.cpu_distributed import leave_group, start_cpu_group, use_cpu_where_no_gpu
from glipv2_mmdet.datasets.odinw import ODinWSet, coco_settings, odinw_sets, prepared_annotations
from glipv2_mmdet.evaluation.odinw_report import ODinWReport, ODinWResult, read_results
from glipv2_mmdet.files import atomic_write


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, for example configs/glipv2/glipv2_t_coco_zero_shot.py')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--root', type=Path, default=Path('data/odinw'), help='folder of the data sets')
    parser.add_argument('--set', type=int, choices=(13, 35), default=13, help='13 or 35 data sets (default: 13)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/odinw'),
        help='folder for results.{json,csv,md} and a log per data set',
    )
    parser.add_argument(
        '--split', choices=('train', 'valid', 'test'), help='evaluate this split everywhere instead of the reported one'
    )
    parser.add_argument('--without-prompts', action='store_true', help='class names alone, as mmdet evaluates the 13')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to replace in the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    tell_if_foreign(args.config)
    wanted = odinw_sets(args.set)
    try:
        run = identity(args)
        results = {result.name: result for result in read_results(args.out, run)}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    start_group(args)
    for dataset in wanted:
        raw = dataset.annotations(args.root, args.split)
        if raw is None:
            say(f'{dataset.name}: not in {args.root / dataset.folder}, skipped')
        elif dataset.name in results:
            say(f'{dataset.name}: already evaluated')
        else:
            results[dataset.name] = evaluate(args, dataset, raw)
            if is_main_process():
                report(run, wanted, results).save(args.out)
            say(f'{dataset.name}: AP {100 * results[dataset.name].ap:.1f}')
    final = report(run, wanted, results)
    if is_main_process():
        final.save(args.out)
    say(f'\n{final.markdown()}\nSaved in {args.out}/results.{{json,csv,md}}')
    leave_group()
    return 0 if final.results else 1


def identity(args: argparse.Namespace) -> dict[str, object]:
    """What makes two runs the same: results of one may then be kept for the other."""
    checkpoint = Path(args.checkpoint)
    state = checkpoint.stat()
    return dict(
        data_sets=args.set,
        config=str(args.config),
        checkpoint=str(checkpoint),
        checkpoint_bytes=state.st_size,
        checkpoint_time_ns=state.st_mtime_ns,
        split=args.split or 'as reported',
        prompts=not args.without_prompts,
        cfg_options=json.loads(json.dumps(args.cfg_options or {}, default=str)),
    )


def report(run: dict, wanted: tuple[ODinWSet, ...], results: dict[str, ODinWResult]) -> ODinWReport:
    """Results in the order of the benchmark."""
    names = [dataset.name for dataset in wanted]
    return ODinWReport(run, names, [results[name] for name in names if name in results])


def evaluate(args: argparse.Namespace, dataset: ODinWSet, raw: Path) -> ODinWResult:
    """One data set through mmengine's test loop."""
    split = args.split or dataset.split
    content = prepared_annotations(dataset, json.loads(raw.read_text(encoding='utf-8')))
    ann_file = args.out / 'annotations' / f'{dataset.name}_{split}.json'
    with atomic_write(ann_file) as file:  # every process writes the same; each has it whole when it goes on
        file.write(json.dumps(content).encode())
    runner = Runner.from_cfg(build_config(args, dataset, ann_file, split))
    metrics = runner.test()
    del runner  # before the next model is built
    gc.collect()
    # COCO's metric reports nothing at all when there was not a single box
    ap, ap50, ap75 = (float(metrics.get(f'coco/bbox_mAP{kind}', 0.0)) for kind in ('', '_50', '_75'))
    return ODinWResult(dataset.name, split, len(content['images']), ap, ap50, ap75)


def start_group(args: argparse.Namespace) -> None:
    """Join the other processes before the first data set, so that only one of them prints."""
    cfg = base_config(args)
    if use_cpu_where_no_gpu(cfg):
        start_cpu_group(cfg)
    elif args.launcher != 'none':
        init_dist(args.launcher, **cfg.env_cfg.dist_cfg)


def base_config(args: argparse.Namespace) -> Config:
    """The config file with the command line laid over it."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher, cfg.load_from, cfg.resume = args.launcher, args.checkpoint, False
    return cfg


def build_config(args: argparse.Namespace, dataset: ODinWSet, ann_file: Path, split: str) -> Config:
    """The config with this data set under its test pipeline."""
    cfg = base_config(args)
    use_cpu_where_no_gpu(cfg)
    cfg.work_dir = str(args.out / 'logs' / dataset.name)
    inner = cfg.test_dataloader.dataset
    while 'dataset' in inner:
        inner = inner.dataset
    settings = coco_settings(dataset, args.root, ann_file, split)
    if args.without_prompts:
        settings['caption_prompt'] = None
    cfg.test_dataloader.dataset = ConfigDict(**settings, pipeline=inner.pipeline)
    cfg.test_dataloader.persistent_workers = False  # the loader is used once
    cfg.test_evaluator = ConfigDict(type='CocoMetric', ann_file=str(ann_file), metric='bbox')
    cfg.test_cfg = ConfigDict(type='TestLoop')
    return cfg


def say(text: str) -> None:
    """Print in the main process."""
    if is_main_process():
        print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
