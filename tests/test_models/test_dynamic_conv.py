"""DynamicConvBlock against the plain form, with the quirks trained weights depend on."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models.layers.dynamic_conv import DynamicConvBlock, DynamicReLU, read_as_size
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.reference.dynamic_conv import plain_dynamic_conv

# sides that halve unevenly, down to one pixel
SIZES = [(9, 12), (5, 6), (3, 3), (2, 2), (1, 1)]


@pytest.fixture
def block() -> DynamicConvBlock:
    torch.manual_seed(0)
    block = DynamicConvBlock(channels=8, num_groups=2)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
    return block


@pytest.fixture
def levels() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, 8, *size) for size in SIZES]


@pytest.mark.parametrize('num_levels', [1, 2, 5])
def test_equals_plain_form(block, levels, num_levels):
    levels = levels[:num_levels]
    # a block over one level has neither a finer nor a coarser neighbour
    parts = {1: ('coarser', 'finer')}.get(num_levels, ())
    parameters = [parameter for name, parameter in block.named_parameters() if not name.startswith(parts)]
    fast = outputs_and_gradients(lambda *x: block(x), levels, parameters)
    plain = outputs_and_gradients(lambda *x: plain_dynamic_conv(block, x), levels, parameters)
    assert_same(fast, plain, 1e-4)


def test_inference_equals_training(block, levels):
    training = block(levels)
    with torch.no_grad():
        for inference, trained in zip(block(levels), training, strict=True):
            torch.testing.assert_close(inference, trained, rtol=0, atol=1e-4)


def test_shapes_are_kept(block, levels):
    assert [tuple(level.shape) for level in block(levels)] == [(2, 8, *size) for size in SIZES]


def test_batched_equals_single(block, levels):
    with torch.no_grad():
        batched = block(levels)
        single = block([level[1:] for level in levels])
    for both, one in zip(batched, single, strict=True):
        torch.testing.assert_close(both[1:], one, rtol=0, atol=1e-5)


def test_read_as_size_takes_the_front_of_each_images_buffer():
    steering = torch.arange(2 * 2 * 2 * 4).view(2, 2, 2, 4)
    expected = torch.tensor([[[[0, 1]], [[2, 3]]], [[[16, 17]], [[18, 19]]]])
    assert torch.equal(read_as_size(steering, (1, 2)), expected)
    # the same from a part of a larger map, as the block passes it
    wider = torch.cat((steering, steering), dim=1)[:, :2]
    assert torch.equal(read_as_size(wider, (1, 2)), expected)


def test_scale_weight_is_half_where_the_attention_is_silent(block, levels):
    with torch.no_grad():
        block.scale_attention.weight.zero_()
        block.scale_attention.bias.fill_(-5.0)
        assert torch.equal(block._scale_weight(levels[0]), torch.full((2, 1, 1, 1), 0.5))
        block.scale_attention.bias.fill_(1.5)
        torch.testing.assert_close(block._scale_weight(levels[0]), torch.full((2, 1, 1, 1), 0.75))


def test_dynamic_relu_starts_between_its_two_lines():
    activation = DynamicReLU(4, reduction=2)
    x = torch.tensor([-2.0, -1.0, 0.0, 3.0]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    with torch.no_grad():
        activation.expand.weight.zero_()
        # hard-sigmoid of 0 is one half: slopes 1 and 0, offsets 0: an ordinary ReLU
        activation.expand.bias.zero_()
        assert torch.equal(activation(x), x.relu())
        # hard-sigmoid of 3 is one: slopes 2 and 1, offsets one half
        activation.expand.bias.fill_(3.0)
        torch.testing.assert_close(activation(x), torch.maximum(2 * x + 0.5, x + 0.5))
        # the order is slope 1, offset 1, slope 2, offset 2
        activation.expand.bias.copy_(torch.tensor([3.0, 0.0, 0.0, -3.0]).repeat_interleave(4))
        torch.testing.assert_close(activation(x), torch.maximum(2 * x, torch.full_like(x, -0.5)))


def test_loaded_weights_stay_in_the_order_taps_are_sampled_in(block):
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in block.state_dict().items()}
    block.load_state_dict(state)
    for part in (block.coarser, block.same, block.finer):
        assert part.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(block.same.conv.weight, state['same.conv.weight'])


def test_maps_leave_channels_last(block, levels):
    with torch.no_grad():
        for level in block(levels)[:3]:
            assert level.is_contiguous(memory_format=torch.channels_last)
