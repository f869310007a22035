"""Attention among the words of a text, whole or one word after the other.

The three kinds of text layer (BERT's, CLIP's and those of the neck) project words under names of their own and attend
alike. Reading left to right is a mask for a whole text; word by word, it is what the words before have left behind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from glipv2_mmdet.structures import KeyValues


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    mask: Tensor | None = None,
    past: KeyValues | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, KeyValues]:
    """Scaled dot-product attention.

    Args:
        query: (B, T, N * D) of the words that read.
        key: (B, T, N * D) of the same words.
        value: (B, T, N * D).
        num_heads: N.
        mask: bool, True where a word may be read, broadcast to (B, N, T, T); None lets every word read every word.
        past: of the words before these; they are read too.
        dropout: on the attention map.

    Returns:
        (B, T, N * D), and the keys and values of all words so far.
    """
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    present = KeyValues(key, value) if past is None else past.extended(key, value)
    read = F.scaled_dot_product_attention(query, present.keys, present.values, attn_mask=mask, dropout_p=dropout)
    return read.transpose(1, 2).flatten(2), present


def left_to_right(mask: Tensor | None, num_words: int, device: torch.device) -> Tensor:
    """Which words each word may read: itself and the real ones before it.

    Args:
        mask: (B, T) bool, True on real words; None when all are real.
        num_words: T.
        device: of the words.

    Returns:
        (B or 1, 1, T, T) bool, readers in the third dimension.
    """
    before = torch.ones(num_words, num_words, dtype=torch.bool, device=device).tril()[None, None]
    return before if mask is None else before & mask[:, None, None]
