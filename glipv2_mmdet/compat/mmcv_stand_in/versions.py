"""What mmdet's environment report prints about mmcv's compiled operations."""

from __future__ import annotations

import torch


def get_compiler_version() -> str:
    """The compiler of the operations: there is none."""
    return 'none (operations from torchvision)'


def get_compiling_cuda_version() -> str:
    """The version of CUDA that torch was built for."""
    return str(torch.version.cuda or 'not available')
