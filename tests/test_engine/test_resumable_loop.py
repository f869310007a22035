"""A run that is stopped and resumed takes the steps of one that is not."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from glipv2_mmdet.datasets import ReplaceFailedSamples

STEPS, STOP = 9, 4


class Numbers(Dataset):
    """Samples (index, a random number); the shape of every third is upright."""

    cumulative_sizes = [20, 50]
    loaded = 0

    def __len__(self):
        return 50

    def full_init(self):
        pass

    def get_data_info(self, index):
        return dict(width=10, height=20 if index % 3 else 5)

    def __getitem__(self, index):
        Numbers.loaded += 1
        return dict(batch=torch.tensor([float(index), float(np.random.rand())]))


class Model(BaseModel):
    """Remembers what it sees, dropout included."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, batch, mode):
        self.seen.append((batch.tolist(), float(torch.rand(()))))
        return dict(loss=self.weight * 0)


def run(folder, max_iters, resume=False, loop='ResumableTrainLoop', **loader):
    model = Model()
    runner = Runner(
        model=model,
        work_dir=str(folder),
        default_scope='mmdet',
        resume=resume,
        train_dataloader=dict(
            batch_size=3,
            num_workers=0,
            dataset=ReplaceFailedSamples(Numbers()),
            collate_fn=dict(type='default_collate'),
            **{'sampler': dict(type='MixedSampler', ratios=[1, 1]), **loader},
        ),
        train_cfg=dict(type=loop, max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=max_iters),
            logger=None,
            runtime_info=None,
            timer=None,
        ),
        randomness=dict(seed=5),
        log_level='ERROR',
        experiment_name=f'{folder.name}{max_iters}',
    )
    runner.train()
    return model.seen


@pytest.mark.parametrize('batches', [None, 'AspectRatioBatchSampler'])
def test_a_resumed_run_sees_the_same_data_and_draws_the_same_numbers(tmp_path, batches):
    loader = dict(batch_sampler=dict(type=batches)) if batches else {}
    whole = run(tmp_path / 'whole', STEPS, **loader)
    first = run(tmp_path / 'stopped', STOP, **loader)
    Numbers.loaded = 0
    rest = run(tmp_path / 'stopped', STEPS, resume=True, **loader)
    assert len(whole) == STEPS and len(rest) == STEPS - STOP
    assert first + rest == whole
    assert Numbers.loaded == 3 * (STEPS - STOP)  # nothing is loaded to be thrown away


def test_a_sampler_that_cannot_go_to_a_place_is_named(tmp_path):
    sampler = dict(sampler=dict(type='InfiniteSampler'))
    run(tmp_path / 'a', STOP, **sampler)
    with pytest.raises(TypeError, match='InfiniteSampler cannot be told where to go on at step 4'):
        run(tmp_path / 'a', STEPS, resume=True, **sampler)
