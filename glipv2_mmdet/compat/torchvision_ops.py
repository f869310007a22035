"""Operations of compiled mmcv, written with torchvision and torch, under the names and arguments mmcv calls.

mmcv's own Python layer (``mmcv.ops``) owns the autograd functions; it calls a *forward* that fills a buffer
and a *backward* that adds to zeroed gradient buffers. A backward here runs the forward once more under
autograd, which costs one forward and keeps to torchvision's public functions. Names, order and keywords of
the arguments are mmcv's and must stay; buffers a compiled kernel uses as scratch are ignored.

Every operation works on the device of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torchvision.ops as tv
from torch import Tensor

__all__ = [
    'bbox_overlaps',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """What mmdet's environment report prints."""
    return 'none (operations from torchvision)'


def get_compiling_cuda_version() -> str:
    """What mmdet's environment report prints."""
    return str(torch.version.cuda or 'not available')


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: a box goes when its IoU with a better one is larger.
        offset: 1 when the last pixel belongs to the box, else 0.
    """
    return tv.nms(_grow(boxes.float(), offset), scores.float(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Pick the best box, lower the scores of those that overlap it, drop what got too low, repeat.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        dets: (N, 5) buffer; its first K rows receive box and lowered score.
        iou_threshold: overlap from which methods 0 and 1 act.
        sigma: width of the Gaussian of method 2.
        min_score: boxes that fall below are dropped.
        method: 0 drops overlapping boxes, 1 lowers linearly, 2 by a Gaussian of the IoU.
        offset: as in :func:`nms`.

    Returns:
        (K,) indices in the order of picking.
    """
    remaining = torch.arange(boxes.size(0), device=boxes.device)
    scores = scores.clone()
    picked: list[int] = []
    while remaining.numel():
        best = remaining[scores[remaining].argmax()]
        dets[len(picked), :4] = boxes[best]
        dets[len(picked), 4] = scores[best]
        picked.append(int(best))
        remaining = remaining[remaining != best]
        iou = _overlaps(boxes[best, None], boxes[remaining], offset)[0]
        scores[remaining] *= _soft_weight(iou, iou_threshold, sigma, method)
        remaining = remaining[scores[remaining] >= min_score]
    return torch.tensor(picked, dtype=torch.long, device=boxes.device)


def _soft_weight(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-iou.square() / sigma)
    lowered = torch.zeros_like(iou) if method == 0 else 1 - iou
    return torch.where(iou >= iou_threshold, lowered, torch.ones_like(iou))


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Fill ``ious`` ((N, M), or (N,) when aligned) with IoU; with mode 1, with the share of the first box."""
    ious.copy_(_overlaps(bboxes1, bboxes2, offset, of_first=mode == 1, aligned=aligned))


def _overlaps(boxes1: Tensor, boxes2: Tensor, offset: int, of_first: bool = False, aligned: bool = False) -> Tensor:
    boxes1, boxes2 = _grow(boxes1, offset), _grow(boxes2, offset)
    area1, area2 = tv.box_area(boxes1), tv.box_area(boxes2)
    if not aligned:
        boxes1, area1 = boxes1[:, None], area1[:, None]
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(-1)
    return shared / (area1 if of_first else area1 + area2 - shared)


def _grow(boxes: Tensor, offset: int) -> Tensor:
    """A box with its last pixel inside ends ``offset`` later: in its own area and in every overlap."""
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **settings: float
) -> None:
    """Fill ``output`` (R, C, h, w). rois (R, 5): image index and xyxy. Averages only, as in torchvision."""
    output.copy_(_roi_align(input, rois, **settings))


def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **settings: float
) -> None:
    """Add the gradient to ``grad_input``. The input is not given and not needed: RoIAlign is linear in it."""
    _add_gradients(lambda x: _roi_align(x, rois, **settings), [torch.zeros_like(grad_input)], grad_output, [grad_input])


def _roi_align(
    x: Tensor,
    rois: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> Tensor:
    if pool_mode != 1:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs a compiled mmcv; with torchvision use pool_mode='avg'."
        )
    # torchvision's kernels have no bfloat16, which a backward pass in mixed precision arrives in; places in float16
    # would be whole pixels from 2,048 on
    wide = torch.promote_types(x.dtype, torch.float32)
    return tv.roi_align(
        x.to(wide), rois.to(wide), (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
    ).to(x.dtype)


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
    _add_gradients(
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
    _add_gradients(
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
    return tv.deform_conv2d(x, offset, weight, None, (dH, dW), (padH, padW), (dilationH, dilationW))


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
    _add_gradients(
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
    return tv.deform_conv2d(
        x,
        _refold(offset, size),
        weight,
        None,
        (stride_h, stride_w),
        (pad_h, pad_w),
        (dilation_h, dilation_w),
        _refold(mask, size),
    )


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


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C). target (N,): class index, C = background; weight: (C,) per class, or empty."""
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Add the gradient of the summed loss to ``grad_input``."""
    _add_gradients(
        lambda x: _focal_loss(x, target, weight, gamma, alpha), [input], torch.ones_like(input), [grad_input]
    )


def _focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    one_hot = (target[:, None] == torch.arange(logits.size(1), device=logits.device)).to(logits.dtype)
    loss = tv.sigmoid_focal_loss(logits, one_hot, alpha, gamma)
    return loss * weight[target][:, None] if weight.numel() else loss


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
    _add_gradients(
        lambda v, locations, weights: ms_deform_attn_forward(
            v, spatial_shapes, level_start_index, locations, weights, im2col_step
        ),
        [value, sampling_locations, attention_weights],
        grad_output,
        [grad_value, grad_sampling_loc, grad_attn_weight],
    )


def _add_gradients(
    forward: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor, buffers: Sequence[Tensor]
) -> None:
    """Run ``forward`` on detached ``inputs`` under autograd; add each input's gradient to its buffer."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        output = forward(*leaves)
    for buffer, gradient in zip(buffers, torch.autograd.grad(output, leaves, grad_output), strict=True):
        buffer += gradient
