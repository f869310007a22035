"""Collectives that losses need."""
from __future__ import annotations

import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank must call it, also one without positives."""
    value = value.detach()
    world_size = get_world_size()
    if world_size == 1:
        return value
    value = value / world_size
    dist.all_reduce(value)
    return value
