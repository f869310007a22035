"""What keeps scores, temperatures and masks inside their types; and that heads use it in float16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from glipv2_mmdet.models import CaptionHead, GroundingATSSHead, HourglassMaskHead, VQAHead
from glipv2_mmdet.models.layers import BiAttention, number_range
from glipv2_mmdet.models.layers.number_range import (
    MAX_SCORE,
    masked_scores,
    temperature,
    unit_length,
    warn_not_finite,
    within_half,
)
from glipv2_mmdet.structures import TextFeatures
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, fused_features, pyramid, text_features

HALF = dict(device_type='cpu', dtype=torch.float16)
MOST = float(torch.tensor(float(MAX_SCORE)).half())  # 49,984, the nearest that float16 has


def test_float16_is_limited_and_other_types_are_not_touched():
    scores = torch.tensor([-70000.0, 1.0, float('inf')])
    assert within_half(scores.half()).tolist() == [-MOST, 1, MOST]
    assert within_half(scores) is scores
    low = scores.bfloat16()
    assert within_half(low) is low


def test_a_temperature_is_the_exponential_up_to_its_limits():
    log_scale = torch.tensor([-9.9, 0.0, 1.5, 9.9])
    assert torch.equal(temperature(log_scale), log_scale.exp())
    far = temperature(torch.tensor([-1e30, 1e30]))
    assert (far > 0).all() and far.isfinite().all() and (1 / far).isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_a_vector_of_zeros_stays_one(dtype):
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(unit_length(vectors), torch.tensor([[0.6, 0.8], [0, 0]], dtype=dtype))
    assert torch.equal(unit_length(vectors.float()), nn.functional.normalize(vectors.float(), dim=-1))


def test_masked_scores_are_exact_zeros_and_a_masked_row_is_even():
    scores, mask = torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]), torch.tensor([[True, True, False], [False] * 3])
    expected = torch.tensor([1.0, 2.0]).softmax(dim=0).tolist()
    weights = masked_scores(scores, mask).softmax(dim=1)
    assert weights[0].tolist() == [*expected, 0.0] and weights[1].tolist() == pytest.approx([1 / 3] * 3)


def test_a_warning_is_given_once(monkeypatch):
    lines = []
    monkeypatch.setattr(number_range, 'print_log', lambda text, **_: lines.append(text))
    warn_not_finite.cache_clear()
    for _ in range(3):
        warn_not_finite('scores')
    assert len(lines) == 1 and "model's scores are not finite" in lines[0] and 'check the checkpoint' in lines[0]
    warn_not_finite.cache_clear()


def test_words_that_are_all_padding_change_no_other_text():
    torch.manual_seed(0)
    exchange = BiAttention(CHANNELS, TEXT_CHANNELS, 32, 4).eval()
    image, words = torch.randn(2, 5, CHANNELS), torch.randn(2, 3, TEXT_CHANNELS)
    both = exchange(image, words, torch.tensor([[True, True, False], [False] * 3]))
    alone = exchange(image[:1], words[:1], torch.tensor([[True, True, False]]))
    for out, expected in zip(both, alone, strict=True):
        assert out.isfinite().all()
        torch.testing.assert_close(out[:1], expected)


def test_a_question_without_words_has_an_answer_that_is_a_number():
    head = VQAHead(TEXT_CHANNELS, num_answers=3)
    text = text_features((4, 2))
    empty = TextFeatures(text.hidden, text.embedded, text.mask & torch.tensor([[True], [False]]), (4, 0))
    assert head(empty).isfinite().all()
    torch.testing.assert_close(head(empty)[0], head(text)[0])


@torch.no_grad()
def test_scores_of_every_head_that_overflow_float16_are_limited():
    """Weights far too large for float16: scores are +-50,000, where it would be infinite."""
    fused, text = fused_features(), text_features((6, 4))
    grounding, answers = GroundingATSSHead(CHANNELS, TEXT_CHANNELS), VQAHead(TEXT_CHANNELS, num_answers=3)
    nn.init.constant_(grounding.centerness.bias, 60000)
    nn.init.constant_(grounding.box.bias, 60000)
    for scale in grounding.scales:
        scale.scale.fill_(1.5)
    grounding.centerness.weight.fill_(60000)
    nn.init.constant_(answers.classifier.bias, 65504)
    nn.init.constant_(answers.classifier.weight, 65504)
    masks = HourglassMaskHead(CHANNELS, TEXT_CHANNELS)
    nn.init.constant_(masks.text_projection.bias, 60000)
    captions, table = CaptionHead(TEXT_CHANNELS, vocab_size=5), torch.full((5, TEXT_CHANNELS), 60000.0)
    nn.init.constant_(captions.norm.bias, 100)
    boxes, word_maps = [torch.tensor([[0.0, 0, 60, 60]])] * 2, [torch.ones(1, 6).bool(), torch.ones(1, 6).bool()]
    with torch.autocast(**HALF):
        outputs = grounding(fused)
        results = dict(
            centerness=outputs.centerness,
            boxes=outputs.box_deltas,
            answers=answers(text),
            masks=masks([level * 100 for level in pyramid()], fused.words, boxes, word_maps),
            words=captions(text.hidden.clamp(-1, 1), table),
        )
    for name, scores in results.items():
        assert scores.dtype == torch.float16, name
        assert scores.abs().max() == MOST, name
