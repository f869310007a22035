"""Evaluates a checkpoint: python tools/test.py CONFIG CHECKPOINT [--out FILE] [--show-dir DIR] [...].

Takes the options of MMDetection's own script. Several processes or machines: tools/dist_test.sh.
"""

import argparse
import os
from copy import deepcopy
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
# mmdet only now: the line above repairs what it stands on
from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.evaluation import DumpDetResults
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from glipv2_mmdet.apis.model_names import tell_if_foreign
from glipv2_mmdet.compat.cpu_distributed import leave_group, start_cpu_group, use_cpu_where_no_gpu


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test (and evaluate) a detector')
    parser.add_argument('config', help='config file; Python code, which is run')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for the metrics (default: work_dirs/<config name>)')
    parser.add_argument('--out', help='write all predictions to this file (.pkl or .pickle)')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='write painted images to this folder of the log folder')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between images with --show')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to replace in the config: key=value, key="[a,b]", key="[(a,b),(c,d)]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='join views of each picture: those of tta_pipeline, or else itself and its mirror image',
    )
    # torch's older launcher passes this; mmengine reads the environment variable
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f"--out is '{args.out}'; expected a name that ends in .pkl or .pickle")
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def build_config(args: argparse.Namespace) -> Config:
    """The config file with the command line laid over it."""
    tell_if_foreign(args.config)
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.show or args.show_dir:
        cfg = trigger_visualization_hook(cfg, args)
    if args.tta:
        _add_mirrored_image(cfg)
    return cfg


def _add_mirrored_image(cfg: Config) -> None:
    """Test-time augmentation: the config's own, or else every image with its mirror image."""
    if 'tta_model' not in cfg:
        tta_cfg = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        # mmdet's own refuses masks
        kind = 'GroundedTTAModel' if cfg.model.type == 'GLIPv2' else 'DetTTAModel'
        cfg.tta_model = dict(type=kind, tta_cfg=tta_cfg)
    data = cfg.test_dataloader.dataset
    while 'dataset' in data:
        data = data.dataset
    if 'tta_pipeline' not in cfg:
        *steps, pack = deepcopy(data.pipeline)
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        pack.meta_keys = tuple(
            {
                *pack.get('meta_keys', ()),
                'img_id',
                'img_path',
                'ori_shape',
                'img_shape',
                'scale_factor',
                'flip',
                'flip_direction',
            }
        )
        cfg.tta_pipeline = [*steps, dict(type='TestTimeAug', transforms=[flips, [pack]])]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    data.pipeline = cfg.tta_pipeline


def main() -> None:
    args = parse_args()
    cfg = build_config(args)
    if use_cpu_where_no_gpu(cfg):
        start_cpu_group(cfg)
    setup_cache_size_limit_of_dynamo()
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if args.out:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    runner.test()
    del runner
    leave_group()


if __name__ == '__main__':
    main()
