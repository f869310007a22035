"""Any timm model with feature maps as the image backbone of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch
from mmdet.registry import MODELS
from timm.layers import Format
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from glipv2_mmdet.checkpoints.pretrained_image import closest_timm_names, timm_weights
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder


@MODELS.register_module()
class TimmBackbone(PretrainedEncoder):
    """A timm model with ``features_only``, for example ``'tf_efficientnet_lite0'`` or ``'convnext_tiny'``.

    Args:
        name: architecture name of timm.
        out_indices: feature levels to return, fine to coarse, as timm counts them; None for the last three.
        pretrained: weights that a training starts from: a model name of timm's hub, a file, a folder with
            ``model.safetensors`` or ``pytorch_model.bin``, or ``'package:NAME'`` for an installed Python package that
            carries weights.
        from_scratch: a training may start from random weights.
        frozen_norms: batch norms keep their statistics and parameters; a detector's small batches would spoil them.
        frozen_levels: how many of timm's feature levels, counted from the image, do not learn.
        model_args: further arguments of ``timm.create_model``, such as ``drop_path_rate``.
        init_cfg: as in mmengine.

    Raises:
        ValueError: timm has no such model, or the model has no such levels.
    """

    def __init__(
        self,
        name: str,
        out_indices: Sequence[int] | None = None,
        pretrained: str | None = None,
        from_scratch: bool = False,
        frozen_norms: bool = True,
        frozen_levels: int = 0,
        model_args: dict[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, from_scratch, init_cfg)
        if not timm.is_model(name):
            raise ValueError(f'timm {timm.__version__} has no model "{name}". {closest_timm_names(name)}')
        self.name = name
        self.frozen_norms = frozen_norms
        self._build = partial(_create, out_indices=_checked_levels(name, out_indices), model_args=model_args or {})
        # convolutions of few channels are about a sixth faster this way on a CPU, in both directions
        self.model = self._build(name, False).to(memory_format=torch.channels_last)
        self._freeze(frozen_levels)

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of each returned level."""
        return tuple(self.model.feature_info.channels())

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image per position of each returned level."""
        return tuple(self.model.feature_info.reduction())

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training mode; frozen batch norms stay in eval mode."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to one (B, C_i, H / stride_i, W / stride_i) per level, sizes rounded up."""
        levels = self.model(images.contiguous(memory_format=torch.channels_last))
        if getattr(self.model, 'output_fmt', Format.NCHW) == Format.NHWC:
            return tuple(level.permute(0, 3, 1, 2).contiguous() for level in levels)
        return tuple(levels)

    def _load_pretrained(self, source: str) -> None:
        self.model.load_state_dict(timm_weights(self._build, self.name, source))

    def _freeze(self, num_levels: int) -> None:
        modules = self.model.feature_info.module_name(list(range(num_levels)))
        # timm flattens some models, where the module "stages.0" has parameters that begin with "stages_0."
        prefixes = tuple(f'{name}.' for module in modules for name in (module, module.replace('.', '_')))
        names = [name for name, _ in self.model.named_parameters()]
        last = max((number for number, name in enumerate(names) if name.startswith(prefixes)), default=-1)
        if num_levels and last < 0:
            raise ValueError(
                f'frozen_levels is {num_levels}, but the parameters of the first levels of "{self.name}" cannot be '
                'told apart in timm. Set frozen_levels=0.'
            )
        for number, parameter in enumerate(self.model.parameters()):
            if number <= last:
                parameter.requires_grad_(False)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.requires_grad_(False)


def _create(
    name: str, pretrained: bool, out_indices: Sequence[int], model_args: dict[str, Any], **overlay: Any
) -> nn.Module:
    return timm.create_model(
        name, pretrained=pretrained, features_only=True, out_indices=tuple(out_indices), **model_args, **overlay
    )


def _checked_levels(name: str, out_indices: Sequence[int] | None) -> tuple[int, ...]:
    """The levels asked for, refused where the model has none of that number."""
    try:
        info = timm.create_model(name, pretrained=False, features_only=True).feature_info
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        raise ValueError(f'timm\'s "{name}" offers no feature levels ({error}). Choose another model.') from error
    strides = [level['reduction'] for level in info.info]
    if out_indices is None:
        return tuple(range(len(strides)))[-3:]
    if not out_indices or any(not -len(strides) <= index < len(strides) for index in out_indices):
        levels = ', '.join(f'{number} (stride {stride})' for number, stride in enumerate(strides))
        raise ValueError(f'out_indices is {tuple(out_indices)}, but "{name}" has the levels {levels}.')
    return tuple(index % len(strides) for index in out_indices)
