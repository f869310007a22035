"""The two compiled operations of mmcv that GLIP needs, from torchvision; for the process of the peer alone.

The deformable convolution is torchvision's under torch's own autograd. That is the same work as mmcv's compiled CPU
kernel; the package's general stand-in (``glipv2_mmdet.compat``) computes one more forward pass in the backward pass,
which would slow the peer down unfairly.
"""

from __future__ import annotations

import importlib.abc
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

import torchvision.ops as tv
from torch import Tensor

EXTENSION = 'mmcv._ext'


def provide_mmcv_ops() -> None:
    """Put the operations in place; before the first ``import mmcv.ops``."""
    spec = ModuleSpec(EXTENSION, _Loader())
    sys.modules[EXTENSION] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[EXTENSION])
    from mmcv.ops import modulated_deform_conv as module

    module.modulated_deform_conv2d = modulated_deform_conv2d


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Kept indices, best first; ``offset`` 1 counts the last pixel as part of the box."""
    return tv.nms(boxes + boxes.new_tensor([0, 0, offset, offset]), scores, iou_threshold)


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """mmcv's function; a steering map that is too large is read from its start, as the compiled kernel does."""
    kernel = weight.shape[2:]
    size = [
        (x.shape[2 + axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    ]
    return tv.deform_conv2d(x, _read_as(offset, size), weight, bias, stride, padding, dilation, _read_as(mask, size))


def _read_as(steering: Tensor, size: list[int]) -> Tensor:
    batch, channels = steering.shape[:2]
    return steering.reshape(batch, -1)[:, : channels * size[0] * size[1]].view(batch, channels, *size)


class _Extension(ModuleType):
    """mmcv asks for all its operations while it loads; those that GLIP does not call exist by name only."""

    def __getattr__(self, name: str) -> object:
        if name.startswith('_'):
            raise AttributeError(f"module '{EXTENSION}' has no attribute '{name}'")
        return None


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Extension(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.nms = nms
