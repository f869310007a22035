"""CoSwin: Swin with convolutional token embedding and merging, the image encoder of the H scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from glipv2_mmdet.checkpoints.pretrained_image import check_same_tensors, read_weights_file
from glipv2_mmdet.models.backbones.timm_swin import TimmSwin
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder


@MODELS.register_module()
class CoSwin(PretrainedEncoder):
    """Swin whose patch embedding and patch mergings are overlapping convolutions, as those of CvT.

    Neither code nor weights nor sizes of CoSwin-H were published. Known from Florence's text: Swin, with the embedding
    layers of CvT in place of its patch embedding and merging. Assumed here:

    * the convolutions: 7 x 7 with stride 4 and padding 2 first, 3 x 3 with stride 2 and padding 1 between stages, each
      followed by a LayerNorm, with biases (CvT's published settings);
    * the blocks: Swin's own, unchanged (relative position bias, shifted windows, pre-LayerNorm);
    * the sizes: those of Swin-H in SimMIM and Swin V2 (width 352, 2-2-18-2 blocks, 32 channels per head). That makes
      681 million parameters; Florence reports 637, so at least one size is another;
    * one LayerNorm per returned level, as TimmSwin has it.

    Args:
        embed_dim: width of the first stage; each stage doubles it.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: side of an attention window, in tokens.
        drop_path_rate: stochastic depth of the last block; earlier ones get a linear share.
        out_indices: stages to return; stage i has stride 4 * 2^i.
        grad_checkpointing: trade computing time for memory in training.
        pretrained: file that a training starts from: the state dict of a module of this class.
        from_scratch: a training may start from random weights; published ones do not exist.
        init_cfg: as in mmengine.

    Source: Florence (Yuan et al., 2021), section 2.3; CvT (Wu et al., 2021), section 3.1.
    """

    def __init__(
        self,
        embed_dim: int = 352,
        depths: Sequence[int] = (2, 2, 18, 2),
        num_heads: Sequence[int] = (11, 22, 44, 88),
        window_size: int = 7,
        drop_path_rate: float = 0.2,
        out_indices: Sequence[int] = (1, 2, 3),
        grad_checkpointing: bool = False,
        pretrained: str | None = None,
        from_scratch: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, from_scratch, init_cfg)
        self.swin = TimmSwin(embed_dim, depths, num_heads, window_size, drop_path_rate, out_indices, grad_checkpointing)
        model = self.swin.model
        model.patch_embed = ConvTokenEmbedding(3, embed_dim, kernel_size=7, stride=4, padding=2)
        for i, stage in enumerate(model.layers[1:]):
            stage.downsample = ConvTokenMerging(embed_dim * 2**i)

    def _load_pretrained(self, source: str) -> None:
        given = read_weights_file(Path(source))
        check_same_tensors(self.state_dict(), given, source)
        self.load_state_dict({name: given[name] for name in self.state_dict()})

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to one (B, C_i, H / stride_i, W / stride_i) per ``out_indices``, sizes rounded up."""
        return self.swin(images)


class ConvTokenEmbedding(nn.Module):
    """Convolution and LayerNorm: (B, C, H, W) to (B, H / stride, W / stride, C'), sizes rounded up."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        # sides that are no multiple of the stride are filled up below and on the right, as Swin does it
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class ConvTokenMerging(ConvTokenEmbedding):
    """The same between two stages of timm's Swin, whose maps have channels last: (B, H, W, C) to half, (..., 2 C)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 2 * channels, kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2))
