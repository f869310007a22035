"""From fused words to scores over the vocabulary: what guessing a hidden word and the next word have in common.

Source: BERT's language modelling head (Devlin et al., 2019).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glipv2_mmdet.models.layers.number_range import within_half


def add_word_decoder(head: nn.Module, text_channels: int, vocab_size: int, tie_word_embeddings: bool) -> None:
    """The parameters of a head, under the same names in every one.

    Args:
        head: gets ``dense``, ``norm``, ``decoder`` and ``bias``.
        text_channels: width of the fused words.
        vocab_size: tokens to choose from.
        tie_word_embeddings: decode with the encoder's table of word embeddings, handed in with every call: one
            parameter, one name in the checkpoint. False for an encoder whose embeddings have another width: the head
            then has a decoder of its own.
    """
    head.dense = nn.Linear(text_channels, text_channels)
    head.norm = nn.LayerNorm(text_channels, eps=1e-12)
    head.decoder = None if tie_word_embeddings else nn.Linear(text_channels, vocab_size, bias=False)
    head.bias = nn.Parameter(torch.zeros(vocab_size))


def decode_words(head: nn.Module, words: Tensor, word_embeddings: Tensor, name: str) -> Tensor:
    """(..., C) fused words to (..., V) logits.

    Args:
        head: with the parameters of :func:`add_word_decoder`.
        words: (..., C).
        word_embeddings: (V, C) of the encoder; not read by a head with its own decoder.
        name: of the head in the message.

    Raises:
        ValueError: the embeddings do not fit the head.
    """
    decoder = word_embeddings if head.decoder is None else head.decoder.weight
    expected = len(head.bias), head.dense.out_features
    if decoder.shape != expected:
        raise ValueError(
            f'The word embeddings have shape {tuple(decoder.shape)}, the {name} expects {expected} (vocab_size, '
            'text_channels). Set both to those of the text encoder, or tie_word_embeddings=False where the '
            'encoder embeds words at another width.'
        )
    return within_half(F.linear(head.norm(F.gelu(within_half(head.dense(words)))), decoder, head.bias))
