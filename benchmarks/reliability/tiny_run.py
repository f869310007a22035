"""A training run of seconds that has everything a long one has, for faults to be injected into.

All losses of pre-training, dropout, averaged weights, a schedule with warm-up, samples drawn by ``MixedSampler``,
replaced where they fail and loaded by a worker, an evaluation in the middle and one at the end. Two data sets of 24
scenes of "shapes" at 64 pixels.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import runpy
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import config as mmengine_config

from glipv2_mmdet.datasets.shapes import make_shapes

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class TinyRun:
    """Steps in all and between two checkpoints; the first evaluation is in the middle. One image may be none."""

    steps: int = 16
    save_every: int = 4
    broken_image: bool = False


_CONFIG = """
_base_ = '{root}/configs/glipv2/ablation/all.py'

model = dict(
    backbone=dict(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4, drop_path_rate=0.1),
    language_model=dict(config=dict(hidden_size=32, num_hidden_layers=1, intermediate_size=32)),
    neck=dict(in_channels=[32, 64, 128], out_channels=16),
    fusion=dict(channels=16, text_channels=32, attention_channels=16, text_ffn_channels=32, dropout=0.1),
    bbox_head=dict(channels=16, text_channels=32),
    inter_loss=dict(channels=16, text_channels=32),
    mlm_head=dict(text_channels=32))

train_pipeline = [step if step['type'] != 'Resize' else dict(step, scale=(64, 64)) for step in _base_.train_pipeline]
test_pipeline = [step if step['type'] != 'Resize' else dict(step, scale=(64, 64)) for step in _base_.test_pipeline]
shapes = dict(
    type='GroundedODVGDataset', serialize_data=False, data_root='{data}/', ann_file='annotations/train_odvg.jsonl',
    label_map_file='annotations/label_map.json', data_prefix=dict(img='images/train/'), pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=2,
    sampler=dict(_delete_=True, type='MixedSampler', ratios=[2, 1]),
    dataset=dict(
        _delete_=True, type='ReplaceFailedSamples', max_failed_share=0.1,
        dataset=dict(type='ConcatDataset', datasets=[shapes, dict(shapes, ann_file='annotations/more_odvg.jsonl')])))
val_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root='{data}/', pipeline=test_pipeline, serialize_data=False))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/annotations/val.json')
test_evaluator = val_evaluator

max_iters = {steps}
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval={steps} // 2)
param_scheduler = [dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=5),
                   dict(type='CosineAnnealingLR', by_epoch=False, begin=5, end=max_iters, T_max=max_iters - 5)]
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval={save_every}, max_keep_ckpts=3, save_best='coco/bbox_mAP', rule='greater'))
randomness = dict(seed=0)
"""


def make_tiny_run(folder: Path, run: TinyRun) -> Path:
    """Renders the data and writes the config of a run; returns the config file."""
    data = make_shapes(folder / 'data', train=24, val=8, zero_shot=4, seed=0)
    lines = (data / 'annotations/train_odvg.jsonl').read_text().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    (data / 'annotations/more_odvg.jsonl').write_text(''.join(lines))
    if run.broken_image:
        image = next(iter(sorted((data / 'images/train').iterdir())))
        image.write_bytes(image.read_bytes()[:100])
    config = folder / 'tiny.py'
    config.write_text(_CONFIG.format(root=ROOT, data=data, steps=run.steps, save_every=run.save_every))
    return config


class Starter:
    """Starts ``tools/train.py`` in processes of their own that need not import everything again.

    A server process imports the package once; each run is a fork of it (Linux). Several processes per run, as
    ``tools/dist_train.sh`` starts them, with ``launcher=True``.
    """

    def __init__(self) -> None:
        search_path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
        self._variables = dict(PYTHONPATH=search_path, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
        os.environ.update(self._variables)  # the server inherits them
        self._context = multiprocessing.get_context('forkserver')
        self._context.set_forkserver_preload(['benchmarks.reliability.tiny_run', 'glipv2_mmdet', 'mmdet.utils'])

    def train(self, config: Path, work_dir: Path, *more: str, rank: int | None = None, port: int = 0) -> Any:
        """One process, or one of two; its output is added to ``<work_dir>.log``."""
        arguments = [str(config), '--work-dir', str(work_dir), *more]
        variables = {}
        if rank is not None:
            arguments += ['--launcher', 'pytorch']
            variables = dict(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE='2',
                LOCAL_WORLD_SIZE='2',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=str(port),
            )
        log = log_of(work_dir)
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(target=_train, args=(arguments, log, variables))
        process.start()
        return process

    def pair(self, config: Path, work_dir: Path, *more: str) -> Pair:
        """Two processes of one run, without a launcher that would end one when the other has died."""
        port = free_port()
        return Pair([self.train(config, work_dir, *more, rank=rank, port=port) for rank in range(2)])

    def launch(self, config: Path, work_dir: Path, *more: str) -> subprocess.Popen:
        """Two processes, by the command that users give."""
        command = ['bash', 'tools/dist_train.sh', str(config), '2', '--work-dir', str(work_dir), *more]
        log = log_of(work_dir)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('a', encoding='utf-8') as output:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, PYTHON=sys.executable, PORT=str(free_port())),
            )


@dataclass(frozen=True)
class Pair:
    """Two processes, waited for as one."""

    processes: list[Any]

    def poll(self) -> int | None:
        codes = [process.exitcode for process in self.processes]
        return None if None in codes else next((code for code in codes if code), 0)


def _train(arguments: list[str], log: Path, variables: Mapping[str, str]) -> None:
    """In the new process."""
    os.environ.update(variables)
    with log.open('a', encoding='utf-8') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1, closefd=False) for number in (1, 2))
    os.chdir(ROOT)
    torch.set_num_threads(1)
    # a checkpoint carries the config as formatted code, and formatting takes most of so short a run
    mmengine_config.FormatCode = lambda text, **_: (text, True)
    sys.argv = ['tools/train.py', *arguments]
    runpy.run_path('tools/train.py', run_name='__main__')


def log_of(work_dir: Path) -> Path:
    return work_dir.with_name(f'{work_dir.name}.log')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def family(pid: int) -> list[int]:
    """A process and all that it started: launcher, ranks and their loaders (Linux only)."""
    return [pid, *(member for child in children(pid) for member in family(child))]


def children(pid: int) -> list[int]:
    """Started by any thread of a process; none if it is over."""
    try:
        files = list(Path(f'/proc/{pid}/task').glob('*/children'))
        return [int(child) for file in files for child in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def logged(work_dir: Path) -> dict[int, dict[str, float]]:
    """Step -> losses, gradient norm and rate; a step that was repeated counts as it was the last time."""
    found = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.parent.parent.name):
        # a kill may have cut the last line
        for line in log.read_text().rpartition('\n')[0].splitlines():
            record = json.loads(line)
            if 'loss' in record:
                found[record['step']] = {
                    name: value
                    for name, value in record.items()
                    if name.startswith('loss') or name in ('grad_norm', 'lr')
                }
    return dict(sorted(found.items()))


def last_step(work_dir: Path) -> int:
    return max(logged(work_dir), default=0)


def unequal_values(first: Path, second: Path) -> list[str]:
    """Names of what differs by a bit: weights, averaged weights, state of the optimizer, schedules."""

    def flat(prefix, value):
        if isinstance(value, dict):
            return {name: item for key, part in value.items() for name, item in flat(f'{prefix}.{key}', part).items()}
        if isinstance(value, (list, tuple)):
            return flat(prefix, dict(enumerate(value)))
        return {prefix: value}

    contents = []
    for path in (first, second):
        checkpoint = torch.load(path, weights_only=True)
        contents.append(
            {
                name: value
                for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
                for name, value in flat(key, checkpoint[key]).items()
            }
        )
    names = contents[0].keys() | contents[1].keys()
    return sorted(name for name in names if not _equal(contents[0].get(name), contents[1].get(name)))


def _equal(first, second) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return type(first) is type(second) and first == second
