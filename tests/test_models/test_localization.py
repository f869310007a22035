"""L_loc by its formulas, its divisors, and the empty case."""

from __future__ import annotations

import math

import pytest
import torch

from glipv2_mmdet.models.losses import LocalizationLoss, centerness_target, localization
from tests.reference.losses import plain_centerness, plain_giou

ANCHORS = torch.tensor([[0.0, 0.0, 8.0, 8.0], [10.0, 0.0, 20.0, 10.0], [3.0, 3.0, 11.0, 9.0]])
TARGETS = torch.tensor([[0.0, 0.0, 8.0, 8.0], [12.0, 1.0, 28.0, 21.0], [6.0, 2.0, 10.0, 20.0]])
BOXES = torch.tensor([[1.0, 0.0, 8.0, 8.0], [12.0, 3.0, 24.0, 21.0], [30.0, 30.0, 40.0, 31.0]])
LOGITS = torch.tensor([0.3, -1.0, 2.0])


def test_centerness_on_paper():
    # in the middle: 1; 1/3 from the left, in the middle vertically: sqrt(1/2)
    anchors = torch.tensor([[3.0, 3.0, 5.0, 5.0], [1.0, 3.0, 3.0, 5.0]])
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 6.0, 8.0]])
    torch.testing.assert_close(centerness_target(anchors, boxes), torch.tensor([1.0, math.sqrt(0.5)]))


def test_centerness_equals_the_formula():
    expected = torch.tensor([plain_centerness(anchor, box) for anchor, box in zip(ANCHORS, TARGETS, strict=True)])
    torch.testing.assert_close(centerness_target(ANCHORS, TARGETS), expected)


def by_formula(total_centerness: float | None = None) -> tuple[float, float]:
    centerness = [plain_centerness(anchor, box) for anchor, box in zip(ANCHORS, TARGETS, strict=True)]
    box_term = sum(
        (1 - plain_giou(box, target)) * weight for box, target, weight in zip(BOXES, TARGETS, centerness, strict=True)
    )
    centerness_term = 0.0
    for logit, target in zip(LOGITS.tolist(), centerness, strict=True):
        prob = 1 / (1 + math.exp(-logit))
        centerness_term -= target * math.log(prob) + (1 - target) * math.log(1 - prob)
    return 2 * box_term / (total_centerness or sum(centerness)), centerness_term / 5


def test_both_terms_equal_the_formulas():
    loss_box, loss_centerness = LocalizationLoss()(BOXES, LOGITS, TARGETS, ANCHORS, torch.tensor(5.0))
    expected_box, expected_centerness = by_formula()
    assert float(loss_box) == pytest.approx(expected_box, rel=1e-5)
    assert float(loss_centerness) == pytest.approx(expected_centerness, rel=1e-5)


def test_weights_are_factors():
    loss_box, loss_centerness = LocalizationLoss(giou_weight=1.0, centerness_weight=3.0)(
        BOXES, LOGITS, TARGETS, ANCHORS, torch.tensor(5.0)
    )
    assert float(loss_box) == pytest.approx(by_formula()[0] / 2, rel=1e-5)
    assert float(loss_centerness) == pytest.approx(by_formula()[1] * 3, rel=1e-5)


def test_divisor_is_at_least_one():
    # the third anchor alone: a centerness of about 0.3
    total = plain_centerness(ANCHORS[2], TARGETS[2])
    assert total < 1
    loss_box, _ = LocalizationLoss()(BOXES[2:], LOGITS[2:], TARGETS[2:], ANCHORS[2:], torch.tensor(1.0))
    assert float(loss_box) == pytest.approx(2 * (1 - plain_giou(BOXES[2], TARGETS[2])) * total, rel=1e-5)


def test_divisor_is_averaged_over_ranks(monkeypatch):
    monkeypatch.setattr(localization, 'mean_over_ranks', lambda value: (value + 10) / 2)
    total = sum(plain_centerness(anchor, box) for anchor, box in zip(ANCHORS, TARGETS, strict=True))
    loss_box, _ = LocalizationLoss()(BOXES, LOGITS, TARGETS, ANCHORS, torch.tensor(5.0))
    assert float(loss_box) == pytest.approx(by_formula((total + 10) / 2)[0], rel=1e-5)


def test_no_positive_anchor_is_exactly_zero_and_still_joins_the_collective(monkeypatch):
    calls = []
    monkeypatch.setattr(localization, 'mean_over_ranks', lambda value: calls.append(value) or value)
    boxes = torch.zeros(0, 4, requires_grad=True)
    logits = torch.zeros(0, requires_grad=True)
    terms = LocalizationLoss()(boxes, logits, torch.zeros(0, 4), torch.zeros(0, 4), torch.tensor(1.0))
    assert [float(term) for term in terms] == [0.0, 0.0]
    assert len(calls) == 1
    sum(terms).backward()
    assert boxes.grad.shape == (0, 4) and logits.grad.shape == (0,)


def test_a_box_without_area_and_an_anchor_outside_have_no_centerness():
    anchors = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 8.0, 8.0], [50.0, 0.0, 60.0, 8.0]])
    boxes = torch.tensor([[5.0, 5.0, 5.0, 5.0], [4.0, 0.0, 4.0, 8.0], [0.0, 0.0, 8.0, 8.0]])
    assert centerness_target(anchors, boxes).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize('value', [0.0, 1e-30, 1e4, -1e4, 65504.0, 1e30, -1e30, float('inf')])
def test_boxes_of_any_size_have_a_finite_loss_and_gradient(value):
    boxes = BOXES.clone()
    boxes[0] = value
    boxes[1] += torch.tensor([-1.0, -1.0, 1.0, 1.0]) * abs(value)
    boxes.requires_grad_()
    loss, _ = LocalizationLoss()(boxes, LOGITS, TARGETS, ANCHORS, torch.tensor(1.0))
    loss.backward()
    assert 0 < float(loss.detach()) <= 4 * 2 * len(BOXES) and boxes.grad.isfinite().all()


def test_equal_boxes_cost_nothing_also_without_area():
    boxes = torch.cat((TARGETS[:2], torch.tensor([[5.0, 5.0, 5.0, 5.0]]))).requires_grad_()
    loss, _ = LocalizationLoss()(boxes, LOGITS, boxes.detach(), ANCHORS, torch.tensor(1.0))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5) and boxes.grad.isfinite().all()
