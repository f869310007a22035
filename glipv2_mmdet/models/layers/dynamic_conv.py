"""Cross-level dynamic convolution: the image half of a fusion block.

Each level is convolved together with its finer and coarser neighbours by deformable convolutions that share one
offset map, the results are weighted by a scale attention, and a dynamic ReLU closes the block.

Source: Dynamic Head (Dai et al., 2021), as GLIP uses it; the places where trained weights depend on the way the
public code was written are named below.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glipv2_mmdet.models.layers.deform_conv import NUM_STEERING_CHANNELS, NUM_TAPS, modulated_deform_conv


class DynamicConvBlock(nn.Module):
    """One DyHead block over a list of levels.

    Args:
        channels: width C of every level.
        num_groups: groups of the GroupNorm after each convolution.
        activation_reduction: squeeze factor of the dynamic ReLU.
    """

    def __init__(self, channels: int = 256, num_groups: int = 16, activation_reduction: int = 4) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, NUM_STEERING_CHANNELS, 3, padding=1)
        self.coarser = DeformConvNorm(channels, stride=1, num_groups=num_groups)
        self.same = DeformConvNorm(channels, stride=1, num_groups=num_groups)
        self.finer = DeformConvNorm(channels, stride=2, num_groups=num_groups)
        self.scale_attention = nn.Conv2d(channels, 1, 1)
        self.activation = DynamicReLU(channels, activation_reduction)
        nn.init.normal_(self.scale_attention.weight, std=0.01)
        nn.init.zeros_(self.scale_attention.bias)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (B, C, H, W), fine to coarse, to levels of the same shapes."""
        return tuple(self.activation(self._mix(levels, i)) for i in range(len(levels)))

    def _mix(self, levels: Sequence[Tensor], i: int) -> Tensor:
        """Level ``i`` and its neighbours at the size of level ``i``: their attention-weighted mean."""
        steering = self.offset(levels[i])
        offset = steering[:, : 2 * NUM_TAPS]
        mask = steering[:, 2 * NUM_TAPS :].sigmoid()
        size = levels[i].shape[-2:]

        views = [self.same(levels[i], offset, mask)]
        if i > 0:
            views.append(self.finer(levels[i - 1], offset, mask))
        if i < len(levels) - 1:
            coarse_size = levels[i + 1].shape[-2:]
            coarse = self.coarser(levels[i + 1], read_as_size(offset, coarse_size), read_as_size(mask, coarse_size))
            views.append(F.interpolate(coarse, size=size, mode='bilinear', align_corners=True))
        # one pass over the map per view
        weights = [self._scale_weight(view) / len(views) for view in views]
        mixed = views[0] * weights[0]
        for view, weight in zip(views[1:], weights[1:], strict=True):
            mixed = torch.addcmul(mixed, view, weight)
        return mixed

    def _scale_weight(self, view: Tensor) -> Tensor:
        """(B, 1, 1, 1) in [0, 1]: how much this view counts. The average sees image padding too."""
        return F.hardsigmoid(F.relu(self.scale_attention(view.mean(dim=(2, 3), keepdim=True))))


class DeformConvNorm(nn.Module):
    """Deformable 3x3 convolution and GroupNorm.

    Args:
        channels: width in and out.
        stride: 1, or 2 for the finer neighbour.
        num_groups: groups of the GroupNorm.
    """

    def __init__(self, channels: int, stride: int, num_groups: int = 16) -> None:
        super().__init__()
        # holds weight and bias; the sampling positions come from outside
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        # the order in which taps are sampled on a CPU; otherwise each call would sort 2 MB of weights
        self.conv.to(memory_format=torch.channels_last)
        self.norm = nn.GroupNorm(num_groups, channels)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W), offset (B, 18, H', W') and mask (B, 9, H', W') to (B, C, H', W')."""
        out = modulated_deform_conv(x, offset, mask, self.conv.weight, self.conv.bias, self.conv.stride[0])
        return self.norm(out)


class DynamicReLU(nn.Module):
    """Maximum of two lines whose slopes and offsets depend on the image (DyReLU-B, Chen et al., 2020).

    Args:
        channels: width C.
        reduction: squeeze factor of the two linear layers.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // reduction)
        self.expand = nn.Linear(channels // reduction, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same; the average sees image padding too."""
        theta = F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean(dim=(2, 3))))))
        slope_1, offset_1, slope_2, offset_2 = (theta - 0.5)[:, :, None, None].chunk(4, dim=1)
        return torch.maximum(torch.addcmul(offset_1, x, 2 * slope_1 + 1), torch.addcmul(offset_2, x, 2 * slope_2))


def read_as_size(steering: Tensor, size: Sequence[int]) -> Tensor:
    """The front of each image's steering buffer, read as if it had the given, smaller size.

    The coarser neighbour is convolved with the offsets of the *current* level, which has about four times its
    positions. The compiled kernels the public weights were trained with never check that: they read each image's
    buffer linearly. Cropping or resizing the map instead changes the token logits by 0.6 to 1.0 of their
    standard deviation.

    Args:
        steering: (B, C, H, W) offsets or mask of the current level.
        size: (H', W') of the coarser level, with H' * W' <= H * W.

    Returns:
        (B, C, H', W').
    """
    batch, channels = steering.shape[:2]
    height, width = size
    return steering.reshape(batch, -1)[:, : channels * height * width].view(batch, channels, height, width)
