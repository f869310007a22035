"""Word-matched mask logits the public way: a map for every box and every word of the prompt, averaged afterwards.

It is both the opponent in ``benchmarks/mask_head.py`` and the plain form the tests compare with, and it works on
the parameters of a :class:`~glipv2_mmdet.models.mask_heads.HourglassMaskHead`, so that both forms share every
weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dense_match(head: nn.Module, features: Tensor, words: Tensor, images: Tensor, word_map: Tensor) -> Tensor:
    """(R, 2S, 2S) logits; see ``HourglassMaskHead.match``. One image at a time, as in the public code."""
    logits = features.new_zeros(len(features), 2 * features.shape[2], 2 * features.shape[3])
    for image in images.unique().tolist():
        rows = images == image
        unit = F.normalize(words[image], dim=-1)  # (T, C_text)
        projected = head.text_projection(unit / 2) / head.log_scale.exp()  # (T, C)
        pixels = F.relu(head.upsample(features[rows]))  # (R_b, C, 2S, 2S)
        every_word = torch.einsum('rchw,tc->rthw', pixels, projected) + (unit @ head.bias_lang)[:, None, None]
        positive = word_map[rows].to(every_word.dtype)[:, :, None, None]  # (R_b, T, 1, 1)
        logits[rows] = (every_word * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return logits
