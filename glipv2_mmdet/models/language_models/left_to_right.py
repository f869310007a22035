"""The layers of a text encoder, read left to right: a whole text, or its next word.

transformers has caches for this, but its BERT keeps one only when it is built as a decoder, its CLIP never does, and
both changed their form between the versions that are supported. The sub-modules of a layer did not: they are called
here one by one, the same way for whole texts and for single words, so that both must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glipv2_mmdet.models.layers.causal_attention import attend, left_to_right
from glipv2_mmdet.structures import KeyValues
from glipv2_mmdet.text import TokenBatch

#: (layer, words, mask, past) to (words, keys and values so far); see :func:`bert_layer`.
LayerRun = Callable[[nn.Module, Tensor, Tensor | None, KeyValues | None], tuple[Tensor, KeyValues]]


def bert_layer(
    layer: nn.Module, words: Tensor, mask: Tensor | None, past: KeyValues | None
) -> tuple[Tensor, KeyValues]:
    """One ``BertLayer`` of transformers.

    Args:
        layer: whose weights are used.
        words: (B, T, C).
        mask: bool, True where a word may be read, broadcast to (B, N, T, T); None for everything so far.
        past: of the words before; None when there are none.

    Returns:
        (B, T, C), and the keys and values of all words so far.
    """
    attention = layer.attention.self
    read, present = attend(
        attention.query(words),
        attention.key(words),
        attention.value(words),
        attention.num_attention_heads,
        mask,
        past,
        attention.dropout.p if layer.training else 0.0,
    )
    words = layer.attention.output(read, words)
    return layer.output(layer.intermediate(words), words), present


def clip_layer(
    layer: nn.Module, words: Tensor, mask: Tensor | None, past: KeyValues | None
) -> tuple[Tensor, KeyValues]:
    """One ``CLIPEncoderLayer`` of transformers; the arguments are those of :func:`bert_layer`."""
    attention, normed = layer.self_attn, layer.layer_norm1(words)
    read, present = attend(
        attention.q_proj(normed),
        attention.k_proj(normed),
        attention.v_proj(normed),
        attention.num_heads,
        mask,
        past,
        attention.dropout if layer.training else 0.0,
    )
    words = words + attention.out_proj(read)
    return words + layer.mlp(layer.layer_norm2(words)), present


def run_left_to_right(
    run: LayerRun, layers: Iterable[nn.Module], words: Tensor, tokens: TokenBatch, grad_checkpointing: bool
) -> list[Tensor]:
    """Whole texts.

    Args:
        run: how a layer is run.
        layers: first to last.
        words: (B, T, C) embedded tokens.
        tokens: which of them are real.
        grad_checkpointing: compute inner activations again in the backward pass instead of keeping them.

    Returns:
        (B, T, C) before the first layer and after each of them.
    """
    mask = left_to_right(tokens.mask if tokens.has_padding else None, words.shape[1], words.device)
    outputs = [words]
    for layer in layers:
        if grad_checkpointing and layer.training and torch.is_grad_enabled():
            words, _ = checkpoint(run, layer, words, mask, None, use_reentrant=False)
        else:
            words, _ = run(layer, words, mask, None)
        outputs.append(words)
    return outputs


def step_layers(
    run: LayerRun, layers: Sequence[nn.Module], words: Tensor, past: Sequence[KeyValues] | None
) -> tuple[Tensor, tuple[KeyValues, ...]]:
    """The next word (R, 1, C) of R texts through all layers; ``past`` of each layer comes back one word longer."""
    present = []
    for layer, kept in zip(layers, past or [None] * len(layers), strict=True):
        words, kept = run(layer, words, None, kept)
        present.append(kept)
    return words, tuple(present)
