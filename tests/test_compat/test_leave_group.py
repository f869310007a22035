"""leave_group: nothing of gloo is left when the interpreter ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from pathlib import Path

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from glipv2_mmdet.compat.cpu_distributed import leave_group


def threads():
    return sum('gloo' in file.read_text() for file in Path('/proc/self/task').glob('*/comm'))


leave_group()  # nothing to leave
dist.init_process_group('gloo', init_method='file://{file}', rank=0, world_size=1)
model = DistributedDataParallel(nn.Linear(2, 2))
model.itself = model  # runner, model and hooks know each other, too
before = threads()
del model
leave_group()
print(before > 0, threads(), dist.is_initialized())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are counted in /proc, which is not here')
def test_no_thread_of_gloo_outlives_the_group(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT.replace('{file}', str(tmp_path / 'meet'))],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ['True', '0', 'False']
