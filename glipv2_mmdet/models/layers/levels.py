"""A pyramid as one sequence of positions, and back."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def join_levels(levels: Iterable[Tensor]) -> Tensor:
    """(B, C, H, W) maps to one (B, V, C) sequence, fine to coarse, row-major inside a level."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def split_levels(sequence: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Undo :func:`join_levels` with the shapes of ``like``."""
    parts = sequence.transpose(1, 2).split([level.shape[-2] * level.shape[-1] for level in like], dim=2)
    return tuple(part.reshape(level.shape) for part, level in zip(parts, like, strict=True))
