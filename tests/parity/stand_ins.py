"""Numbers that stand for large arrays in the fixtures."""

from __future__ import annotations

import torch
from torch import Tensor


def stats(values: Tensor) -> list[float]:
    """Mean, spread and absolute sum, added up in double precision."""
    values = values.detach().double()
    return [float(values.mean()), float(values.std(correction=0)), float(values.abs().sum())]


def against_ramp(out: Tensor) -> Tensor:
    """The scalar whose gradients the fixtures hold: the output against evenly spaced weights."""
    return (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum()
