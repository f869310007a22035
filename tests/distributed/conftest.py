"""Both ranks' results, from one start of the processes."""

import pytest
import torch

from tests.distributed.ranks import run_ranks


@pytest.fixture(scope='session')
def both_ranks(tmp_path_factory) -> list[dict]:
    """What ``worker.py`` wrote, per rank."""
    folder = tmp_path_factory.mktemp('two_ranks')
    run_ranks(['-m', 'tests.distributed.worker', str(folder)], folder)
    return [torch.load(folder / f'rank{rank}.pt') for rank in range(2)]
