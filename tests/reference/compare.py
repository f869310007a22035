"""Run two forms of one function on the same leaves: outputs and gradients must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def outputs_and_gradients(
    function: Callable, inputs: Sequence[Tensor], parameters: Sequence[Tensor] = ()
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs of ``function(*inputs)`` and the gradients of their weighted sum for inputs and parameters.

    The weights differ from entry to entry, so that entries cannot swap places or cancel.
    """
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    outputs = function(*leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    total = sum((out * torch.linspace(-1, 1.5, out.numel(), device=out.device).view_as(out)).sum() for out in outputs)
    gradients = torch.autograd.grad(total, [*leaves, *parameters])
    return [out.detach() for out in outputs], list(gradients)


def assert_same(
    fast: tuple[list[Tensor], list[Tensor]], plain: tuple[list[Tensor], list[Tensor]], tolerance: float = 1e-5
) -> None:
    """Every output and every gradient within ``tolerance`` of the largest magnitude of the plain one."""
    for kind, fast_tensors, plain_tensors in zip(('output', 'gradient'), fast, plain, strict=True):
        assert len(fast_tensors) == len(plain_tensors)
        for i, (got, want) in enumerate(zip(fast_tensors, plain_tensors, strict=True)):
            assert got.shape == want.shape
            error = float((got - want).abs().max() / want.abs().max().clamp(min=1e-12))
            # not "error > tolerance": a NaN must fail too
            assert error <= tolerance, f'{kind} {i}: relative difference {error:.1e}'
