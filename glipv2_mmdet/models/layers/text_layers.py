"""The text half of a fusion block: words look at words after they have looked at the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glipv2_mmdet.models.layers.causal_attention import attend, left_to_right
from glipv2_mmdet.structures import KeyValues


class BertFusionLayer(nn.Module):
    """One post-LayerNorm transformer layer of BERT's shape, with weights of its own.

    The public implementations clamp at +-50000 around its activations; that only acts on a network that has
    already diverged, and is left out.

    Args:
        channels: width of the words.
        num_heads: attention heads.
        ffn_channels: inner width of the feed-forward part.
        dropout: on attention maps and after both sub-layers, in training.
        layer_norm_eps: BERT's 1e-12.

    Raises:
        ValueError: ``channels`` is no multiple of ``num_heads``.

    Source: BERT (Devlin et al., 2019); its place in the neck: GLIP, equation 4.
    """

    def __init__(
        self,
        channels: int = 768,
        num_heads: int = 12,
        ffn_channels: int = 3072,
        dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        _add_parts(self, channels, ffn_channels, layer_norm_eps)

    def forward(self, words: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, C) to (B, T, C).

        Args:
            words: padded to the longest text.
            mask: (B, T) bool, True on real tokens; None when all are real.
            causal: a word reads itself and the words before it.
        """
        return self._run(words, _reading_mask(words, mask, causal), None)[0]

    def step(self, words: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        """The next word (R, 1, C) of R texts, given what their words before have left; gives the same, one longer."""
        return self._run(words, None, past)

    def _run(self, words: Tensor, mask: Tensor | None, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        read, present = _attend(self, words, mask, past, self.dropout)
        words = self.attention_norm(words + self._drop(read))
        return self.ffn_norm(words + self._drop(self.ffn_out(F.gelu(self.ffn_in(words))))), present

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class ClipFusionLayer(nn.Module):
    """One pre-LayerNorm transformer layer of CLIP's shape, with weights of its own; nothing is dropped, as in CLIP.

    Both sub-layers read normalised words and add to the words as they are, so words leave it unnormalised; whoever
    scores them normalises them.

    Args:
        channels: width of the words.
        num_heads: attention heads.
        ffn_channels: inner width of the feed-forward part.
        layer_norm_eps: 1e-12 in the public GLIP code.

    Raises:
        ValueError: ``channels`` is no multiple of ``num_heads``.

    Source: CLIP (Radford et al., 2021); that GLIPv2-B and -H train with it: GLIPv2, appendix.
    """

    def __init__(
        self, channels: int = 512, num_heads: int = 8, ffn_channels: int = 2048, layer_norm_eps: float = 1e-12
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        _add_parts(self, channels, ffn_channels, layer_norm_eps)

    def forward(self, words: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, C) to (B, T, C); the arguments are those of :class:`BertFusionLayer`."""
        return self._run(words, _reading_mask(words, mask, causal), None)[0]

    def step(self, words: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        """The next word (R, 1, C) of R texts, given what their words before have left; gives the same, one longer."""
        return self._run(words, None, past)

    def _run(self, words: Tensor, mask: Tensor | None, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        read, present = _attend(self, self.attention_norm(words), mask, past)
        words = words + read
        inner = self.ffn_in(self.ffn_norm(words))
        return words + self.ffn_out(inner * torch.sigmoid(1.702 * inner)), present  # CLIP's fast form of GELU


def build_text_layer(kind: str, channels: int, num_heads: int, ffn_channels: int, dropout: float) -> nn.Module:
    """The text layer of one fusion block.

    Args:
        kind: ``'bert'`` or ``'clip'``, as the text encoder.
        channels: width of the words.
        num_heads: attention heads.
        ffn_channels: inner width of the feed-forward part.
        dropout: of BERT's layer; CLIP's has none.

    Raises:
        ValueError: any other ``kind``.
    """
    if kind == 'bert':
        return BertFusionLayer(channels, num_heads, ffn_channels, dropout)
    if kind == 'clip':
        return ClipFusionLayer(channels, num_heads, ffn_channels)
    raise ValueError(
        f"text_layer is '{kind}'. Expected 'bert' (post-LayerNorm) or 'clip' (pre-LayerNorm), the type of "
        'the text encoder.'
    )


def _add_parts(layer: nn.Module, channels: int, ffn_channels: int, layer_norm_eps: float) -> None:
    """The parameters both kinds have, under the same names."""
    if channels % layer.num_heads:
        raise ValueError(f'channels {channels} must be a multiple of num_heads {layer.num_heads}.')
    layer.query = nn.Linear(channels, channels)
    layer.key = nn.Linear(channels, channels)
    layer.value = nn.Linear(channels, channels)
    layer.attention_out = nn.Linear(channels, channels)
    layer.attention_norm = nn.LayerNorm(channels, eps=layer_norm_eps)
    layer.ffn_in = nn.Linear(channels, ffn_channels)
    layer.ffn_out = nn.Linear(ffn_channels, channels)
    layer.ffn_norm = nn.LayerNorm(channels, eps=layer_norm_eps)
    for module in layer.children():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def _reading_mask(words: Tensor, mask: Tensor | None, causal: bool) -> Tensor | None:
    """(B or 1, 1, T or 1, T) bool, which words each word may read; None for all."""
    if causal:
        return left_to_right(mask, words.shape[1], words.device)
    return None if mask is None else mask[:, None, None]


def _attend(
    layer: nn.Module, words: Tensor, mask: Tensor | None, past: KeyValues | None, dropout: float = 0.0
) -> tuple[Tensor, KeyValues]:
    """Self-attention, (B, T, C) to (B, T, C)."""
    read, present = attend(
        layer.query(words),
        layer.key(words),
        layer.value(words),
        layer.num_heads,
        mask,
        past,
        dropout if layer.training else 0.0,
    )
    return layer.attention_out(read), present
