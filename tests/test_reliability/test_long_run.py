"""Nothing grows while training goes on: a short sample. The whole of it: benchmarks/reliability/long_run.py."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from benchmarks.reliability import long_run
from benchmarks.reliability.process_family import Holdings, Sampler, drift, family, look_at
from glipv2_mmdet.apis.model_names import config_of

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
STEPS, LOOK_AT = 24, (8, 16, 24)


@HOOKS.register_module()
class Inventory(Hook):
    """Counts what the process holds after some steps."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.counts: list[Counter] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 in LOOK_AT:
            gc.collect()
            tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
            self.counts.append(
                Counter(
                    tensors=len(tensors),
                    megabytes=sum(item.numel() * item.element_size() for item in tensors) >> 20,
                    objects=len(gc.get_objects()),
                    files=len(os.listdir('/proc/self/fd')),
                    threads=threading.active_count(),
                )
            )


@pytest.mark.slow
def test_a_step_leaves_no_tensor_object_file_or_thread(shapes_dir, tmp_path):
    config = Config.fromfile(config_of('glipv2-nano'))
    config.merge_from_dict(
        {
            'model.backbone.depths': (1, 1, 1, 1),
            'work_dir': str(tmp_path),
            'train_cfg.max_iters': STEPS,
            'train_cfg.val_interval': STEPS + 1,
            'default_hooks.checkpoint.interval': 8,
            'default_hooks.logger.interval': 4,
            'train_dataloader.batch_size': 1,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.data_root': f'{shapes_dir}/',
            'train_dataloader.dataset.pipeline.3.scale': (64, 64),
            'log_level': 'WARNING',
        }
    )
    config.experiment_name = 'inventory'
    config.custom_hooks.append(dict(type='Inventory'))
    for part in ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg'):
        config.pop(part)
    runner = Runner.from_cfg(config)
    inventory = next(hook for hook in runner.hooks if isinstance(hook, Inventory))
    runner.train()
    first, second, third = inventory.counts
    # the optimizer's state and averaged weights are there at the first look
    for name in ('tensors', 'megabytes', 'files', 'threads'):
        assert third[name] == second[name], (name, inventory.counts)
    # logs keep a number per step and loss, and a vocabulary of prompts fills its cache
    assert third['objects'] - second['objects'] < 3000, inventory.counts
    assert third['objects'] - second['objects'] <= second['objects'] - first['objects'] + 1000, inventory.counts


def samples(memory, files=(100,), children=(3,), threads=(9,)) -> list[Holdings]:
    return [
        Holdings(float(k), value, files[k % len(files)], children[-1], threads[-1]) for k, value in enumerate(memory)
    ]


def test_a_drift_is_what_grows_after_the_start():
    rng = np.random.default_rng(0)
    start_up = [*range(0, 1000, 100), *([1000] * 30)]
    flat = [value + rng.uniform(0, 5) for value in start_up]
    flat[-3] = 5000  # one peak
    assert abs(drift(samples(flat), lambda one: one.memory_mb)) < 5
    leak = [value + 10 * k for k, value in enumerate(start_up)]
    assert drift(samples(leak), lambda one: one.memory_mb) == pytest.approx(200, abs=20)
    with pytest.raises(ValueError, match='3 samples are too few'):
        drift(samples([1, 2, 3]), lambda one: one.memory_mb)


def test_quarters_are_those_of_the_steps(tmp_path):
    """A machine that was busy at first has a quarter of the looks in the first steps."""
    slow = [Holdings(float(k), 500 if k < 30 else 700, 9, 3, 9, step=k) for k in range(31)]
    fast = [Holdings(31.0 + k, 700, 9, 3, 9, step=31 + 9 * k) for k in range(10)]
    assert drift([*slow, *fast], lambda one: one.memory_mb) == 0
    assert drift([replace(one, step=0) for one in (*slow, *fast)], lambda one: one.memory_mb) == 200
    log = tmp_path / 'run.log'
    log.write_text('x' * 30_000 + 'Iter(train) [ 120/2000]  loss\nIter(train) [ 140/2000]  loss\nIter(val) [2/2]\n')
    assert long_run.last_step(log) == 140
    log.write_text('starting')
    assert long_run.last_step(log) == 0


def test_a_leak_fails_the_campaign():
    args = Namespace(steps=10, workers=2)
    assert long_run.judge(samples([500] * 40), args)['long_run_failures'] == 0
    assert long_run.judge(samples([500 + 5 * k for k in range(40)]), args)['long_run_failed'] == 'memory'
    more_files = long_run.judge(samples([500] * 40, files=tuple(range(40))), args)
    assert more_files['long_run_failed'] == 'open files' and more_files['long_run_open_files_drift'] == 20


def test_a_family_is_seen_with_what_it_holds(tmp_path):
    code = (
        'import subprocess, sys, time; files = [open(sys.argv[1], "w") for _ in range(7)]; '
        'block = b"x" * 64000000; child = subprocess.Popen(["sleep", "60"]); '
        'print("ready", flush=True); time.sleep(60)'
    )
    with subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'a')], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            seen = look_at(process.pid, time.monotonic())
            assert len(family(process.pid)) == 2 and seen.children == 1
            assert 60 < seen.memory_mb < 90 and 10 <= seen.open_files <= 20 and seen.threads == 2
            with Sampler(process.pid, 0.02) as sampler:
                time.sleep(0.3)
            assert len(sampler.samples) > 3
        finally:
            for pid in reversed(family(process.pid)):
                os.kill(pid, 9)
    assert family(process.pid) == [] and look_at(process.pid, 0) is None


def test_a_picture_is_drawn(tmp_path):
    long_run.draw(samples([500] * 40), tmp_path / 'new' / 'a.png', 10)
    assert (tmp_path / 'new' / 'a.png').stat().st_size > 5000
