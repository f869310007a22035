"""timm's Swin Transformer as a detection backbone: any image size, one normalised map per requested stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, window_partition
from torch import Tensor, nn

from glipv2_mmdet.checkpoints.pretrained_image import load_swin_weights
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder


@MODELS.register_module()
class TimmSwin(PretrainedEncoder):
    """Swin Transformer (Liu et al., 2021) through timm, for images of any size.

    Args:
        embed_dim: width of the first stage; each stage doubles it.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: side of an attention window, in tokens.
        drop_path_rate: stochastic depth of the last block; earlier ones get a linear share.
        out_indices: stages to return; stage i has stride 4 * 2^i.
        grad_checkpointing: trade computing time for memory in training.
        pretrained: weights that a training starts from: a name of timm's hub, such as
            ``'swin_tiny_patch4_window7_224.ms_in1k'``, a folder or a file (timm's names, the original ones, or UniCL).
        from_scratch: a training may start from random weights.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        drop_path_rate: float = 0.2,
        out_indices: Sequence[int] = (1, 2, 3),
        grad_checkpointing: bool = False,
        pretrained: str | None = None,
        from_scratch: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, from_scratch, init_cfg)
        self.out_indices = tuple(out_indices)
        # always_partition keeps the window shift of the last stage, which timm otherwise drops when that stage
        # is one window wide at its nominal 224 px; trained weights expect the shift at every size
        model = SwinTransformer(
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            drop_path_rate=drop_path_rate,
            num_classes=0,
            global_pool='',
            always_partition=True,
            strict_img_size=False,
        )
        model.patch_embed.dynamic_img_pad = True  # sides that are no multiple of the patch
        model.norm = nn.Identity()
        for module in model.modules():
            if isinstance(module, SwinTransformerBlock):
                module.__class__ = PadFirstSwinBlock
        model.set_grad_checkpointing(grad_checkpointing)
        self.model = model
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dim * 2**i) for i in self.out_indices)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to one (B, C_i, H / stride_i, W / stride_i) per ``out_indices``, sizes rounded up."""
        x = self.model.patch_embed(images)
        levels = {}
        for i, stage in enumerate(self.model.layers):
            x = stage(x)
            levels[i] = x
        return tuple(
            norm(levels[i]).permute(0, 3, 1, 2).contiguous()
            for i, norm in zip(self.out_indices, self.norms, strict=True)
        )

    def _load_pretrained(self, source: str) -> None:
        # the norms of the returned levels are the detector's own, and start as the identity
        load_swin_weights(self.model, source)


class PadFirstSwinBlock(SwinTransformerBlock):
    """timm's block for maps whose sides are no multiple of the window.

    timm shifts the map and then pads it; the detection code that trained weights come from pads and then shifts,
    which puts the padding inside the border windows. Padding before handing over makes timm's own pad a no-op,
    and its shifted attention the expected one. TimmSwin changes the class of timm's finished blocks, because timm
    has no argument for the block class; parameters and names stay timm's.
    """

    def get_attn_mask(
        self, x: Tensor | None = None, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Tensor | None:
        """timm's mask of a shifted map, built once per size instead of once per call."""
        if x is None or not any(self.shift_size):
            return super().get_attn_mask(x, device, dtype)
        return _shift_mask(x.shape[1], x.shape[2], self.window_size, self.shift_size, x.device, x.dtype)

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        pad_bottom = -height % self.window_size[0]
        pad_right = -width % self.window_size[1]
        x = super()._attn(F.pad(x, (0, 0, 0, pad_right, 0, pad_bottom)))
        return x[:, :height, :width]


@lru_cache(maxsize=64)
def _shift_mask(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(windows, window area, window area): 0 inside a region of the shifted map, -100 across regions."""
    with torch.inference_mode(False):  # a mask first built at inference must also serve training
        rows = _region_ids(height, window[0], shift[0])
        columns = _region_ids(width, window[1], shift[1])
        regions = (rows[:, None] * 3 + columns[None]).view(1, height, width, 1)
        ids = window_partition(regions, window).flatten(1)
        same_region = ids[:, :, None] == ids[:, None]
        return torch.where(same_region, 0.0, -100.0).to(device=device, dtype=dtype)


def _region_ids(size: int, window: int, shift: int) -> Tensor:
    """(size,) which of the three bands of a shifted axis each position belongs to."""
    position = torch.arange(size)
    return (position >= size - window).long() + (position >= size - shift).long()
