"""RoIAlign (averages, by torchvision) and RoIPool."""

from __future__ import annotations

import torch
import torchvision.ops as tv
from torch import Tensor

from glipv2_mmdet.compat.mmcv_stand_in.gradients import add_gradients


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **settings: float
) -> None:
    """Fill ``output`` (R, C, h, w). rois (R, 5): image index and xyxy. Averages only, as in torchvision."""
    output.copy_(_roi_align(input, rois, **settings))


def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **settings: float
) -> None:
    """Add the gradient to ``grad_input``. The input is not given and not needed: RoIAlign is linear in it."""
    add_gradients(lambda x: _roi_align(x, rois, **settings), [torch.zeros_like(grad_input)], grad_output, [grad_input])


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


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill ``output`` (R, C, h, w) with the maximum of each part of each box, and ``argmax`` with its pixel.

    torchvision's RoIPool rounds boxes to whole pixels first; mmcv's, which is done here, rounds each part outwards.

    Args:
        input: (B, C, H, W).
        rois: (R, 5) image index and xyxy; the last pixel belongs to the box.
        output: of zeros; parts outside the map stay 0.
        argmax: int of the same shape; pixel y * W + x, -1 where there is none.
        pooled_height: h.
        pooled_width: w.
        spatial_scale: pixels of the map per pixel of the boxes.
    """
    argmax.fill_(-1)
    size = input.shape[-2:]
    rows = _part_edges(rois[:, 2], rois[:, 4], pooled_height, spatial_scale, size[0]).tolist()
    columns = _part_edges(rois[:, 1], rois[:, 3], pooled_width, spatial_scale, size[1]).tolist()
    for number, image in enumerate(rois[:, 0].long().tolist()):
        for x, (left, right) in enumerate(columns[number]):
            if right <= left:
                continue
            # columns before rows: of equal values the first in reading order counts
            across, where_x = input[image, :, :, left:right].max(dim=2)  # (C, H)
            for y, (top, bottom) in enumerate(rows[number]):
                if bottom <= top:
                    continue
                output[number, :, y, x], where_y = across[:, top:bottom].max(dim=1)
                where_y = where_y + top
                column = where_x.gather(1, where_y[:, None])[:, 0] + left
                argmax[number, :, y, x] = (where_y * size[1] + column).to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add each gradient to the pixel that ``argmax`` names in ``grad_input`` (B, C, H, W)."""
    _, channels, height, width = grad_input.shape
    has_pixel = argmax >= 0
    rows = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)  # (R, C)
    pixels = rows[:, :, None, None] * (height * width) + argmax.clamp(min=0).long()
    flat = grad_input.view(-1)  # mmcv makes it, so it is stored in order
    flat.index_add_(0, pixels[has_pixel], grad_output[has_pixel])


def _part_edges(start: Tensor, end: Tensor, parts: int, scale: float, size: int) -> Tensor:
    """(R, parts, 2) first pixel and the one behind the last of each part, within the map; equal where it is empty."""
    start, end = start * scale, (end + 1) * scale
    length = end - start
    numbers = torch.arange(parts, device=start.device, dtype=start.dtype)
    step = (length / parts)[:, None]
    edges = torch.stack(
        ((numbers * step + start[:, None]).floor(), ((numbers + 1) * step + start[:, None]).ceil()), dim=-1
    )
    edges[length <= 0] = 0
    return edges.clamp(0, size).long()
