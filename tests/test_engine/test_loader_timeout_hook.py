"""A loader that delivers nothing ends the run, and the run goes on from its checkpoint."""

import os
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from glipv2_mmdet.engine import LoaderTimeoutHook
from glipv2_mmdet.engine.ended_runs import RunEndedError, explain_end

ROOT = Path(__file__).resolve().parents[2]


class Numbers(Dataset):
    """Numbers, one of which never comes as long as a file is there."""

    metainfo = dict(classes=('one',))

    def __init__(self, stuck_at, flag):
        self.stuck_at, self.flag = stuck_at, flag

    def __len__(self):
        return 8

    def __getitem__(self, index):
        while index == self.stuck_at and self.flag.exists():
            time.sleep(0.1)
        return dict(batch=torch.tensor([float(index)]))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, batch, mode='tensor'):
        output = self.layer(batch)
        return dict(loss=output.square().mean()) if mode == 'loss' else [output]


class Nothing(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(zero=0)


def make(folder, flag, stuck_at, val_stuck_at=None, resume=False, epochs=False, hook=None, **loader):
    settings = dict(
        batch_size=1,
        num_workers=1,
        collate_fn=dict(type='default_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    return Runner(
        Model(),
        str(folder),
        train_dataloader={**settings, 'persistent_workers': True, 'dataset': Numbers(stuck_at, flag), **loader},
        train_cfg=dict(by_epoch=True, max_epochs=1) if epochs else dict(by_epoch=False, max_iters=8, val_interval=8),
        val_dataloader=dict(settings, dataset=Numbers(val_stuck_at, flag)),
        val_cfg=dict(),
        val_evaluator=Evaluator(Nothing(prefix='n')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        default_hooks=dict(
            logger=None,
            timer=None,
            checkpoint=dict(type='DurableCheckpointHook', by_epoch=False, interval=2),
        ),
        custom_hooks=[hook or LoaderTimeoutHook(seconds=3)],
        resume=resume,
        log_level='ERROR',
        default_scope='mmdet',
        experiment_name=f'{folder.name}{os.urandom(4).hex()}',
        cfg=Config(dict()),
    )


@pytest.mark.parametrize('epochs', [False, True])
def test_a_training_whose_loader_delivers_nothing_ends_and_goes_on(tmp_path, epochs):
    flag = tmp_path / 'stuck'
    flag.touch()
    folder = tmp_path / 'run'
    runner = make(folder, flag, stuck_at=5, epochs=epochs)
    with (
        pytest.raises(
            RunEndedError,
            match=r'No batch came from the processes that load data .DataLoader timed out after 3 seconds.*'
            r'last checkpoint is .*iter_4\.pth\. To go on from it, give the same command with --resume',
        ),
        explain_end(folder),
    ):
        runner.train()
    flag.unlink()
    if not epochs:  # mmengine's epoch loop starts an epoch anew
        resumed = make(folder, flag, stuck_at=5, resume=True)
        resumed.train()
        assert resumed.iter == 8


def test_a_validation_ends_as_well(tmp_path):
    flag = tmp_path / 'stuck'
    flag.touch()
    runner = make(tmp_path / 'run', flag, stuck_at=None, val_stuck_at=2)
    with pytest.raises(RunEndedError, match=r'iter_8\.pth'), explain_end(tmp_path / 'run'):
        runner.train()
    flag.unlink()


def test_a_time_out_of_the_config_stays_and_no_processes_need_none(tmp_path):
    runner = make(tmp_path / 'run', tmp_path / 'none', stuck_at=None, timeout=50)
    runner.train()
    assert runner.train_dataloader.timeout == 50 and runner.val_dataloader.timeout == 3
    alone = make(tmp_path / 'alone', tmp_path / 'none', stuck_at=None, num_workers=0, persistent_workers=False)
    alone.train()
    assert alone.train_dataloader.timeout == 0 and alone.iter == 8
    with pytest.raises(ValueError, match=r'seconds is -1\. Expected 0 .wait for ever. or more'):
        LoaderTimeoutHook(seconds=-1)


def test_every_recipe_has_it():
    hooks = Config.fromfile(ROOT / 'configs/_base_/runtime.py').default_hooks
    assert hooks.loader_timeout == dict(type='LoaderTimeoutHook', seconds=600)
