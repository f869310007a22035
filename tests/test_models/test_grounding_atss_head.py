"""GroundingATSSHead: logits by their formula, losses in the empty cases, errors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from glipv2_mmdet.models.dense_heads import GroundingATSSHead, grounding_atss_head
from glipv2_mmdet.models.layers.levels import join_levels
from glipv2_mmdet.structures import FusedFeatures, GroundingTargets
from tests.reference.losses import plain_focal
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, fused_features

BOXES = [
    torch.tensor([[4.0, 6.0, 60.0, 58.0], [30.0, 8.0, 70.0, 62.0]]),
    torch.tensor([[10.0, 10.0, 40.0, 30.0]]),
]
MAPS = [
    torch.tensor([[False, True, False, False, True, False], [False, False, True, False, False, False]]),
    torch.tensor([[False, True, True, False, False, False]]),
]


@pytest.fixture
def head() -> GroundingATSSHead:
    torch.manual_seed(0)
    head = GroundingATSSHead(channels=CHANNELS, text_channels=TEXT_CHANNELS)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return head


def loss_of(head, fused, boxes, maps) -> dict[str, torch.Tensor]:
    """Forward, assignment and losses, as the detector does them."""
    outputs = head(fused)
    return head.loss(outputs, head.assign(outputs, boxes, maps), fused.text.padding_aware_mask)


def test_logits_equal_the_formula_pair_by_pair(head):
    fused = fused_features()
    outputs = head(fused)
    regions = join_levels(fused.levels)
    assert outputs.word_logits.shape == (2, regions.shape[1], 6)
    for image, anchor, word in ((0, 0, 0), (1, 50, 3), (0, 100, 5)):
        unit = fused.words[image, word] / fused.words[image, word].norm()
        projected = head.text_projection.weight @ (unit / 2) + head.text_projection.bias
        expected = regions[image, anchor] @ projected / head.log_scale.exp() + unit @ head.bias_lang + head.bias0
        assert float(outputs.word_logits[image, anchor, word]) == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_levels_are_joined_fine_to_coarse_and_scaled(head):
    fused = fused_features()
    outputs = head(fused)
    assert outputs.level_shapes == ((8, 9), (4, 5), (2, 3), (1, 2), (1, 1))
    with torch.no_grad():
        head.scales[1].scale.fill_(2.0)
        level = fused.levels[1]
        box = F.conv2d(level, head.box.weight, head.box.bias)
        # row 2, column 3 of the second level
        torch.testing.assert_close(head(fused).box_deltas[:, 72 + 13], 2 * box[:, :, 2, 3])
        centerness = F.conv2d(level, head.centerness.weight, head.centerness.bias)
        torch.testing.assert_close(outputs.centerness[:, 72 + 13], centerness[:, 0, 2, 3])


def test_permuting_words_permutes_logits_and_nothing_else(head):
    fused = fused_features((6, 6))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    one, other = head(fused), head(replace(fused, words=fused.words[:, order]))
    torch.testing.assert_close(other.word_logits, one.word_logits[..., order])
    assert torch.equal(other.box_deltas, one.box_deltas) and torch.equal(other.centerness, one.centerness)


def test_start_score_is_the_prior():
    head = GroundingATSSHead(channels=CHANNELS, text_channels=TEXT_CHANNELS, prior_prob=0.02)
    assert float(head.bias0.sigmoid()) == pytest.approx(0.02)


def test_anchors_are_squares_of_eight_strides_around_their_positions(head):
    anchors = head.anchors(head(fused_features()))
    assert anchors.shape == (72 + 20 + 6 + 2 + 1, 4)
    assert anchors[0].tolist() == [4 - 32, 4 - 32, 4 + 32, 4 + 32]
    # row 1, column 2 of the second level, stride 16
    assert anchors[72 + 7].tolist() == [40 - 64, 24 - 64, 40 + 64, 24 + 64]


def test_padding_words_change_no_loss(head):
    fused = fused_features((6, 4))
    losses = loss_of(head, fused, BOXES, MAPS)
    wild = fused.words.masked_fill(~fused.text.mask.unsqueeze(-1), -5.0)
    for name, value in loss_of(head, replace(fused, words=wild), BOXES, MAPS).items():
        assert float(value) == pytest.approx(float(losses[name]), rel=1e-6)


def test_batch_loss_is_the_mix_of_the_single_losses(head):
    fused = fused_features((6, 6))
    both = loss_of(head, fused, BOXES, MAPS)
    singles, counts = [], []
    for i in range(2):
        one = FusedFeatures(
            levels=tuple(level[i : i + 1] for level in fused.levels),
            text=fused.text.select([i]),
            words=fused.words[i : i + 1],
        )
        singles.append(loss_of(head, one, BOXES[i : i + 1], MAPS[i : i + 1]))
        counts.append(len(head.assign(head(one), BOXES[i : i + 1], MAPS[i : i + 1]).positive))
    for name in ('loss_cls', 'loss_centerness'):
        expected = sum(float(single[name]) * count for single, count in zip(singles, counts, strict=True)) / sum(counts)
        assert float(both[name]) == pytest.approx(expected, rel=1e-4)


def test_no_boxes_at_all_trains_words_only(head):
    losses = loss_of(head, fused_features(), [torch.zeros(0, 4)] * 2, [torch.zeros(0, 6, dtype=torch.bool)] * 2)
    assert math.isfinite(losses['loss_cls'].item()) and losses['loss_cls'] > 0
    assert float(losses['loss_bbox']) == 0 and float(losses['loss_centerness']) == 0
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        # a missing gradient would leave the other ranks of a distributed run waiting
        assert parameter.grad is not None, name
        if name.split('.')[0] in ('box', 'centerness', 'scales'):
            assert parameter.grad.abs().max() == 0, name
        else:
            assert parameter.grad.abs().max() > 0, name


def test_an_image_without_boxes_counts_as_one_positive(head):
    fused = fused_features((6, 4))
    losses = loss_of(head, fused, [torch.zeros(0, 4)] * 2, [torch.zeros(0, 6, dtype=torch.bool)] * 2)
    logits = head(fused).word_logits
    total = sum(
        plain_focal(value, 0)
        for image, length in enumerate((6, 4))
        for value in logits[image, :, :length].flatten().tolist()
    )
    assert float(losses['loss_cls']) == pytest.approx(total / 2, rel=1e-4)


def test_a_box_without_words_lowers_the_average_but_trains_no_box(head):
    fused = fused_features((6, 6))
    targets = head.assign(head(fused), BOXES, MAPS)
    wordless = [torch.zeros_like(MAPS[0]), MAPS[1]]
    changed = head.assign(head(fused), BOXES, wordless)
    assert changed.num_assigned == targets.num_assigned
    assert len(changed.positive) == targets.num_assigned[1]
    losses = loss_of(head, fused, BOXES, wordless)
    only_second = loss_of(head, fused, [torch.zeros(0, 4), BOXES[1]], [torch.zeros(0, 6, dtype=torch.bool), MAPS[1]])
    assert float(losses['loss_bbox']) == pytest.approx(float(only_second['loss_bbox']), rel=1e-5)
    # the same words are right, the divisor is larger
    divisors = [
        sum(max(count, 1) for count in counts) for counts in (targets.num_assigned, (0, targets.num_assigned[1]))
    ]
    assert float(losses['loss_cls']) * divisors[0] == pytest.approx(
        float(only_second['loss_cls']) * divisors[1], rel=1e-4
    )


def test_number_of_positives_is_averaged_over_ranks(head, monkeypatch):
    fused = fused_features()
    alone = loss_of(head, fused, BOXES, MAPS)
    monkeypatch.setattr(grounding_atss_head, 'mean_over_ranks', lambda value: value * 4)
    together = loss_of(head, fused, BOXES, MAPS)
    assert float(together['loss_cls']) == pytest.approx(float(alone['loss_cls']) / 4, rel=1e-5)
    assert float(together['loss_centerness']) == pytest.approx(float(alone['loss_centerness']) / 4, rel=1e-5)
    assert float(together['loss_bbox']) == pytest.approx(float(alone['loss_bbox']), rel=1e-6)


def test_perfect_boxes_cost_nothing(head):
    """Deltas encoded from the target decode back to it: both frames of the anchors fit."""
    fused = fused_features()
    outputs = head(fused)
    targets: GroundingTargets = head.assign(outputs, BOXES, MAPS)
    anchors = head.anchors(outputs)[targets.positive % len(head.anchors(outputs))]
    # decoding centres anchors half a pixel up and left and makes boxes one pixel smaller than their size
    centers, sizes = (anchors[:, :2] + anchors[:, 2:] - 1) / 2, anchors[:, 2:] - anchors[:, :2]
    box_centers = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
    box_sizes = targets.boxes[:, 2:] - targets.boxes[:, :2] + 1
    deltas = torch.cat(((box_centers - centers) / sizes / 0.1, (box_sizes / sizes).log() / 0.2), dim=1)
    box_deltas = outputs.box_deltas.detach().clone()
    box_deltas.view(-1, 4)[targets.positive] = deltas
    losses = head.loss(replace(outputs, box_deltas=box_deltas), targets, None)
    assert float(losses['loss_bbox']) == pytest.approx(0, abs=1e-5)


def test_wrong_number_of_levels_is_named(head):
    fused = fused_features(num_levels=3)
    with pytest.raises(ValueError, match='gives 3 levels, the anchor generator of the head has 5'):
        head(fused)


def test_mixed_precision_stays_close(head):
    fused = fused_features()
    with torch.no_grad():
        exact = head(fused)
        with torch.autocast('cpu', torch.bfloat16):
            mixed = head(fused)
            losses = loss_of(head, fused, BOXES, MAPS)
    assert (mixed.word_logits.float() - exact.word_logits).abs().max() < 0.05 * exact.word_logits.abs().max()
    assert all(math.isfinite(value.item()) for value in losses.values())
