"""Sigmoid and softmax focal loss."""

from __future__ import annotations

import torch
import torchvision.ops as tv
from torch import Tensor

from glipv2_mmdet.compat.mmcv_stand_in.gradients import add_gradients


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C). target (N,): class index, C = background; weight: (C,) per class, or empty."""
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Add the gradient of the summed loss to ``grad_input``."""
    add_gradients(lambda x: _focal_loss(x, target, weight, gamma, alpha), [input], torch.ones_like(input), [grad_input])


def _focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    one_hot = (target[:, None] == torch.arange(logits.size(1), device=logits.device)).to(logits.dtype)
    loss = tv.sigmoid_focal_loss(logits, one_hot, alpha, gamma)
    return loss * weight[target][:, None] if weight.numel() else loss


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N,). softmax (N, C); target (N,): class index, -1 = no loss; weight: (C,) or empty."""
    probability, log_probability, factor = _of_targets(softmax, target, weight, alpha)
    output.copy_(-factor * (1 - probability) ** gamma * log_probability)


def softmax_focal_loss_backward(
    softmax: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Add the gradient of the summed loss with respect to the scores before the softmax to ``grad_input``."""
    probability, log_probability, factor = _of_targets(softmax, target, weight, alpha)
    rest = 1 - probability
    slope = factor * (gamma * rest ** (gamma - 1) * probability * log_probability - rest**gamma)
    is_target = target[:, None] == torch.arange(softmax.size(1), device=softmax.device)
    grad_input += slope[:, None] * (is_target.to(softmax.dtype) - softmax)


def _of_targets(softmax: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) probability of the right class, its logarithm, and what the row's loss is multiplied by."""
    label = target.clamp(min=0)
    probability = softmax.gather(1, label[:, None])[:, 0]
    factor = alpha * (target >= 0).to(softmax.dtype)
    # as the compiled kernel: a probability of 0 counts as the smallest float32
    log_probability = probability.clamp(min=torch.finfo(torch.float32).tiny).log()
    return probability, log_probability, factor * weight[label] if weight.numel() else factor
