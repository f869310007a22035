"""One rank of the two-process tests: ``python -m tests.distributed.worker FOLDER``; writes ``FOLDER/rank<i>.pt``."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.utils import register_all_modules
from torch.nn.parallel import DistributedDataParallel

from glipv2_mmdet.dist import exchange_counts, gather_rows, mean_over_ranks
from tests.distributed.batches import NUM_IMAGES, batches, detector, images


def main() -> None:
    folder, rank, world_size = Path(sys.argv[1]), int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    register_all_modules(init_default_scope=True)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    results = dict(gather=gather(rank), steps={})
    share = slice(rank * NUM_IMAGES // world_size, (rank + 1) * NUM_IMAGES // world_size)
    for name, batch in batches().items():
        print(f'batch {name}', flush=True)
        results['steps'][name] = step(batch[share], images()[share])
    torch.save(results, folder / f'rank{rank}.pt')
    dist.destroy_process_group()


def step(batch: list, inputs: torch.Tensor) -> dict:
    """Losses and averaged gradients of one step, as distributed training computes them."""
    model = DistributedDataParallel(detector())
    losses = model(inputs, batch, mode='loss')
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.module.named_parameters()}
    return dict(losses={name: mean_over_ranks(loss) for name, loss in losses.items()}, gradients=gradients)


def gather(rank: int) -> dict:
    """Three rows on rank 0 and none on rank 1; each rank weights what it sees by its own number."""
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[: 3 if rank == 0 else 0].requires_grad_()
    counts = exchange_counts((len(rows), 10 + rank), rows.device)
    blocks = gather_rows(rows, [count[0] for count in counts])
    names = gather_rows(torch.arange(len(rows)), [count[0] for count in counts])
    (torch.cat(blocks) ** 2 * (10.0**rank)).sum().backward()
    return dict(counts=counts, blocks=[block.detach() for block in blocks], names=names, gradient=rows.grad)


if __name__ == '__main__':
    main()
