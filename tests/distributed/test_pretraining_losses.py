"""Two processes with two images each compute what one process with four computes: all losses, all gradients."""

import pytest
import torch

from tests.distributed.batches import batches, detector, images

pytestmark = pytest.mark.distributed
#: A key bias moves all scores of a row alike, so its gradient is rounding; below this part of the total norm only the
#: absolute difference counts.
NOISE = 1e-6


@pytest.fixture(scope='module', params=list(batches()))
def runs(request, both_ranks):
    """Both ranks' results of a batch, and the losses and gradients of one process."""
    model = detector()
    losses = model.loss(images(), batches()[request.param])
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return [rank['steps'][request.param] for rank in both_ranks], losses, gradients


def test_losses_are_those_of_one_process(runs):
    ranks, losses, _ = runs
    for rank in ranks:
        assert set(rank['losses']) == set(losses) > {'loss_inter', 'loss_mlm'}
        total, expected = sum(rank['losses'].values()), sum(losses.values())
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)
        for name, loss in losses.items():
            assert rank['losses'][name].item() == pytest.approx(loss.item(), rel=1e-5), name
    assert losses['loss_inter'] > 0.1 and losses['loss_mlm'] > 0.1


def test_gradients_are_those_of_one_process(runs):
    ranks, _, gradients = runs
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for rank in ranks:
        assert set(rank['gradients']) == set(gradients)
        wrong = {}
        for name, expected in gradients.items():
            scale = max(expected.abs().max(), NOISE * norm)
            error = ((rank['gradients'][name] - expected).abs().max() / scale).item()
            # not "error > tolerance": a NaN must be listed too
            if not error <= 1e-4:
                wrong[name] = error
        assert wrong == {}
