"""The fusion neck: image levels and words see each other, block by block.

In: FPN levels and encoded prompts. Out: :class:`~glipv2_mmdet.structures.FusedFeatures`.
Source: GLIP (Li et al., 2022), section 3.2; GLIPv2 keeps it.

A text that is read left to right (captions) is looked at by nobody but itself: the image side then runs once per image,
``encode_image``, and the text side over it, ``fuse_text`` for whole texts and ``step`` for the next word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glipv2_mmdet.models.layers import BiAttention, DynamicConvBlock, build_text_layer
from glipv2_mmdet.models.layers.levels import join_levels, level_places, split_levels, take_images
from glipv2_mmdet.structures import EncodedImage, FusedFeatures, KeyValues, TextFeatures


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
        grad_checkpointing: trade computing time for memory in training. True computes whole blocks again in the
            backward pass; ``'attention'`` only the attention between positions and words, whose maps grow with the
            product of both.
        places: words also see where on the image a position is, by a learnt map of its x and y. The paper has no such
            thing; questions about left and right need it in a small model, whose features say little about places.
        text_layer: ``'bert'`` (post-LayerNorm) or ``'clip'`` (pre-LayerNorm), the type of the text encoder.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        num_blocks: int = 6,
        channels: int = 256,
        text_channels: int = 768,
        early_fusion: bool = True,
        attention_channels: int = 2048,
        attention_heads: int = 8,
        text_heads: int = 12,
        text_ffn_channels: int | None = None,
        dropout: float = 0.1,
        num_groups: int = 16,
        grad_checkpointing: bool | str = False,
        places: bool = False,
        text_layer: str = 'bert',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if grad_checkpointing not in (False, True, 'attention'):
            raise ValueError(f"grad_checkpointing is {grad_checkpointing!r}. Expected True, False or 'attention'.")
        self.early_fusion = early_fusion
        self.grad_checkpointing = grad_checkpointing
        blocks = []
        for _ in range(num_blocks):
            parts = nn.ModuleDict()
            if early_fusion:
                parts['attention'] = BiAttention(
                    channels, text_channels, attention_channels, attention_heads, dropout, 1 / num_blocks, places
                )
                parts['text_layer'] = build_text_layer(
                    text_layer, text_channels, text_heads, text_ffn_channels or 4 * text_channels, dropout
                )
            parts['dynamic_conv'] = DynamicConvBlock(channels, num_groups)
            blocks.append(parts)
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self,
        levels: Sequence[Tensor],
        text: TextFeatures,
        words_only: bool = False,
        images: Sequence[int] | None = None,
    ) -> FusedFeatures:
        """Fuse.

        Args:
            levels: (B, C, H, W) maps, fine to coarse; any number.
            text: one prompt per image, or per entry of ``images``; a causal one leaves the image alone.
            words_only: leave out the image half of the last block, which no word reads; the levels are then those
                before it. For answers and captions without boxes, which are read from words alone.
            images: which of the B images each text is about. Where a single block has words only, texts of one image
                share it instead of normalising and reading a copy each; otherwise each gets a copy.
        """
        shared = words_only and self.early_fusion and not text.causal and len(self.blocks) == 1
        if images is not None and not shared:
            levels, images = take_images(levels, images), None
        if text.causal:
            return self.fuse_text(self.encode_image(levels, final_levels=not words_only), text)
        levels, hidden = tuple(levels), text.hidden
        for number, block in enumerate(self.blocks, start=1):
            if words_only and self.early_fusion and number == len(self.blocks):
                image = _prepare(block['attention'], levels)
                hidden = self._saving(self._run_text, block, image, hidden, text.padding_aware_mask, False, images)
            else:
                hidden, *levels = self._saving(self._run, block, hidden, text, *levels)
        fused_text = text.with_hidden(hidden)
        words = fused_text.hidden if self.early_fusion else text.embedded
        return FusedFeatures(levels=tuple(levels), text=fused_text, words=words)

    def encode_image(self, levels: Sequence[Tensor], final_levels: bool = True) -> EncodedImage:
        """Everything that texts read of an image, for texts that the image does not look at.

        Args:
            levels: (B, C, H, W) maps, fine to coarse.
            final_levels: False saves the last dynamic convolution, which only regions need.

        Raises:
            ValueError: this neck has no early fusion, so that words would learn nothing from the image.
        """
        if not self.early_fusion:
            raise ValueError(
                'A text that is read left to right was given to a neck with early_fusion=False, where words never see '
                'the image. Set early_fusion=True for captions.'
            )
        levels, tokens = tuple(levels), []
        for number, block in enumerate(self.blocks, start=1):
            with_levels = final_levels or number < len(self.blocks)
            image, *levels = self._saving(self._run_image, block, with_levels, *levels)
            tokens.append(image)
        return EncodedImage(tokens=tuple(tokens), levels=tuple(levels))

    def fuse_text(self, image: EncodedImage, text: TextFeatures) -> FusedFeatures:
        """Whole causal texts over images that are already encoded.

        Args:
            image: from :meth:`encode_image`.
            text: one prompt per image, causal.
        """
        hidden = text.hidden
        for block, tokens in zip(self.blocks, image.tokens, strict=True):
            hidden = self._saving(self._run_text, block, tokens, hidden, text.padding_aware_mask, True)
        fused_text = text.with_hidden(hidden)
        return FusedFeatures(levels=image.levels, text=fused_text, words=hidden)

    def step(
        self, image: EncodedImage, words: Tensor, past: Sequence[KeyValues] | None
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """The next word of every text, one word's work.

        Args:
            image: B images from :meth:`encode_image`.
            words: (R, 1, C) from the text encoder; R / B texts of every image, those of an image side by side.
            past: per block what the words before have left, in the order of ``words``; None for the first word.

        Returns:
            (R, 1, C) fused words, and ``past`` one word longer.
        """
        present = []
        for index, (block, tokens) in enumerate(zip(self.blocks, image.tokens, strict=True)):
            # reading the image, the texts of one image are like the words of one text: nothing is copied for them
            read = block['attention'].read(tokens, words.view(len(tokens), -1, words.shape[-1]))
            words, kept = block['text_layer'].step(read.view(words.shape), past[index] if past else None)
            present.append(kept)
        return words, tuple(present)

    def _saving(self, run: Callable, *args: object) -> object:
        """``run(*args)``, with its inner activations computed again in the backward pass where that is asked for."""
        if self.grad_checkpointing is True and torch.is_grad_enabled():
            return checkpoint(run, *args, use_reentrant=False)
        return run(*args)

    def _run(self, block: nn.ModuleDict, hidden: Tensor, text: TextFeatures, *levels: Tensor) -> tuple[Tensor, ...]:
        """One block; plain tensors in and out, so that it can be checkpointed."""
        if 'attention' in block:
            mask = text.padding_aware_mask
            exchange = block['attention']
            if self.grad_checkpointing == 'attention' and torch.is_grad_enabled():
                exchange = partial(checkpoint, exchange, use_reentrant=False)
            image, hidden = exchange(join_levels(levels), hidden, mask, _places(block['attention'], levels))
            levels = split_levels(image, levels)
            hidden = block['text_layer'](hidden, mask)
        return hidden, *block['dynamic_conv'](levels)

    @staticmethod
    def _run_image(block: nn.ModuleDict, with_levels: bool, *levels: Tensor) -> tuple[Tensor, ...]:
        """The image half of one block: what its words read, and the next levels if they are wanted."""
        image = _prepare(block['attention'], levels)
        return (image, *block['dynamic_conv'](split_levels(image, levels))) if with_levels else (image,)

    @staticmethod
    def _run_text(
        block: nn.ModuleDict,
        image: Tensor,
        hidden: Tensor,
        mask: Tensor | None,
        causal: bool,
        images: Sequence[int] | None = None,
    ) -> Tensor:
        """The text half of one block."""
        return block['text_layer'](_read(block['attention'], image, hidden, images), mask, causal=causal)


def _prepare(attention: BiAttention, levels: Sequence[Tensor]) -> Tensor:
    """(B, V, C), what words see of the image."""
    return attention.prepare(join_levels(levels), _places(attention, levels))


def _places(attention: BiAttention, levels: Sequence[Tensor]) -> Tensor | None:
    return None if attention.image_place is None else level_places(levels)


def _read(attention: BiAttention, image: Tensor, words: Tensor, images: Sequence[int] | None) -> Tensor:
    """Words look at the image of their text, (R, T, C) to (R, T, C); reading, texts are like the words of one text."""
    if images is None:
        return attention.read(image, words)
    seen: Counter[int] = Counter()
    slots = []
    for index in images:
        slots.append(seen[index])
        seen[index] += 1
    rows = torch.tensor(images, device=words.device), torch.tensor(slots, device=words.device)
    grouped = words.new_zeros(len(image), max(slots) + 1, *words.shape[1:]).index_put(rows, words)
    return attention.read(image, grouped.flatten(1, 2)).view(grouped.shape)[rows]
