"""Trains from a config: python tools/train.py CONFIG [--work-dir DIR] [--resume] [--cfg-options k=v ...].

Takes the options of MMDetection's own script. Several processes or machines: tools/dist_train.sh and
tools/slurm_train.sh.
"""

import argparse
import os
import sys
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
# mmdet only now: the line above repairs what it stands on
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from glipv2_mmdet.apis.model_names import tell_if_foreign
from glipv2_mmdet.checkpoints import PretrainedWeightsError
from glipv2_mmdet.compat.cpu_distributed import (
    leave_group,
    start_cpu_group,
    use_cpu_where_no_gpu,
    use_single_precision_where_no_gpu,
)
from glipv2_mmdet.engine.ended_runs import explain_end
from glipv2_mmdet.engine.starting_weights import brings_checkpoint, prepare_starting_weights
from glipv2_mmdet.engine.work_folder_lock import FolderInUseError, hold_folder


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a detector')
    parser.add_argument('config', help='config file; Python code, which is run')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default work_dirs/<config name>')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from the base batch size of the config to the real one',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from this checkpoint; without a value, from the last of the folder',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to replace in the config: key=value, key="[a,b]", key="[(a,b),(c,d)]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch's older launcher passes this; mmengine reads the environment variable
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def build_config(args: argparse.Namespace) -> Config:
    """The config file with the command line laid over it. Raises ValueError when they do not fit."""
    tell_if_foreign(args.config)
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                f'--auto-scale-lr was given, but {args.config} does not say for which '
                'batch size its learning rate is. Add auto_scale_lr = dict(base_batch_size=...) '
                'to it.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        if args.resume != 'auto':
            cfg.load_from = args.resume
        elif cfg.get('load_from'):
            # the first call of a job that may always be started with --resume
            cfg.default_hooks.checkpoint.start_from = cfg.load_from
            cfg.load_from = None
    return cfg


def main() -> int:
    cfg = build_config(parse_args())
    use_single_precision_where_no_gpu(cfg)
    if use_cpu_where_no_gpu(cfg):
        start_cpu_group(cfg)
    setup_cache_size_limit_of_dynamo()
    try:
        with hold_folder(cfg.work_dir, cfg.launcher):
            runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
            # once more when the run starts; here it can stop before the data are read
            prepare_starting_weights(runner.model, brings_checkpoint(cfg))
            with explain_end(runner.work_dir):
                runner.train()
    except (FolderInUseError, PretrainedWeightsError) as error:
        if is_main_process():
            sys.stderr.write(f'train: {error}\n')
        leave_group()
        return 2
    del runner
    leave_group()
    return 0


if __name__ == '__main__':
    sys.exit(main())
