"""The second stage in two processes: no parameter waits for a gradient, and two ranks are one larger batch."""

from __future__ import annotations

import os
import socket
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet: a new process starts here)

# isort: split
from mmdet.utils import register_all_modules

from tests.test_models.nano import ALL_BUT_THE_MASK_HEAD, build_mask_detector, data_sample
from tests.test_models.test_glipv2_masks import samples

TIMEOUT_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def train_two_steps(rank: int, port: int, folder: str) -> None:
    """One process of two; rank 1 first gets a batch without any box, then its real one."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    register_all_modules(init_default_scope=True)
    dist.init_process_group('gloo', rank=rank, world_size=2)
    model = DistributedDataParallel(build_mask_detector(frozen_parts=ALL_BUT_THE_MASK_HEAD).train())
    torch.manual_seed(3)
    images = torch.randn(2, 3, 64, 64)[rank : rank + 1]
    for step in range(2):
        sample = samples()[rank] if step or rank == 0 else data_sample(('tree',))
        model.zero_grad()
        model(images, [sample], mode='loss')['loss_mask'].backward()
        if step:
            gradients = {name: p.grad for name, p in model.module.mask_head.named_parameters()}
            torch.save(gradients, f'{folder}/{rank}.pth')
        else:
            assert all(p.grad is not None for p in model.module.mask_head.parameters())
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_of_one_image_have_the_gradients_of_one_rank_with_two(tmp_path):
    context = torch.multiprocessing.start_processes(
        train_two_steps, (free_port(), str(tmp_path)), nprocs=2, join=False, start_method='spawn'
    )
    deadline = time.monotonic() + TIMEOUT_S
    while not context.join(timeout=1):  # it returns whenever one of them ends
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            pytest.fail(f'two ranks took longer than {TIMEOUT_S} s')
    detector = build_mask_detector(frozen_parts=ALL_BUT_THE_MASK_HEAD).train()
    torch.manual_seed(3)
    detector.loss(torch.randn(2, 3, 64, 64), samples())['loss_mask'].backward()
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for name, parameter in detector.mask_head.named_parameters():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], parameter.grad, atol=1e-5, rtol=1e-3)
