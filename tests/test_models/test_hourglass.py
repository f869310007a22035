"""Hourglass: shapes, what each part does, and maps it cannot take."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glipv2_mmdet.models.layers.hourglass import Hourglass, ResidualUnit


@pytest.mark.parametrize(('num_scales', 'side'), [(1, 14), (2, 16), (3, 24)])
def test_shape_is_kept(num_scales, side):
    x = torch.randn(2, 32, side, side + 2**num_scales)
    assert Hourglass(num_scales, 32)(x).shape == x.shape


@pytest.mark.parametrize('side', [14, 15])
def test_map_that_cannot_be_halved_twice_is_refused(side):
    with pytest.raises(ValueError, match=f'A map of {side} x 16 .* 2 scales; expected sides that divide by 4'):
        Hourglass(2, 8)(torch.zeros(1, 8, side, 16))


def test_no_boxes_pass_through_with_a_gradient_for_every_parameter():
    hourglass = Hourglass(1, 32, group_norm=True)
    out = hourglass(torch.zeros(0, 32, 14, 14))
    assert out.shape == (0, 32, 14, 14)
    out.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in hourglass.parameters())


def test_residual_unit_is_three_dilated_convolutions_and_the_input():
    torch.manual_seed(0)
    unit = ResidualUnit(8)
    x = torch.randn(1, 8, 9, 9)
    first, second, third = (layer for layer in unit.layers if isinstance(layer, nn.Conv2d))
    out = F.conv2d(x.relu(), first.weight, first.bias, padding=1)
    out = F.conv2d(out.relu(), second.weight, second.bias, padding=3, dilation=3)
    out = F.conv2d(out.relu(), third.weight, third.bias, padding=1)
    torch.testing.assert_close(unit(x), x + out)


def test_parts_with_zero_weights_leave_the_input_and_its_pooled_form():
    hourglass = Hourglass(1, 8)
    for parameter in hourglass.parameters():
        nn.init.zeros_(parameter)
    x = torch.arange(8 * 16.0).view(1, 8, 4, 4)
    # every unit is the identity: what remains is the skip path plus the 2x2 maxima, each repeated over its square
    expected = x + F.max_pool2d(x, 2).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(hourglass(x), expected)


def test_normalisation_is_in_the_inner_path_only():
    modules = Hourglass(2, 32, group_norm=True).named_modules()
    names = [name for name, module in modules if isinstance(module, nn.GroupNorm)]
    assert {name.rsplit('.layers', 1)[0] for name in names} == {'inner.inner', 'inner.leave', 'leave'}
    assert not any(isinstance(module, nn.GroupNorm) for module in Hourglass(2, 32).modules())


def test_boxes_do_not_see_each_other():
    torch.manual_seed(0)
    hourglass = Hourglass(1, 32, group_norm=True)
    x = torch.randn(3, 32, 14, 14)
    torch.testing.assert_close(hourglass(x)[1:2], hourglass(x[1:2]), atol=1e-5, rtol=1e-5)
