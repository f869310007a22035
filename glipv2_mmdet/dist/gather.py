"""Collectives that losses need. Every rank must take part in each of them, also one without positives."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank must call it, also one without positives."""
    value = value.detach()
    world_size = get_world_size()
    if world_size == 1:
        return value
    value = value / world_size
    dist.all_reduce(value)
    return value


def exchange_counts(counts: Sequence[int], device: torch.device) -> list[tuple[int, ...]]:
    """The counts of every rank, known on the host; one collective for all of them.

    Args:
        counts: whatever this rank counts, in the same order on every rank.
        device: where collectives run, that of the tensors that are counted.

    Returns:
        Per rank its counts; ``[counts]`` in a single process, where nothing is sent.
    """
    world_size = get_world_size()
    if world_size == 1:
        return [tuple(counts)]
    own = torch.tensor(counts, device=device)
    gathered = [torch.empty_like(own) for _ in range(world_size)]
    dist.all_gather(gathered, own)
    return [tuple(row) for row in torch.stack(gathered).tolist()]


def gather_rows(rows: Tensor, num_rows: Sequence[int]) -> list[Tensor]:
    """Rows of every rank, however many each has; gradients flow back to the rank that a row came from.

    The backward pass is a collective too: it *sums* what all ranks send. Where every rank evaluates its own part
    of a loss and distributed training averages parameter gradients, that gives the gradient of the mean of the
    ranks' losses.

    Args:
        rows: (n, ...) of this rank; n may be 0, the rest of the shape is the same everywhere.
        num_rows: n of every rank, from :func:`exchange_counts`, so that several tensors share one exchange.

    Returns:
        Per rank its (n, ...); ``[rows]`` itself in a single process.
    """
    if len(num_rows) == 1:
        return [rows]
    # collectives want one shape; padding is cut off again, so its gradient is zero
    padding = [0, 0] * (rows.dim() - 1) + [0, max(num_rows) - len(rows)]
    padded = all_gather(F.pad(rows, padding))
    return [block[:count] for block, count in zip(padded, num_rows, strict=True)]
