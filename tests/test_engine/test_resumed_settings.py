"""Settings that change between a checkpoint and the run that goes on from it."""

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR

from glipv2_mmdet.engine.resumed_settings import apply_changed_settings, changed_run, settings_of_groups

RUN = dict(processes=1, batch_size=4, accumulated=1, schedule='null')


def make(lr, weight_decay=0.1):
    """An optimizer of two groups, the second at a tenth, with warm-up, drop and annealing."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW(
        [dict(params=[weights[0]]), dict(params=[weights[1]], lr=lr / 10)], lr=lr, weight_decay=weight_decay
    )
    schedulers = [
        LinearLR(optimizer, start_factor=0.5, by_epoch=False, begin=0, end=4),
        MultiStepLR(optimizer, milestones=[6], by_epoch=False),
        CosineAnnealingLR(optimizer, by_epoch=False, begin=7, end=12, T_max=5),
    ]
    return optimizer, schedulers


def steps(optimizer, schedulers, number):
    """Learning rates of both groups at each step."""
    rates = []
    for _ in range(number):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize('stop', [2, 5, 9])
def test_a_changed_learning_rate_follows_the_schedule_of_a_run_that_had_it_from_the_start(stop):
    whole = steps(*make(0.02), 12)
    optimizer, schedulers = make(0.1)
    steps(optimizer, schedulers, stop)
    resumed, again = make(0.02)
    wanted = settings_of_groups(resumed)
    resumed.load_state_dict(optimizer.state_dict())
    for scheduler, state in zip(again, schedulers, strict=True):
        scheduler.load_state_dict(state.state_dict())
    changes = apply_changed_settings(resumed, again, wanted)
    assert changes == ['lr 0.1 before, 0.02 now', 'lr 0.01 before, 0.002 now']
    torch.testing.assert_close(torch.tensor(steps(resumed, again, 12 - stop)), torch.tensor(whole[stop:]))


def test_a_changed_decay_is_applied_and_nothing_else_moves():
    optimizer, schedulers = make(0.1)
    steps(optimizer, schedulers, 3)
    rates = [group['lr'] for group in optimizer.param_groups]
    wanted = settings_of_groups(make(0.1, weight_decay=0.3)[0])
    assert apply_changed_settings(optimizer, schedulers, wanted) == ['weight_decay 0.1 before, 0.3 now']
    assert [group['weight_decay'] for group in optimizer.param_groups] == [0.3, 0.3]
    assert [group['lr'] for group in optimizer.param_groups] == rates
    assert apply_changed_settings(optimizer, schedulers, wanted) == []


def test_without_a_schedule_the_rate_itself_is_replaced():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    wanted = settings_of_groups(torch.optim.SGD([weight], lr=0.125))
    assert apply_changed_settings(optimizer, [], wanted) == ['lr 0.5 before, 0.125 now']
    assert optimizer.param_groups[0]['lr'] == 0.125


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(processes=2),
            '1 process of 4 images (4 images per step), this run has 2 processes of 4 images (8 images',
        ),
        (dict(batch_size=2), 'this run has 1 process of 2 images (2 images per step)'),
        (dict(accumulated=3), 'this run has 1 process of 4 images, 3 batches per step (12 images per step)'),
        (dict(schedule='[{"gamma": 0.1}]'), 'param_scheduler was null, the config has [{"gamma": 0.1}]'),
    ],
)
def test_what_cannot_be_applied_is_named(change, message):
    (told,) = changed_run(RUN, {**RUN, **change})
    assert message in told


def test_an_equal_run_says_nothing():
    assert changed_run(RUN, dict(RUN)) == []
