"""The fusion neck: image levels and words see each other, block by block.

In: FPN levels and encoded prompts. Out: :class:`~glipv2_mmdet.structures.FusedFeatures`.
Source: GLIP (Li et al., 2022), section 3.2; GLIPv2 keeps it.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glipv2_mmdet.models.layers import BiAttention, DynamicConvBlock, build_text_layer
from glipv2_mmdet.models.layers.levels import join_levels, split_levels
from glipv2_mmdet.structures import FusedFeatures, TextFeatures


@MODELS.register_module()
class VLFusionDyHead(BaseModule):
    """``num_blocks`` x [bi-attention -> text layer -> dynamic convolution].

    Args:
        num_blocks: L; 6 at the tiny scale.
        channels: width of the image levels.
        text_channels: width of the words.
        early_fusion: without it (GLIP-T (A)) only the dynamic convolutions are built, and words never reach the
            image path.
        attention_channels: width of the bi-attention.
        attention_heads: its heads.
        text_heads: heads of the text layers.
        text_ffn_channels: inner width of the text layers; 4 x ``text_channels`` by default.
        dropout: of both attentions, in training.
        num_groups: groups of the GroupNorms in the dynamic convolutions.
        grad_checkpointing: trade computing time for memory in training.
        text_layer: ``'bert'`` (post-LayerNorm) or ``'clip'`` (pre-LayerNorm), the type of the text encoder.
        init_cfg: as in mmengine.
    """

    def __init__(self, num_blocks: int = 6, channels: int = 256, text_channels: int = 768, early_fusion: bool = True,
                 attention_channels: int = 2048, attention_heads: int = 8, text_heads: int = 12,
                 text_ffn_channels: int | None = None, dropout: float = 0.1, num_groups: int = 16,
                 grad_checkpointing: bool = False, text_layer: str = 'bert', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.early_fusion = early_fusion
        self.grad_checkpointing = grad_checkpointing
        blocks = []
        for _ in range(num_blocks):
            parts = nn.ModuleDict()
            if early_fusion:
                parts['attention'] = BiAttention(
                    channels, text_channels, attention_channels, attention_heads, dropout, 1 / num_blocks)
                parts['text_layer'] = build_text_layer(
                    text_layer, text_channels, text_heads, text_ffn_channels or 4 * text_channels, dropout)
            parts['dynamic_conv'] = DynamicConvBlock(channels, num_groups)
            blocks.append(parts)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, levels: Sequence[Tensor], text: TextFeatures, words_only: bool = False) -> FusedFeatures:
        """Fuse.

        Args:
            levels: (B, C, H, W) maps, fine to coarse; any number.
            text: one prompt per image.
            words_only: leave out the last dynamic convolution, which no word reads; the levels are then those before
                it. For answers, which are read from words alone.
        """
        levels, hidden = tuple(levels), text.hidden
        for block in self.blocks:
            if words_only and block is self.blocks[-1]:
                block = {name: part for name, part in block.items() if name != 'dynamic_conv'}
            if self.grad_checkpointing and torch.is_grad_enabled():
                hidden, *levels = checkpoint(self._run, block, hidden, text, *levels, use_reentrant=False)
            else:
                hidden, *levels = self._run(block, hidden, text, *levels)
        fused_text = text.with_hidden(hidden)
        words = fused_text.hidden if self.early_fusion else text.embedded
        return FusedFeatures(levels=tuple(levels), text=fused_text, words=words)

    @staticmethod
    def _run(block: Mapping[str, nn.Module], hidden: Tensor, text: TextFeatures, *levels: Tensor) -> tuple[Tensor, ...]:
        """One block; plain tensors in and out, so that it can be checkpointed."""
        if 'attention' in block:
            mask = text.padding_aware_mask
            image, hidden = block['attention'](join_levels(levels), hidden, mask)
            levels = split_levels(image, levels)
            hidden = block['text_layer'](hidden, mask)
        return hidden, *(block['dynamic_conv'](levels) if 'dynamic_conv' in block else levels)
