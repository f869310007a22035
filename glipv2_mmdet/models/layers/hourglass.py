"""The hourglass: a map looked at fine and coarse at once; what the mask head is stacked from.

Source: Newell et al., 2016, in the form GLIPv2's public code has (convolutions instead of bottlenecks).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: Dilations of the three 3x3 convolutions of a unit. The public code means a 3x3 kernel by its "3" and dilates.
DILATIONS = (1, 3, 1)
NUM_GROUPS = 16


class ResidualUnit(nn.Module):
    """Three times [ReLU, 3x3 convolution], the middle one at half width and dilated, plus the input.

    Args:
        channels: width of input and output; even.
        group_norm: normalise after every convolution, which then has no bias.
    """

    def __init__(self, channels: int, group_norm: bool = False) -> None:
        super().__init__()
        widths = (channels, channels // 2, channels // 2, channels)
        layers: list[nn.Module] = []
        for i, dilation in enumerate(DILATIONS):
            convolution = nn.Conv2d(
                widths[i], widths[i + 1], 3, padding=dilation, dilation=dilation, bias=not group_norm
            )
            norm = nn.GroupNorm(NUM_GROUPS, widths[i + 1]) if group_norm else nn.Identity()
            layers += [nn.ReLU(), convolution, norm]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) to the same shape."""
        return x + self.layers(x)


class Hourglass(nn.Module):
    """One hourglass of ``num_scales`` halvings; no ReLU at the end, whoever stacks it applies one.

    Args:
        num_scales: how often the map is halved.
        channels: width of the map.
        group_norm: normalise inside the units of the inner path; the skip path and the unit right after the
            pooling never have it, as in the public code.

    Raises:
        ValueError: in ``forward``, for a map whose sides do not divide by ``2 ** num_scales``.
    """

    def __init__(self, num_scales: int, channels: int, group_norm: bool = False) -> None:
        super().__init__()
        self.num_scales = num_scales
        self.skip = ResidualUnit(channels)
        self.enter = ResidualUnit(channels)
        self.inner = (
            Hourglass(num_scales - 1, channels, group_norm) if num_scales > 1 else ResidualUnit(channels, group_norm)
        )
        self.leave = ResidualUnit(channels, group_norm)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) to the same shape."""
        check_divisible(x.shape[-2:], self.num_scales)
        inner = self.leave(self.inner(self.enter(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(inner, scale_factor=2, mode='nearest')


def check_divisible(size: tuple[int, int], num_scales: int) -> None:
    """Refuse a map that cannot be halved ``num_scales`` times and come back to its size."""
    divisor = 2**num_scales
    if any(side % divisor for side in size):
        raise ValueError(
            f'A map of {size[0]} x {size[1]} does not go through an hourglass of {num_scales} scales; expected sides '
            f'that divide by {divisor}. Use a RoI size of 14 with 1 scale, 16 with 2.'
        )
