"""Modulated deformable 3x3 convolution: the sampling step of a dynamic convolution block.

Two kernels compute the same function (they agree to float rounding): torchvision's, and one made of
``grid_sample`` and a matrix product. On a CPU the grid form was the faster one at every size tried, with gradients
by several times; other devices get torchvision's kernel, the two were not compared there.

Source: Deformable ConvNets v2 (Zhu et al., 2019), equation 1.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

KERNEL_SIZE = 3
NUM_TAPS = KERNEL_SIZE * KERNEL_SIZE
#: Channels of the map that steers a deformable convolution: (y, x) per tap, then one weight per tap.
NUM_STEERING_CHANNELS = 3 * NUM_TAPS


def modulated_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                          stride: int = 1) -> Tensor:
    """Convolve ``x`` at positions moved by ``offset`` and weighted by ``mask``; padding 1.

    Args:
        x: (B, C, H, W).
        offset: (B, 18, H', W') shifts in pixels of ``x``, (y, x) pairs, taps row by row.
        mask: (B, 9, H', W') weight of each tap.
        weight: (O, C, 3, 3).
        bias: (O,) or None.
        stride: 1 or 2; H', W' are the size of the output.

    Returns:
        (B, O, H', W').
    """
    if x.device.type == 'cpu':
        return _grid_deform_conv(x, offset, mask, weight, bias, stride)
    return deform_conv2d(x, offset, weight, bias, stride=stride, padding=1, mask=mask)


def _grid_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                      stride: int) -> Tensor:
    """The same as nine bilinear look-ups and one matrix product."""
    batch, channels, height, width = x.shape
    out_height, out_width = offset.shape[-2:]
    grid = _sampling_grid(offset, height, width, stride)
    # zero padding is the bilinear rule of deformable convolution: a neighbour outside the map counts as zero
    taps = F.grid_sample(x, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    taps = taps.view(batch, channels, NUM_TAPS, out_height * out_width)
    taps = taps * mask.reshape(batch, 1, NUM_TAPS, out_height * out_width)
    columns = taps.view(batch, channels * NUM_TAPS, out_height * out_width)
    out = torch.matmul(weight.flatten(1), columns).view(batch, -1, out_height, out_width)
    return out if bias is None else out + bias.view(1, -1, 1, 1)


def _sampling_grid(offset: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Where each tap of each output position looks, in ``grid_sample`` units: (B, 9 * H', W', 2)."""
    batch, _, out_height, out_width = offset.shape
    shift = offset.view(batch, NUM_TAPS, 2, out_height, out_width)
    tap = torch.arange(NUM_TAPS, device=offset.device)
    tap_y = (tap // KERNEL_SIZE - 1).view(1, -1, 1, 1)
    tap_x = (tap % KERNEL_SIZE - 1).view(1, -1, 1, 1)
    row = torch.arange(out_height, device=offset.device, dtype=offset.dtype).view(1, 1, -1, 1) * stride
    column = torch.arange(out_width, device=offset.device, dtype=offset.dtype).view(1, 1, 1, -1) * stride
    y = shift[:, :, 0] + (tap_y + row)
    x = shift[:, :, 1] + (tap_x + column)
    # align_corners=False has a unit for every size, a side of one pixel included
    grid_x = (2 * x + 1) / width - 1
    grid_y = (2 * y + 1) / height - 1
    return torch.stack((grid_x, grid_y), dim=-1).view(batch, NUM_TAPS * out_height, out_width, 2)
