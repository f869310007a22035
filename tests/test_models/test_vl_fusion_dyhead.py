"""VLFusionDyHead: who sees whom, and what must not change the result."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models.layers import BertFusionLayer, ClipFusionLayer
from glipv2_mmdet.models.layers.levels import join_levels, split_levels
from glipv2_mmdet.models.necks import VLFusionDyHead
from tests.reference.bi_attention import textbook_bi_attention
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
        not torch.allclose(level, other, atol=1e-5)
        for level, other in zip(here.levels, other_text.levels, strict=True)
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
