"""All forms of the modulated deformable convolution against the definition, and which one is taken."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from glipv2_mmdet.models.layers import deform_conv
from glipv2_mmdet.models.layers.deform_conv import modulated_deform_conv
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.reference.deform_conv import plain_deform_conv


def random_inputs(height: int, width: int, stride: int, offset_size: float = 2.0) -> list[torch.Tensor]:
    """x, offset, mask, weight, bias; offsets reach beyond the border."""
    torch.manual_seed(height * 10 + width)
    out_height, out_width = (height - 1) // stride + 1, (width - 1) // stride + 1
    return [
        torch.randn(2, 3, height, width),
        offset_size * torch.randn(2, 18, out_height, out_width),
        torch.rand(2, 9, out_height, out_width),
        torch.randn(4, 3, 3, 3),
        torch.randn(4),
    ]


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(5, 6), (1, 1), (1, 4), (3, 1)])
def test_all_forms_equal_the_definition(size, stride):
    inputs = random_inputs(*size, stride)
    plain = outputs_and_gradients(lambda *x: plain_deform_conv(*x, stride), inputs)
    for kernel in (deform_conv._row_deform_conv, deform_conv._grid_deform_conv, torchvision_kernel):
        assert_same(outputs_and_gradients(lambda *x, kernel=kernel: kernel(*x, stride), inputs), plain, 2e-5)


def torchvision_kernel(x, offset, mask, weight, bias, stride):
    return deform_conv.deform_conv2d(x, offset, weight, bias, stride=stride, padding=1, mask=mask)


@pytest.mark.parametrize('stride', [1, 2])
def test_without_offsets_it_is_a_convolution(stride):
    x, offset, mask, weight, bias = random_inputs(6, 7, stride, offset_size=0)
    out = modulated_deform_conv(x, offset, torch.ones_like(mask), weight, bias, stride)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, stride=stride, padding=1), rtol=0, atol=1e-5)


def test_offsets_are_y_before_x():
    x = torch.arange(20.0).view(1, 1, 4, 5)
    offset = torch.zeros(1, 18, 4, 5)
    offset[:, 8] = 1.0  # y of the middle tap: one row down
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1.0
    out = modulated_deform_conv(x, offset, torch.ones(1, 9, 4, 5), weight, None)
    assert torch.equal(out[0, 0, :3].round(), x[0, 0, 1:])
    torch.testing.assert_close(out[0, 0, 3], torch.zeros(5), rtol=0, atol=1e-5)


def test_no_bias():
    x, offset, mask, weight, _ = random_inputs(4, 5, 1)
    with_zero = modulated_deform_conv(x, offset, mask, weight, torch.zeros(4))
    assert torch.equal(modulated_deform_conv(x, offset, mask, weight, None), with_zero)


def test_form_follows_the_device_and_tracing(monkeypatch):
    for name in ('row', 'grid'):
        monkeypatch.setattr(deform_conv, f'_{name}_deform_conv', lambda *args, name=name: name)
    monkeypatch.setattr(deform_conv, 'deform_conv2d', lambda *args, **kwargs: 'torchvision')
    inputs = random_inputs(4, 5, 1)
    assert modulated_deform_conv(*inputs) == 'row'
    with torch.no_grad():
        assert modulated_deform_conv(*inputs) == 'row'
    assert modulated_deform_conv(*(tensor.to('meta') for tensor in inputs)) == 'torchvision'
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert modulated_deform_conv(*inputs) == 'grid'


def test_memory_format_changes_nothing():
    inputs = random_inputs(5, 6, 1)
    plain = modulated_deform_conv(*inputs)
    last = modulated_deform_conv(
        *(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)
    )
    torch.testing.assert_close(last, plain, rtol=0, atol=1e-5)
    assert plain.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('offset', [1e30, -1e30])
def test_positions_far_outside_count_as_zero(offset):
    x, _, mask, weight, bias = random_inputs(4, 5, 1)
    out = modulated_deform_conv(x, torch.full((2, 18, 4, 5), offset), mask, weight, bias)
    assert torch.equal(out, bias.view(1, -1, 1, 1).expand_as(out))


def test_half_precision_maps_are_sampled_in_single_precision():
    x, offset, mask, weight, bias = random_inputs(5, 6, 1)
    halves = [tensor.bfloat16() for tensor in (x, offset, mask, weight, bias)]
    out = modulated_deform_conv(*halves)
    assert out.dtype == torch.bfloat16
    expected = modulated_deform_conv(*(tensor.float() for tensor in halves))
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.1)
