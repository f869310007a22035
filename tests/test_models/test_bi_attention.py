"""BiAttention against the textbook form on the same weights, and what must not change its result."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from glipv2_mmdet.models.layers import bi_attention
from glipv2_mmdet.models.layers.bi_attention import BiAttention
from tests.reference.bi_attention import textbook_bi_attention
from tests.reference.compare import assert_same, outputs_and_gradients

NUM_HEADS = 4


@pytest.fixture
def layer() -> BiAttention:
    torch.manual_seed(0)
    layer = BiAttention(
        image_channels=24,
        text_channels=40,
        embed_channels=32,
        num_heads=NUM_HEADS,
        dropout=0.3,
        init_gamma=0.5,
    )
    for parameter in layer.parameters():  # no bias at zero, no gain at one
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return layer.eval()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 35, 24), torch.randn(2, 7, 40)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[True] * 7, [True] * 3 + [False] * 4])


# 1: every head alone; 2 * 35 * 7 * 3: three heads, then the last one; 2 ** 22: all at once
@pytest.mark.parametrize('scores_at_once', [1, 2 * 35 * 7 * 3, 2**22])
@pytest.mark.parametrize('masked', [False, True])
def test_equals_textbook_form(layer, inputs, mask, masked, scores_at_once, monkeypatch):
    monkeypatch.setattr(bi_attention, 'SCORES_AT_ONCE', scores_at_once)
    mask = mask if masked else None
    parameters = list(layer.parameters())
    fast = outputs_and_gradients(lambda *x: layer(*x, mask), inputs, parameters)
    plain = outputs_and_gradients(lambda *x: textbook_bi_attention(layer, *x, mask), inputs, parameters)
    assert_same(fast, plain)


def test_head_groups_cover_all_heads_once(layer, inputs, monkeypatch):
    for scores_at_once in (1, 490, 491, 980, 1470, 1959, 1960, 10**9):
        monkeypatch.setattr(bi_attention, 'SCORES_AT_ONCE', scores_at_once)
        groups = layer._head_groups(*inputs)
        heads = [head for group in groups for head in range(NUM_HEADS)[group]]
        assert heads == list(range(NUM_HEADS))
        assert max(len(range(NUM_HEADS)[group]) for group in groups) == max(1, min(scores_at_once // 490, NUM_HEADS))


@pytest.mark.parametrize('scores_at_once', [1, 2**22])
def test_equals_textbook_form_with_the_same_dropped_entries(layer, inputs, mask, scores_at_once, monkeypatch):
    """The bias of the image values enters as often as weights survive, not once."""
    monkeypatch.setattr(bi_attention, 'SCORES_AT_ONCE', scores_at_once)
    torch.manual_seed(2)
    keep_words = (torch.rand(2, NUM_HEADS, 7, 35) > 0.3) / 0.7  # for text <- image, (B, N, T, V)
    keep_image = (torch.rand(2, NUM_HEADS, 7, 35) > 0.3) / 0.7  # for image <- text
    layer.train()
    parameters = list(layer.parameters())

    groups = iter([keep[:, heads] for heads in layer._head_groups(*inputs) for keep in (keep_words, keep_image)])
    dropped = []

    def drop_fast(x, p, training):
        dropped.append((p, training))
        return x * next(groups)

    monkeypatch.setattr(F, 'dropout', drop_fast)
    fast = outputs_and_gradients(lambda *x: layer(*x, mask), inputs, parameters)
    assert set(dropped) == {(0.3, True)}

    masks = iter([keep_image.transpose(2, 3), keep_words])
    monkeypatch.setattr(F, 'dropout', lambda x, p, training: x * next(masks))
    plain = outputs_and_gradients(lambda *x: textbook_bi_attention(layer, *x, mask), inputs, parameters)
    assert_same(fast, plain)


def test_dropout_acts_in_training_only(layer, inputs):
    with torch.no_grad():
        assert torch.equal(layer(*inputs)[0], layer(*inputs)[0])
        layer.train()
        first, second = layer(*inputs), layer(*inputs)
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_padding_words_changes_nothing_for_real_ones(layer, inputs):
    image, text = inputs
    padded = torch.cat((text, torch.full((2, 5, 40), 7.0)), dim=1)
    mask = torch.arange(12).expand(2, -1) < 7
    with torch.no_grad():
        image_alone, text_alone = layer(image, text)
        image_padded, text_padded = layer(image, padded, mask)
    torch.testing.assert_close(image_padded, image_alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(text_padded[:, :7], text_alone, rtol=0, atol=1e-5)
    assert text_padded.isfinite().all()


def test_batched_equals_single(layer, inputs, mask):
    image, text = inputs
    with torch.no_grad():
        batched = layer(image, text, mask)
        for i, length in enumerate((7, 3)):
            single = layer(image[i : i + 1], text[i : i + 1, :length])
            torch.testing.assert_close(batched[0][i : i + 1], single[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(batched[1][i : i + 1, :length], single[1], rtol=0, atol=1e-5)


def test_residual_starts_from_normalised_features(layer, inputs):
    with torch.no_grad():
        layer.gamma_image.zero_()
        layer.gamma_text.zero_()
        image, text = layer(*inputs)
        torch.testing.assert_close(image, layer.image_norm(inputs[0]))
        torch.testing.assert_close(text, layer.text_norm(inputs[1]))


def test_callers_tensors_stay_as_they_were(layer, inputs, mask):
    image, text = inputs[0].clone(), inputs[1].clone()
    with torch.no_grad():
        layer(image, text, mask)
    assert torch.equal(image, inputs[0]) and torch.equal(text, inputs[1])


def test_one_word_and_one_pixel(layer):
    inputs = torch.randn(1, 1, 24), torch.randn(1, 1, 40)
    parameters = list(layer.parameters())
    fast = outputs_and_gradients(layer, inputs, parameters)
    # each softmax has one entry: image_out(text_value(text)) and text_out(image_value(image))
    plain = outputs_and_gradients(lambda *x: textbook_bi_attention(layer, *x), inputs, parameters)
    assert_same(fast, plain)
    assert fast[1][2 + [name for name, _ in layer.named_parameters()].index('image_query.weight')].abs().max() == 0


def test_mixed_precision_runs_and_stays_close(layer, inputs, mask):
    with torch.no_grad():
        exact = layer(*inputs, mask)
        with torch.autocast('cpu', torch.bfloat16):
            mixed = layer(*inputs, mask)
    for got, want in zip(mixed, exact, strict=True):
        assert (got.float() - want).abs().max() < 0.1 * want.abs().max()


def test_start_values():
    layer = BiAttention(8, 8, 8, 2, init_gamma=1 / 6)
    assert torch.equal(layer.gamma_image, torch.full((8,), 1 / 6))
    assert torch.equal(layer.gamma_text, torch.full((8,), 1 / 6))
    assert all(
        parameter.abs().max() == 0
        for name, parameter in layer.named_parameters()
        if name.endswith('bias') and 'norm' not in name
    )


def test_width_must_divide_by_heads():
    with pytest.raises(ValueError, match='embed_channels 30 must be a multiple of num_heads 4'):
        BiAttention(8, 8, embed_channels=30, num_heads=4)


def test_places_are_added_to_the_normalised_image(layer, inputs, mask):
    seeing = BiAttention(24, 40, 32, NUM_HEADS, dropout=0.3, init_gamma=0.5, places=True).eval()
    seeing.load_state_dict({**layer.state_dict(), 'image_place.weight': torch.randn(24, 2)})
    places = torch.rand(35, 2) * 2 - 1
    with torch.no_grad():
        image, text = seeing(*inputs, mask, places)
        # a layer without places, and without a norm, that is given the sum
        prepared = layer.image_norm(inputs[0]) + places @ seeing.image_place.weight.T
        layer.image_norm = torch.nn.Identity()
        plain_image, plain_text = textbook_bi_attention(layer, prepared, inputs[1], mask)
        torch.testing.assert_close(seeing.prepare(inputs[0], places), prepared)
        torch.testing.assert_close(seeing.read(prepared, inputs[1]), text)
    torch.testing.assert_close(image, plain_image, rtol=0, atol=1e-5)
    torch.testing.assert_close(text, plain_text, rtol=0, atol=1e-5)
