"""Modulated deformable convolution, position by position and tap by tap."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def plain_deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1
) -> Tensor:
    """The definition (Deformable ConvNets v2, equation 1) with a 3x3 kernel and padding 1.

    ``x`` (B, C, H, W), ``offset`` (B, 18, H', W'), ``mask`` (B, 9, H', W'), ``weight`` (O, C, 3, 3).
    """
    out_height, out_width = offset.shape[-2:]
    images = []
    for b in range(len(x)):
        rows = []
        for i in range(out_height):
            row = []
            for j in range(out_width):
                total = torch.zeros(len(weight)) if bias is None else bias
                for tap in range(9):
                    tap_y, tap_x = divmod(tap, 3)
                    y = i * stride - 1 + tap_y + offset[b, 2 * tap, i, j]
                    x_position = j * stride - 1 + tap_x + offset[b, 2 * tap + 1, i, j]
                    value = mask[b, tap, i, j] * bilinear(x[b], y, x_position)
                    total = total + weight[:, :, tap_y, tap_x] @ value
                row.append(total)
            rows.append(torch.stack(row, dim=-1))
        images.append(torch.stack(rows, dim=-2))
    return torch.stack(images)


def bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(C,) value of ``image`` (C, H, W) between its pixels; what lies outside counts as zero."""
    height, width = image.shape[-2:]
    value = torch.zeros(len(image))
    top, left = math.floor(y.item()), math.floor(x.item())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value = value + image[:, row, column] * (1 - (y - row).abs()) * (1 - (x - column).abs())
    return value
