"""Deformable convolution, versions 1 and 2, and multi-scale deformable attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision.ops as tv
from torch import Tensor

from glipv2_mmdet.compat.mmcv_stand_in.gradients import add_gradients


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **settings: int
) -> None:
    """Deformable convolution, version 1 (no mask, no bias), into ``output``."""
    output.copy_(_deform_conv(input, offset, weight, **settings))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Add the gradients of input and offset to their buffers."""
    add_gradients(
        lambda x, shift: _deform_conv(x, shift, weight, **settings),
        [input, offset],
        grad_output,
        [grad_input, grad_offset],
    )


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **settings: int,
) -> None:
    """Add the gradient to ``grad_weight``; any weight will do, the operation is linear in it."""
    add_gradients(
        lambda weight: _deform_conv(input, offset, weight, **settings),
        [torch.zeros_like(grad_weight)],
        grad_output * scale,
        [grad_weight],
    )


def _deform_conv(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    **implied: int,
) -> Tensor:
    """``implied`` holds kernel size and numbers of groups, which follow from the shapes."""
    stride, padding, dilation = (dH, dW), (padH, padW), (dilationH, dilationW)
    offset = _hold_outside(offset, x.shape[-2:], weight.shape[-2:], stride, padding, dilation)
    return tv.deform_conv2d(x, offset, weight, None, stride, padding, dilation)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    """Deformable convolution, version 2 (every tap has a weight of its own, ``mask``), into ``output``."""
    result = _modulated_deform_conv(input, offset, mask, weight, output.shape[-2:], **settings)
    output.copy_(result + bias.view(1, -1, 1, 1) if with_bias else result)


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    """Add all gradients to their buffers."""
    size = grad_output.shape[-2:]
    add_gradients(
        lambda *inputs: _modulated_deform_conv(*inputs, size, **settings),
        [input, offset, mask, weight],
        grad_output,
        [grad_input, grad_offset, grad_mask, grad_weight],
    )
    if with_bias:
        grad_bias += grad_output.sum((0, 2, 3))


def _modulated_deform_conv(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    size: Sequence[int],
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    **implied: int,
) -> Tensor:
    stride, padding, dilation = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    offset = _hold_outside(_refold(offset, size), x.shape[-2:], weight.shape[-2:], stride, padding, dilation)
    return tv.deform_conv2d(x, offset, weight, None, stride, padding, dilation, _refold(mask, size))


def _hold_outside(
    offset: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """The same offset, without a gradient where mmcv's kernel gives none: at taps on -1 or beyond, or on the size.

    At exactly -1 the sampled value is 0 and rises towards the map. torchvision's kernel returns that slope, mmcv's
    returns 0. Taps lie there whenever offsets are zero and the convolution is padded, as in the first step of mmdet's
    dynamic head.

    Args:
        offset: (B, groups * kernel positions * 2, H', W'), y before x.
        size: (H, W) of the map that is sampled.
        kernel: height and width of the kernel.
        stride: of the convolution, y before x, as the next two.
        padding: of the convolution.
        dilation: of the convolution.
    """
    if not offset.requires_grad:
        return offset
    shift = offset.detach().unflatten(1, (-1, kernel[0], kernel[1], 2))  # (B, groups, kh, kw, 2, H', W')
    outside = []
    for axis in range(2):
        taps, places = (torch.arange(n, device=offset.device) for n in (kernel[axis], shift.size(5 + axis)))
        start = (places * stride[axis] - padding[axis]) + (taps * dilation[axis])[:, None]  # (kernel, places)
        start = start[:, None, :, None] if axis == 0 else start[None, :, None, :]
        position = shift[:, :, :, :, axis] + start
        outside.append((position <= -1) | (position >= size[axis]))
    held = (outside[0] | outside[1]).unsqueeze(4).expand(shift.shape).flatten(1, 4)
    return torch.where(held, offset.detach(), offset)


def _refold(steering: Tensor, size: Sequence[int]) -> Tensor:
    """Read a steering map of another size as the compiled kernel does: from the start, in memory order.

    mmdet's dynamic head hands a convolution the map of a finer level, larger than the output. The compiled
    kernel takes each image's numbers in memory order as if they were (channels, h, w) of the output, and
    trained weights rely on it. A map of the right size passes through unchanged.
    """
    batch, channels, *given = steering.shape
    if tuple(given) == tuple(size):
        return steering
    needed = channels * size[0] * size[1]
    numbers = steering.flatten(1)
    if numbers.size(1) < needed:
        raise ValueError(
            f'Offset or mask map of {tuple(given)} is smaller than the output {tuple(size)} of '
            'the deformable convolution. Compute it at the size of the output.'
        )
    return numbers[:, :needed].reshape(batch, channels, *size)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention by mmcv's own torch form, which it uses on CPU; here on any device."""
    # mmcv.ops imports this module while it loads, so it cannot be imported above
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Add all gradients to their buffers."""
    add_gradients(
        lambda v, locations, weights: ms_deform_attn_forward(
            v, spatial_shapes, level_start_index, locations, weights, im2col_step
        ),
        [value, sampling_locations, attention_weights],
        grad_output,
        [grad_value, grad_sampling_loc, grad_attn_weight],
    )
