"""One dynamic convolution block, level by level, with the parameters of a ``DynamicConvBlock``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from glipv2_mmdet.models.layers import DynamicConvBlock


def plain_dynamic_conv(block: DynamicConvBlock, levels: Sequence[Tensor]) -> list[Tensor]:
    """What the public code computes, spelled out: levels (B, C, H, W), fine to coarse."""
    outputs = []
    for i, level in enumerate(levels):
        steering = F.conv2d(level, block.offset.weight, block.offset.bias, padding=1)
        offset, mask = steering[:, :18], torch.sigmoid(steering[:, 18:])
        views = [convolve(block.same, level, offset, mask, stride=1)]
        if i > 0:
            views.append(convolve(block.finer, levels[i - 1], offset, mask, stride=2))
        if i + 1 < len(levels):
            coarse = levels[i + 1]
            views.append(
                F.interpolate(
                    convolve(block.coarser, coarse, misread(offset, coarse), misread(mask, coarse), stride=1),
                    size=level.shape[-2:],
                    mode='bilinear',
                    align_corners=True,
                )
            )
        total = torch.zeros_like(level)
        for view in views:
            average = view.mean(dim=(2, 3), keepdim=True)
            attention = F.conv2d(average, block.scale_attention.weight, block.scale_attention.bias).relu()
            total = total + view * (attention / 6 + 0.5).clamp(0, 1)
        outputs.append(dynamic_relu(block, total / len(views)))
    return outputs


def convolve(part, x: Tensor, offset: Tensor, mask: Tensor, stride: int) -> Tensor:
    out = deform_conv2d(x, offset, part.conv.weight, part.conv.bias, stride=stride, padding=1, mask=mask)
    return F.group_norm(out, part.norm.num_groups, part.norm.weight, part.norm.bias)


def misread(steering: Tensor, coarse: Tensor) -> Tensor:
    """Each image's buffer read linearly, number by number, as if it had the size of ``coarse``."""
    channels, height, width = steering.shape[1], *coarse.shape[-2:]
    images = []
    for buffer in steering.flatten(1):
        images.append(
            torch.stack(
                [
                    torch.stack(
                        [
                            torch.stack([buffer[(channel * height + row) * width + column] for column in range(width)])
                            for row in range(height)
                        ]
                    )
                    for channel in range(channels)
                ]
            )
        )
    return torch.stack(images)


def dynamic_relu(block: DynamicConvBlock, x: Tensor) -> Tensor:
    activation = block.activation
    theta = activation.expand(activation.reduce(x.mean(dim=(2, 3))).relu())
    theta = (theta / 6 + 0.5).clamp(0, 1)
    a1, b1, a2, b2 = theta.chunk(4, dim=1)
    a1, b1, a2, b2 = 2 * (a1 - 0.5) + 1, b1 - 0.5, 2 * (a2 - 0.5), b2 - 0.5
    first = a1[:, :, None, None] * x + b1[:, :, None, None]
    second = a2[:, :, None, None] * x + b2[:, :, None, None]
    return torch.max(first, second)
