"""A detector whose parts can be traced once for every image size and text length.

Same weights, same function: what changes is arithmetic that reads sizes as Python numbers. Two parts need it. Swin
rounds its maps up to whole windows by remainders, which a tracer cannot prove to fit; and the bi-directional attention
picks by size how many heads go through at once, which is a matter of memory only.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glipv2_mmdet.models.backbones import TimmBackbone, TimmSwin
from glipv2_mmdet.models.backbones.timm_swin import PadFirstSwinBlock
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.models.layers import BiAttention


class ExportError(ValueError):
    """What cannot be exported; the text says what was given, what was expected and what to do."""


def exportable(detector: GLIPv2) -> GLIPv2:
    """A copy on the CPU, in float32 and eval mode, that traces; weights are shared where they are there already.

    Raises:
        ExportError: the detector has a part that no exported form exists for.
    """
    _check_parts(detector)
    memo = {
        id(tensor): tensor
        for tensor in (*detector.parameters(), *detector.buffers())
        if tensor.device.type == 'cpu' and tensor.dtype in (torch.float32, torch.int64, torch.bool)
    }
    twin = copy.deepcopy(detector, memo).cpu().float().eval()
    for module in twin.modules():
        if isinstance(module, PadFirstSwinBlock):
            module.__class__ = WholeWindowSwinBlock
        elif isinstance(module, BiAttention):
            module.__class__ = OneGroupBiAttention
    return twin


class WholeWindowSwinBlock(PadFirstSwinBlock):
    """The block with its map counted in windows, so that every size after padding is a product."""

    def _attn(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        window_height, window_width = self.window_size
        rows = (height + window_height - 1) // window_height
        columns = (width + window_width - 1) // window_width
        x = F.pad(x, (0, 0, 0, columns * window_width - width, 0, rows * window_height - height))
        shift_y, shift_x = self.shift_size
        shifted = shift_y > 0 or shift_x > 0
        if shifted:
            x = torch.roll(x, (-shift_y, -shift_x), dims=(1, 2))
        x = x.view(batch, rows, window_height, columns, window_width, channels)
        windows = x.transpose(2, 3).reshape(batch * rows * columns, self.window_area, channels)
        windows = self.attn(windows, mask=self._mask(rows, columns, windows) if shifted else None)
        x = windows.view(batch, rows, columns, window_height, window_width, channels).transpose(2, 3)
        x = x.reshape(batch, rows * window_height, columns * window_width, channels)
        if shifted:
            x = torch.roll(x, (shift_y, shift_x), dims=(1, 2))
        return x[:, :height, :width]

    def _mask(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(windows, area, area): 0 inside a region of the shifted map, -100 across regions, as in the plain block."""
        (window_height, window_width), (shift_y, shift_x) = self.window_size, self.shift_size
        row_ids = _region_ids(rows, window_height, shift_y, like.device)[:, None, :, None]
        column_ids = _region_ids(columns, window_width, shift_x, like.device)[None, :, None, :]
        ids = (3 * row_ids + column_ids).reshape(rows * columns, self.window_area)
        return torch.where(ids[:, :, None] == ids[:, None], 0.0, -100.0).to(like.dtype)


class OneGroupBiAttention(BiAttention):
    """All heads at once, whatever the sizes."""

    def _head_groups(self, image: Tensor, text: Tensor) -> list[slice]:
        return [slice(0, self.num_heads)]


def _region_ids(num_windows: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(num_windows, window) which of the three bands of a shifted axis each position belongs to."""
    size = num_windows * window
    position = torch.arange(size, device=device).view(num_windows, window)
    return (position >= size - window).long() + (position >= size - shift).long()


def _check_parts(detector: nn.Module) -> None:
    if not isinstance(detector, GLIPv2):
        raise ExportError(f'A {type(detector).__name__} was given. Expected a GLIPv2 detector.')
    if not isinstance(detector.backbone, TimmSwin) and not _is_convolutional(detector.backbone):
        raise ExportError(
            f'The backbone is {type(detector.backbone).__name__}. Only TimmSwin, and TimmBackbone with a model of '
            'convolutions, have a form for every image size; export a model with such a backbone.'
        )
    for name, what in (('caption_head', 'writes captions word by word'), ('vqa_head', 'answers questions')):
        if getattr(detector, name) is not None:
            raise ExportError(
                f'The model has a {name}, which {what}; only boxes and masks are exported. Build it with '
                f'model.{name}=None.'
            )


def _is_convolutional(backbone: nn.Module) -> bool:
    """Whether it is a timm model without attention, whose windows and positions would be fixed when it is traced.

    Padding that makes strides come out even is fixed too, rightly: images have sides of multiples of 32.
    """
    return isinstance(backbone, TimmBackbone) and not any('attn' in name for name, _ in backbone.named_modules())
