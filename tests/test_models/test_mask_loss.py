"""MaskLoss: numbers by hand, no boxes, and counting over ranks."""

from __future__ import annotations

import math

import pytest
import torch

from glipv2_mmdet.models.losses import MaskLoss, mask_loss


def test_loss_is_the_mean_cross_entropy_of_all_pixels():
    logits = torch.tensor([[[0.0, 2.0], [-1.0, 0.0]]])
    targets = torch.tensor([[[1, 1], [0, 0]]])
    by_hand = (math.log(2) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(2)) / 4
    assert float(MaskLoss()(logits, targets)) == pytest.approx(by_hand)
    assert float(MaskLoss(loss_weight=3.0)(logits, targets)) == pytest.approx(3 * by_hand)


def test_no_boxes_give_an_exact_zero_with_a_gradient():
    logits = torch.zeros(0, 28, 28, requires_grad=True)
    loss = MaskLoss()(logits, torch.zeros(0, 28, 28))
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, 28, 28)


def test_boxes_are_counted_over_all_ranks(monkeypatch):
    """Two ranks with 3 and 1 boxes: the mean of their losses is the loss of one rank with all 4."""
    torch.manual_seed(0)
    logits, targets = torch.randn(4, 6, 6), torch.rand(4, 6, 6).round()
    together = MaskLoss()(logits, targets)
    monkeypatch.setattr(mask_loss, 'mean_over_ranks', lambda value: torch.tensor(2.0))
    parts = [MaskLoss()(logits[part], targets[part]) for part in (slice(0, 3), slice(3, 4))]
    assert float(sum(parts) / 2) == pytest.approx(float(together), rel=1e-6)


def test_half_precision_logits_are_summed_in_full():
    assert MaskLoss()(torch.zeros(1, 4, 4, dtype=torch.float16), torch.ones(1, 4, 4)).dtype == torch.float32
