"""A run of a model of three weights, whose losses the batches decide; also ``python -m`` as one rank of two."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from glipv2_mmdet.engine import NonFiniteError, StopOnNonFiniteHook

NUM_STEPS, BAD_STEP = 6, 4


class BadGradient(torch.autograd.Function):
    """The value of its input, and a gradient that is infinite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float('inf')


class Batches(Dataset):
    """One sample per step; ``kinds`` says which steps are bad, and how."""

    def __init__(self, kinds: dict[int, str]):
        self.kinds = kinds

    def __len__(self):
        return NUM_STEPS

    def __getitem__(self, index):
        sample = DetDataSample(
            metainfo=dict(
                img_id=100 + index,
                img_path=f'photos/{index}.jpg',
                text=('cat', 'red car'),
                kind=self.kinds.get(index, ''),
            )
        )
        return dict(inputs=torch.full((3, 2, 2), index + 1.0), data_samples=sample)


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        self.seen = []

    def forward(self, inputs, data_samples, mode):
        self.seen.append((data_samples[0].img_id, self.weight.detach().clone()))
        fit = ((self.weight * inputs[0].mean() - 1) ** 2).mean() + torch.rand(()) * self.weight.sum()
        other = self.weight.abs().sum()
        kind = data_samples[0].kind
        if kind == 'nan':
            other = other * float('nan')
        elif kind == 'inf':  # its gradient is finite
            other = other + float('inf')
        elif kind == 'gradient':
            other = BadGradient.apply(other)
        return dict(loss_fit=fit, loss_list=[other, other], accuracy=fit.detach())


def run(
    folder,
    kinds,
    hook=True,
    loop='IterBasedTrainLoop',
    wrapper='OptimWrapper',
    steps=NUM_STEPS,
    launcher='none',
    model_wrapper_cfg=None,
    **settings,
):
    """Train with these ``settings`` of the optimizer's wrapper; gives the model and the error, if there was one."""
    model = Model()
    by_epoch = loop == 'EpochBasedTrainLoop'
    hooks = [hook if isinstance(hook, StopOnNonFiniteHook) else StopOnNonFiniteHook()] if hook else []
    sampler = (
        dict(type='MixedSampler', ratios=[1])
        if loop == 'ResumableTrainLoop'
        else dict(type='DefaultSampler', shuffle=False)
    )
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(
            batch_size=1, num_workers=0, dataset=Batches(kinds), sampler=sampler, collate_fn=dict(type='pseudo_collate')
        ),
        train_cfg=dict(type=loop, max_epochs=1) if by_epoch else dict(type=loop, max_iters=steps),
        optim_wrapper=dict(type=wrapper, optimizer=dict(type='AdamW', lr=0.1), **settings),
        launcher=launcher,
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        cfg=dict(model_wrapper_cfg=model_wrapper_cfg) if model_wrapper_cfg else None,
        default_hooks=dict(logger=None, checkpoint=None, timer=None),
        custom_hooks=hooks,
        log_level='ERROR',
        default_scope='mmdet',
        randomness=dict(seed=5),
        experiment_name=f'{Path(folder).name}_{loop}_{id(model)}',
    )
    try:
        runner.train()
    except NonFiniteError as error:
        return model, str(error)
    return model, None


def main() -> None:
    """One rank: ``FOLDER KIND ...``; image 5, which is the third of rank 1, is bad in a way after the other."""
    folder, kinds = Path(sys.argv[1]), sys.argv[2:]
    register_all_modules(init_default_scope=True)
    os.environ.update(LOCAL_RANK=os.environ['RANK'])
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=int(os.environ['RANK']), world_size=2, timeout=timedelta(seconds=60)
    )
    results = {}
    for kind in kinds:
        model, error = run(
            folder / kind,
            {5: kind},
            launcher='pytorch',
            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
        )
        results[kind] = dict(error=error, weight=model.weight.detach(), seen=model.seen)
    torch.save(results, folder / f'rank{get_rank()}.pt')
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
