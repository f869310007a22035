"""Bi-attention the textbook way: three projections of every image token, two batched products per direction.

This is what the public implementations compute (GLIP, section 3.2), without their clamps, which only cost
time in float32. It is both the opponent in ``benchmarks/fusion.py`` and the plain form the tests compare
with, and it works on the parameters of a :class:`~glipv2_mmdet.models.layers.BiAttention`, so that both forms
share every weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def textbook_bi_attention(
    layer: nn.Module, image: Tensor, text: Tensor, text_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One exchange between image (B, V, C) and text (B, T, C_text); see ``BiAttention.forward``."""
    image = layer.image_norm(image)
    text = layer.text_norm(text)

    query = split_heads(layer.image_query(image) * layer.scale, layer.num_heads)  # (B, N, V, D)
    key = split_heads(layer.text_key(text), layer.num_heads)  # (B, N, T, D)
    image_value = split_heads(layer.image_value(image), layer.num_heads)  # (B, N, V, D)
    text_value = split_heads(layer.text_value(text), layer.num_heads)  # (B, N, T, D)
    scores = torch.matmul(query, key.transpose(2, 3))  # (B, N, V, T)

    text_weights = scores.transpose(2, 3).softmax(dim=-1)  # (B, N, T, V): padded words look at the image too
    if text_mask is not None:
        scores = scores.masked_fill(~text_mask[:, None, None], float('-inf'))
    image_weights = scores.softmax(dim=-1)  # (B, N, V, T)

    image_weights = F.dropout(image_weights, layer.dropout, layer.training)
    text_weights = F.dropout(text_weights, layer.dropout, layer.training)
    image_delta = layer.image_out(join_heads(torch.matmul(image_weights, text_value)))
    text_delta = layer.text_out(join_heads(torch.matmul(text_weights, image_value)))
    return image + layer.gamma_image * image_delta, text + layer.gamma_text * text_delta


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, N * D) to (B, N, T, D)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2).contiguous()


def join_heads(x: Tensor) -> Tensor:
    """(B, N, T, D) to (B, T, N * D)."""
    return x.transpose(1, 2).flatten(2)
