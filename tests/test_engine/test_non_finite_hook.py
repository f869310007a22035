"""A loss or gradient that is not finite never reaches the weights, in any loop, and is told and saved."""

from functools import partial

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch.utils._python_dispatch import TorchDispatchMode

from glipv2_mmdet.engine import NonFiniteError, StopOnNonFiniteHook
from glipv2_mmdet.engine.stopped_step import load_step
from tests.distributed.ranks import run_ranks
from tests.test_configs.reading import CONFIGS
from tests.test_engine.tiny_run import BAD_STEP, NUM_STEPS, run

CLIPS = dict(
    norm=dict(clip_grad=dict(max_norm=1.0)), value=dict(clip_grad=dict(type='value', clip_value=0.5)), none=dict()
)
CLIP = CLIPS['norm']


@pytest.mark.parametrize('kind', ['nan', 'inf', 'gradient'])
@pytest.mark.parametrize(
    ('loop', 'clip'),
    [
        ('IterBasedTrainLoop', 'norm'),
        ('IterBasedTrainLoop', 'value'),
        ('IterBasedTrainLoop', 'none'),
        ('EpochBasedTrainLoop', 'norm'),
        ('ResumableTrainLoop', 'norm'),
    ],
)
def test_training_stops_before_the_weights_change(tmp_path, loop, clip, kind):
    model, error = run(tmp_path, {BAD_STEP: kind}, loop=loop, **CLIPS[clip])
    bad, weights = model.seen[-1]
    step = len(model.seen)  # ResumableTrainLoop has an order of its own
    assert bad == 100 + BAD_STEP and (step == BAD_STEP + 1 or loop == 'ResumableTrainLoop')
    assert torch.equal(model.weight, weights) and not torch.equal(weights, model.seen[-2][1])
    assert f'Step {step}, rank 0 of 1: ' in error and 'stopped before the weights changed' in error
    assert f'image {100 + BAD_STEP}, "photos/{BAD_STEP}.jpg", prompt "cat. red car"' in error
    (file,) = (tmp_path / 'non_finite').iterdir()
    assert file.name == f'iter_{step}_rank_0.pth' and f'tools/replay_batch.py {file}' in error
    if kind == 'gradient':
        assert 'all losses are finite, but the gradient is not' in error
    else:
        assert f'loss_list is {kind} (finite: loss_fit ' in error


@pytest.mark.parametrize('clip', CLIPS)
def test_a_finite_run_is_the_same_with_and_without_the_check(tmp_path, clip):
    watched, error = run(tmp_path / 'a', {}, **CLIPS[clip])
    plain, _ = run(tmp_path / 'b', {}, hook=False, **CLIPS[clip])
    assert error is None and len(watched.seen) == NUM_STEPS
    assert torch.equal(watched.weight, plain.weight)
    assert not (tmp_path / 'a/non_finite').exists()


def test_without_the_check_the_weights_are_lost(tmp_path):
    model, _ = run(tmp_path, {BAD_STEP: 'nan'}, hook=False, **CLIP)
    assert model.weight.isnan().all()


class HostReads(TorchDispatchMode):
    """Counts how often the host asks for a number of a tensor, for which it would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(('clip', 'more'), [('norm', 0), ('none', 1)])
def test_the_host_waits_no_more_often_than_for_clipping_the_norm(tmp_path, clip, more):
    counts = []
    for hook in (True, False):
        with HostReads() as reads:
            run(tmp_path / str(hook), {}, hook=hook, **CLIPS[clip])
        counts.append(reads.count)
    assert counts[1] > 0 and counts[0] - counts[1] == more * NUM_STEPS


@pytest.mark.parametrize('kind', ['nan', 'gradient'])
def test_accumulated_steps_stop_as_a_whole(tmp_path, kind):
    """Batches 4 and 5 make a step; 4 is bad, 5 is not. A bad loss is told of its own batch, a gradient of both."""
    model, error = run(tmp_path, {4: kind}, accumulative_counts=2, **CLIP)
    assert torch.equal(model.weight, model.seen[4][1]) and torch.equal(model.seen[4][1], model.seen[5][1])
    assert 'image 104' in error and 'Step 6,' in error
    (file,) = (tmp_path / 'non_finite').iterdir()
    saved = [batch.batch['data_samples'][0].img_id for batch in load_step(file).batches]
    assert saved == ([104] if kind == 'nan' else [104, 105])


@pytest.fixture
def loss_scaling(monkeypatch):
    """mmengine's wrapper for mixed precision, on the CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))


@pytest.mark.parametrize('clip', CLIPS)
def test_loss_scaling_leaves_out_a_step_that_overflows_and_goes_on(tmp_path, loss_scaling, clip):
    model, error = run(tmp_path, {2: 'gradient'}, wrapper='AmpOptimWrapper', dtype='bfloat16', **CLIPS[clip])
    assert error is None and len(model.seen) == NUM_STEPS
    assert torch.equal(model.seen[2][1], model.seen[3][1]) and model.weight.isfinite().all()


def test_loss_scaling_does_not_leave_out_steps_for_ever(tmp_path, loss_scaling):
    hook = StopOnNonFiniteHook(max_skips=3)
    model, error = run(
        tmp_path,
        dict.fromkeys((0, 2, 3, 4, 5), 'gradient'),
        hook=hook,
        wrapper='AmpOptimWrapper',
        dtype='bfloat16',
        **CLIP,
    )
    assert len(model.seen) == 5 and 'overflowed in 3 steps in a row' in error


def test_loss_scaling_does_not_leave_out_a_loss_that_is_not_finite(tmp_path, loss_scaling):
    model, error = run(tmp_path, {2: 'nan'}, wrapper='AmpOptimWrapper', dtype='bfloat16', **CLIP)
    assert len(model.seen) == 3 and 'loss_list is nan' in error
    (file,) = (tmp_path / 'non_finite').iterdir()
    assert load_step(file).batches[0].autocast == 'bfloat16'


def test_a_file_that_cannot_be_written_does_not_hide_the_cause(tmp_path):
    (tmp_path / 'non_finite').write_text('in the way')
    _, error = run(tmp_path, {0: 'nan'}, **CLIP)
    assert 'loss_list is nan' in error and 'could not be saved to' in error


def test_a_few_files_are_kept(tmp_path):
    for step in range(4):
        run(tmp_path, {step: 'nan'}, hook=StopOnNonFiniteHook(max_files=2), **CLIP)
    assert sorted(file.name for file in (tmp_path / 'non_finite').iterdir()) == [
        'iter_3_rank_0.pth',
        'iter_4_rank_0.pth',
    ]


def test_numbers_that_would_turn_it_off_are_refused():
    with pytest.raises(ValueError, match='max_files of StopOnNonFiniteHook is 0'):
        StopOnNonFiniteHook(max_files=0)
    assert issubclass(NonFiniteError, FloatingPointError)


def test_it_is_on_in_every_config():
    assert "non_finite=dict(type='StopOnNonFiniteHook')" in (CONFIGS / '_base_/runtime.py').read_text()
    for config in CONFIGS.rglob('*.py'):
        assert 'non_finite=None' not in config.read_text()


@pytest.mark.distributed
@pytest.mark.slow
def test_both_ranks_stop_and_the_guilty_one_tells(tmp_path):
    """An infinite sum with finite gradients is the case in which a rank would wait for ever."""
    run_ranks(['-m', 'tests.test_engine.tiny_run', str(tmp_path), 'inf', 'gradient'], tmp_path)
    ranks = [torch.load(tmp_path / f'rank{rank}.pt') for rank in range(2)]
    for rank in ranks:
        for kind in ('inf', 'gradient'):
            seen = rank[kind]['seen']
            assert len(seen) == 3 and torch.equal(rank[kind]['weight'], seen[-1][1])
    errors = [rank['inf']['error'] for rank in ranks]
    assert 'rank 1 of 2: loss_list is inf' in errors[1] and 'image 105' in errors[1]
    assert 'finite, those of rank 1 are not' in errors[0] and 'replay_batch' not in errors[0]
    assert [file.name for file in (tmp_path / 'inf/non_finite').iterdir()] == ['iter_3_rank_1.pth']
    assert all('all losses are finite, but the gradient is not' in rank['gradient']['error'] for rank in ranks)
    assert sorted(file.name for file in (tmp_path / 'gradient/non_finite').iterdir()) == [
        'iter_3_rank_0.pth',
        'iter_3_rank_1.pth',
    ]
