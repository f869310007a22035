"""Modulated deformable 3x3 convolution: the sampling step of a dynamic convolution block.

Three forms compute the same function (they agree to float rounding). On a CPU every sampled position is a weighted sum
of four pixels, each a row of C numbers side by side, which is what ``embedding_bag`` adds up; its result then goes
through one matrix product. docs/speed.md has the figures. Other devices get torchvision's kernel, with which the CPU
form was not compared there. What is traced or exported on a CPU gets a form of ``grid_sample``, which exporters know.

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


def modulated_deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1
) -> Tensor:
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
        exporting = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return (_grid_deform_conv if exporting else _row_deform_conv)(x, offset, mask, weight, bias, stride)
    return deform_conv2d(x, offset, weight, bias, stride=stride, padding=1, mask=mask)


def _row_deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """The same as sums of pixel rows and one matrix product; nothing is moved where ``x`` is stored channels last.

    Positions and sums are in float32 at least.
    """
    batch, channels, height, width = x.shape
    out_height, out_width = offset.shape[-2:]
    dtype = torch.promote_types(x.dtype, torch.float32)
    shift = offset.to(dtype).permute(0, 2, 3, 1).unflatten(-1, (NUM_TAPS, 2))  # (B, H', W', 9, 2)
    position = shift + _tap_positions(out_height, out_width, stride, dtype)
    rows, row_weights = _neighbours(position[..., 0], height)  # (B, H', W', 9, 2)
    columns, column_weights = _neighbours(position[..., 1], width)
    first_pixels = torch.arange(0, batch * height * width, height * width).view(-1, 1, 1, 1, 1)
    pixels = (first_pixels + rows * width).unsqueeze(-1) + columns.unsqueeze(-2)  # (B, H', W', 9, 2, 2)
    row_weights = row_weights * mask.permute(0, 2, 3, 1).unsqueeze(-1)
    weights = row_weights.unsqueeze(-1) * column_weights.unsqueeze(-2)
    taps = F.embedding_bag(
        pixels.view(-1, 4),
        x.permute(0, 2, 3, 1).reshape(-1, channels).to(dtype),
        mode='sum',
        per_sample_weights=weights.view(-1, 4),
    ).view(batch, out_height, out_width, NUM_TAPS * channels)
    kernel = weight.permute(0, 2, 3, 1).flatten(1)  # (O, 9 * C)
    return F.linear(taps.to(weight.dtype), kernel, bias).permute(0, 3, 1, 2)


def _tap_positions(out_height: int, out_width: int, stride: int, dtype: torch.dtype) -> Tensor:
    """Where the taps look before they are moved: (H', W', 9, 2), y before x."""
    row, column, tap_row, tap_column = torch.meshgrid(
        torch.arange(out_height) * stride,
        torch.arange(out_width) * stride,
        torch.arange(KERNEL_SIZE) - 1,
        torch.arange(KERNEL_SIZE) - 1,
        indexing='ij',
    )
    return torch.stack((row + tap_row, column + tap_column), dim=-1).flatten(2, 3).to(dtype)


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Along one axis the two pixels around each position and how much each counts, both (..., 2).

    A pixel outside the map counts as zero, and its index is replaced by one that exists.
    """
    low = position.detach().floor()
    fraction = position - low
    pixels = torch.stack((low, low + 1), dim=-1).long()
    inside = (pixels >= 0) & (pixels < size)
    return pixels.clamp(0, size - 1), torch.stack((1 - fraction, fraction), dim=-1) * inside


def _grid_deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """The same as nine bilinear look-ups and one matrix product, of operations that exporters know."""
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
