"""BERT's layer with the attention written out, on the parameters of a ``BertFusionLayer``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glipv2_mmdet.models.layers import BertFusionLayer


def plain_text_layer(layer: BertFusionLayer, words: Tensor, mask: Tensor | None = None) -> Tensor:
    """Words (B, T, C), mask (B, T) True on real tokens; no dropout."""
    query, key, value = layer.query(words), layer.key(words), layer.value(words)
    width = words.shape[-1] // layer.num_heads
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(width)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, :], float('-inf'))
        heads.append(scores.softmax(dim=-1) @ value[..., part])
    words = layer.attention_norm(words + layer.attention_out(torch.cat(heads, dim=-1)))
    inner = layer.ffn_in(words)
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    return layer.ffn_norm(words + layer.ffn_out(inner))
