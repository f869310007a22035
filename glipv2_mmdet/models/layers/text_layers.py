"""The text half of a fusion block: words look at words after they have looked at the image."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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

    Source: BERT (Devlin et al., 2019); its place in the neck: GLIP, equation 4.
    """

    def __init__(self, channels: int = 768, num_heads: int = 12, ffn_channels: int = 3072, dropout: float = 0.1,
                 layer_norm_eps: float = 1e-12) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels {channels} must be a multiple of num_heads {num_heads}.')
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.attention_out = nn.Linear(channels, channels)
        self.attention_norm = nn.LayerNorm(channels, eps=layer_norm_eps)
        self.ffn_in = nn.Linear(channels, ffn_channels)
        self.ffn_out = nn.Linear(ffn_channels, channels)
        self.ffn_norm = nn.LayerNorm(channels, eps=layer_norm_eps)
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, words: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, C) to (B, T, C); ``mask`` (B, T) bool is True on real tokens, None when all are real."""
        attended = F.scaled_dot_product_attention(
            self._split_heads(self.query(words)), self._split_heads(self.key(words)),
            self._split_heads(self.value(words)), attn_mask=None if mask is None else mask[:, None, None],
            dropout_p=self.dropout if self.training else 0.0)
        attended = self._drop(self.attention_out(attended.transpose(1, 2).flatten(2)))
        words = self.attention_norm(words + attended)
        return self.ffn_norm(words + self._drop(self.ffn_out(F.gelu(self.ffn_in(words)))))

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, T, N * D) to (B, N, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
