"""Gradients of an operation by running it once more under autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def add_gradients(
    forward: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor, buffers: Sequence[Tensor]
) -> None:
    """Run ``forward`` on detached ``inputs`` under autograd; add each input's gradient to its buffer."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        output = forward(*leaves)
    for buffer, gradient in zip(buffers, torch.autograd.grad(output, leaves, grad_output), strict=True):
        buffer += gradient
