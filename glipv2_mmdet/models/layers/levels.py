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


def take_images(levels: Sequence[Tensor], images: Sequence[int]) -> Sequence[Tensor]:
    """Levels of the given images, which may repeat; the same tensors when these are all images in order."""
    if list(images) == list(range(len(levels[0]))):
        return levels
    if len(set(images)) == 1:
        return [level[images[0]].expand(len(images), -1, -1, -1) for level in levels]
    rows = torch.tensor(images, device=levels[0].device)
    return [level[rows] for level in levels]


def level_places(levels: Iterable[Tensor]) -> Tensor:
    """(V, 2) centres of the positions of :func:`join_levels`, x and y from -1 to 1 over the network input."""
    return torch.cat([_grid(level) for level in levels])


def _grid(level: Tensor) -> Tensor:
    """(H * W, 2) centres of the cells of one map, row-major."""
    y, x = (torch.arange(1, 2 * size, 2, device=level.device).to(level.dtype) / size - 1 for size in level.shape[-2:])
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1)
