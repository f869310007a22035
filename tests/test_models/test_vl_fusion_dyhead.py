"""VLFusionDyHead: who sees whom, and what must not change the result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from glipv2_mmdet.models.layers import BertFusionLayer, ClipFusionLayer
from glipv2_mmdet.models.layers.levels import join_levels, level_places, split_levels
from glipv2_mmdet.models.necks import VLFusionDyHead
from tests.reference.bi_attention import textbook_bi_attention
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.reference.dynamic_conv import plain_dynamic_conv
from tests.reference.text_layer import plain_text_layer
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, pyramid, text_features


def build(**kwargs) -> VLFusionDyHead:
    torch.manual_seed(0)
    settings = dict(
        num_blocks=2,
        channels=CHANNELS,
        text_channels=TEXT_CHANNELS,
        attention_channels=32,
        attention_heads=4,
        text_heads=4,
        num_groups=4,
        dropout=0.0,
    )
    neck = VLFusionDyHead(**{**settings, **kwargs})
    for name, parameter in neck.named_parameters():
        if name.endswith('conv.weight') or name.endswith('offset.weight'):
            torch.nn.init.normal_(parameter, std=0.1)
    return neck.eval()


def test_equals_the_plain_blocks_one_after_the_other():
    neck, levels, text = build(), pyramid(), text_features((6, 4))
    with torch.no_grad():
        fused = neck(levels, text)
        hidden = text.hidden
        for block in neck.blocks:
            image, hidden = textbook_bi_attention(block['attention'], join_levels(levels), hidden, text.mask)
            hidden = plain_text_layer(block['text_layer'], hidden, text.mask)
            levels = plain_dynamic_conv(block['dynamic_conv'], split_levels(image, levels))
    for got, want in zip(fused.levels, levels, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
    torch.testing.assert_close(fused.words[text.mask], hidden[text.mask], rtol=0, atol=1e-4)
    assert fused.words is fused.text.hidden
    assert fused.text.embedded is text.embedded


def test_padding_the_prompt_changes_nothing():
    neck, levels = build(), pyramid()
    both = text_features((6, 4))
    with torch.no_grad():
        batched = neck(levels, both)
        for i, length in enumerate(both.lengths):
            single = neck([level[i : i + 1] for level in levels], both.select([i]))
            assert single.words.shape[1] == length
            torch.testing.assert_close(batched.words[i : i + 1, :length], single.words, rtol=0, atol=1e-4)
            for all_images, one in zip(batched.levels, single.levels, strict=True):
                torch.testing.assert_close(all_images[i : i + 1], one, rtol=0, atol=1e-4)


def test_without_early_fusion_words_never_reach_the_image():
    neck, levels = build(early_fusion=False), pyramid()
    assert all(name.split('.')[2] == 'dynamic_conv' for name in neck.state_dict())
    with torch.no_grad():
        one, other = neck(levels, text_features((6, 4), seed=0)), neck(levels, text_features((3, 5), seed=5))
    for level, other_level in zip(one.levels, other.levels, strict=True):
        assert torch.equal(level, other_level)
    assert torch.equal(one.words, text_features((6, 4), seed=0).embedded)


def test_with_early_fusion_each_side_sees_the_other():
    neck, text = build(num_blocks=1), text_features((6, 4))
    with torch.no_grad():
        here = neck(pyramid(), text)
        other_image = neck(pyramid(seed=9), text)
        other_text = neck(pyramid(), text_features((6, 4), seed=9))
    assert not torch.allclose(here.words[text.mask], other_image.words[text.mask], atol=1e-3)
    assert all(
        not torch.allclose(level, other, atol=1e-5) for level, other in zip(here.levels, other_text.levels, strict=True)
    )


def test_the_text_layer_is_that_of_the_encoder():
    assert all(isinstance(block['text_layer'], BertFusionLayer) for block in build().blocks)
    neck, levels, both = build(text_layer='clip'), pyramid(), text_features((6, 4))
    assert all(isinstance(block['text_layer'], ClipFusionLayer) for block in neck.blocks)
    with torch.no_grad():
        batched = neck(levels, both).words
        single = neck([level[1:] for level in levels], both.select([1])).words
    torch.testing.assert_close(batched[1:, :4], single, rtol=0, atol=1e-4)


@pytest.mark.parametrize('num_levels', [1, 3])
def test_takes_any_number_of_levels(num_levels):
    levels = pyramid(num_levels=num_levels)
    fused = build()(levels, text_features((6, 4)))
    assert [level.shape for level in fused.levels] == [level.shape for level in levels]


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for grad_checkpointing in (False, True, 'attention'):
        neck = build(grad_checkpointing=grad_checkpointing)
        fused = neck(pyramid(), text_features((6, 4)))
        loss = sum(level.square().sum() for level in fused.levels) + fused.words.square().sum()
        gradients.append(torch.autograd.grad(loss, list(neck.parameters())))
    for plain, *checkpointed in zip(*gradients, strict=True):
        for gradient in checkpointed:
            torch.testing.assert_close(gradient, plain)


def test_an_unknown_kind_of_checkpointing_is_an_error():
    with pytest.raises(ValueError, match="True, False or 'attention'"):
        build(grad_checkpointing='blocks')


def test_layer_scales_start_at_one_over_the_number_of_blocks():
    for block in build(num_blocks=4).blocks:
        assert torch.equal(block['attention'].gamma_image, torch.full((CHANNELS,), 0.25))


def test_levels_survive_joining_and_splitting():
    levels = pyramid()
    joined = join_levels(levels)
    assert joined.shape == (2, sum(level[0, 0].numel() for level in levels), CHANNELS)
    # fine to coarse, row-major: position 10 is row 1, column 1 of the 8 x 9 level
    assert torch.equal(joined[:, 10], levels[0][:, :, 1, 1])
    assert torch.equal(joined[:, 72], levels[1][:, :, 0, 0])
    for level, again in zip(levels, split_levels(joined, levels), strict=True):
        assert torch.equal(level, again)


def test_places_are_the_centres_of_all_positions_from_corner_to_corner():
    levels = [torch.zeros(2, CHANNELS, 2, 4), torch.zeros(2, CHANNELS, 1, 2)]
    x, y = level_places(levels).T
    assert x.tolist() == [-0.75, -0.25, 0.25, 0.75] * 2 + [-0.5, 0.5]
    assert y.tolist() == [-0.5] * 4 + [0.5] * 4 + [0, 0]


def test_words_tell_left_from_right_by_places_alone():
    text = text_features((6, 4))
    levels = [torch.zeros_like(level) for level in pyramid()]
    levels[0][..., 0] = torch.randn(CHANNELS)[:, None]  # something at the left edge
    mirrored = [level.flip(-1) for level in levels]
    for words_only in (False, True):
        blind, seeing = build(num_blocks=1), build(num_blocks=1, places=True)
        with torch.no_grad():
            assert torch.allclose(
                blind(levels, text, words_only).words, blind(mirrored, text, words_only).words, atol=1e-6
            )
            assert not torch.allclose(
                seeing(levels, text, words_only).words, seeing(mirrored, text, words_only).words, atol=1e-3
            )


@pytest.mark.parametrize('kind', [True, 'attention'])
def test_places_have_gradients_with_checkpointing(kind):
    neck = build(places=True, grad_checkpointing=kind).train()
    neck(pyramid(), text_features((6, 4))).words.sum().backward()
    assert all(block['attention'].image_place.weight.grad.abs().max() > 0 for block in neck.blocks)


def test_texts_read_left_to_right_see_places_too():
    neck, levels, text = build(places=True), pyramid(), replace(text_features((6, 4)), causal=True)
    with torch.no_grad():
        whole = neck(levels, text).words
        tokens = neck.encode_image(levels).tokens[0]
        attention = neck.blocks[0]['attention']
        torch.testing.assert_close(tokens, attention.prepare(join_levels(levels), level_places(levels)))
        past, steps = None, []
        for position in range(text.hidden.shape[1]):
            word, past = neck.step(neck.encode_image(levels), text.hidden[:, position : position + 1], past)
            steps.append(word)
    torch.testing.assert_close(torch.cat(steps, dim=1)[text.mask], whole[text.mask], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('settings', 'words_only'), [(dict(num_blocks=1), True), (dict(num_blocks=1), False), (dict(num_blocks=2), True)]
)
def test_texts_of_one_image_get_what_each_gets_alone(settings, words_only):
    neck, levels, text = build(**settings), pyramid(), text_features((6, 4, 5, 2))
    images = [0, 1, 1, 1]  # not equally many

    def words(*parts):
        return neck(parts, text, words_only, images).words[text.mask]

    def alone(*parts):
        return torch.cat(
            [
                neck([level[image : image + 1] for level in parts], text.select([row]), words_only).words[0]
                for row, image in enumerate(images)
            ]
        )

    block = neck.blocks[0]
    parameters = [block['text_layer'].value.weight, block['attention'].text_key.weight, block['attention'].gamma_text]
    assert_same(outputs_and_gradients(words, levels, parameters), outputs_and_gradients(alone, levels, parameters))
