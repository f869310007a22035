"""L_intra by the formula, and what padding costs."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models.losses import RegionWordFocalLoss
from tests.reference.losses import plain_focal

LOGITS = torch.tensor([[[2.0, -1.0, 0.5], [0.0, -3.0, 1.0]]])
TARGETS = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]])


def by_formula(alpha: float = 0.25, gamma: float = 2.0, num_words: int = 3) -> float:
    return sum(
        plain_focal(float(LOGITS[0, a, t]), int(TARGETS[0, a, t]), alpha, gamma)
        for a in range(2)
        for t in range(num_words)
    )


@pytest.mark.parametrize('alpha, gamma', [(0.25, 2.0), (0.6, 1.5)])
def test_equals_the_formula(alpha, gamma):
    loss = RegionWordFocalLoss(alpha, gamma)(LOGITS, TARGETS, None, torch.tensor(4.0))
    assert float(loss) == pytest.approx(by_formula(alpha, gamma) / 4, rel=1e-5)


def test_one_pair_on_paper():
    """Probability one half: 0.25 * 0.25 * ln 2 for a positive, 0.75 * 0.25 * ln 2 for a negative."""
    zero, count = torch.zeros(1, 1, 1), torch.tensor(1.0)
    loss = RegionWordFocalLoss()
    assert float(loss(zero, torch.ones(1, 1, 1), None, count)) == pytest.approx(0.0433217, abs=1e-6)
    assert float(loss(zero, zero, None, count)) == pytest.approx(0.1299651, abs=1e-6)


def test_padding_costs_nothing_and_gets_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    mask = torch.tensor([[True, True, False]])
    loss = RegionWordFocalLoss()(logits, TARGETS, mask, torch.tensor(1.0))
    assert float(loss) == pytest.approx(by_formula(num_words=2), rel=1e-5)
    loss.backward()
    assert logits.grad[:, :, 2].abs().max() == 0
    assert logits.grad[:, :, :2].abs().min() > 0


def test_loss_weight_is_a_factor():
    count = torch.tensor(1.0)
    assert float(RegionWordFocalLoss(loss_weight=3.0)(LOGITS, TARGETS, None, count)) == pytest.approx(
        3 * by_formula(), rel=1e-5
    )


def test_half_precision_logits_are_summed_in_full_precision():
    logits = torch.full((1, 5000, 4), -4.0, dtype=torch.float16)
    loss = RegionWordFocalLoss()(logits, torch.zeros(1, 5000, 4), None, torch.tensor(1.0))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(20000 * plain_focal(-4.0, 0), rel=1e-4)
