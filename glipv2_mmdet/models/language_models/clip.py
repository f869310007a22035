"""CLIP's text transformer as the text encoder: prompts in, word features out."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from transformers import CLIPTextConfig, CLIPTextModel

from glipv2_mmdet.models.language_models.prompt_encoding import check_vocab_size, encode_distinct, read_config
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import Prompt, PromptTokenizer, TokenBatch


@MODELS.register_module()
class CLIPTextEncoder(BaseModule):
    """Text transformer of CLIP and UniCL (pre-LayerNorm), made bidirectional, and the tokenizer that belongs to it.

    CLIP reads left to right, because only its last word is used. Here every word is used, so every word sees the whole
    prompt, as in the public GLIP code. The converter stretches CLIP's 77 positions to ``max_tokens``. Like every part
    of this package it is built from numbers alone: weights come with a checkpoint, nothing is ever downloaded.

    Args:
        vocab: folder with CLIP's ``vocab.json`` and ``merges.txt`` (or a saved tokenizer), or the path of its
            ``bpe_simple_vocab_16e6.txt.gz``. None ships with this package.
        config: ``CLIPTextConfig`` fields that differ from the published encoder (12 layers, width 512, 8 heads, 49,408
            entries), or a folder with a ``config.json``. Set ``layer_norm_eps=1e-5`` for OpenAI's weights; 1e-12, the
            default, is UniCL's.
        max_tokens: longest prompt, start and end token included.
        grad_checkpointing: trade computing time for memory in training.
        init_cfg: as in mmengine.

    Raises:
        FileNotFoundError: there is no vocabulary at ``vocab``.
        ValueError: the vocabulary has more entries than the embedding, or there are fewer positions than tokens.

    Source: CLIP (Radford et al., 2021), section 2.4; UniCL (Yang et al., 2022); its use: GLIPv2, appendix.
    """

    def __init__(self, vocab: str, config: dict | str | None = None, max_tokens: int = 256,
                 grad_checkpointing: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        # the fused attention takes a mask of truth values; transformers' plain one would add it to the scores
        clip_config = read_config(CLIPTextConfig, config, 'CLIP text', max_position_embeddings=max_tokens,
                                  layer_norm_eps=1e-12)
        clip_config._attn_implementation = 'sdpa'
        self.tokenizer = PromptTokenizer(vocab, max_tokens=max_tokens)
        check_vocab_size(self.tokenizer, clip_config)
        if clip_config.max_position_embeddings < max_tokens:
            raise ValueError(
                f'The text encoder has {clip_config.max_position_embeddings} positions, prompts may have {max_tokens} '
                'tokens. Leave config.max_position_embeddings out (the converter stretches a shorter table), or lower '
                'max_tokens.')
        model = CLIPTextModel(clip_config)
        if grad_checkpointing:
            model.gradient_checkpointing_enable()
        # transformers 4 wraps the three parts once more
        self.model = getattr(model, 'text_model', model)

    @property
    def channels(self) -> int:
        """Width of the word features."""
        return self.model.config.hidden_size

    @property
    def word_embeddings(self) -> torch.Tensor:
        """(V, C) table that the MLM head decodes with."""
        return self.model.embeddings.token_embedding.weight

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenised prompts, padded to the longest of the batch and no further."""
        # the parts one by one: CLIPTextModel itself always adds its left-to-right mask
        hidden = self.model.embeddings(input_ids=tokens.input_ids)
        mask = tokens.mask[:, None, None] if tokens.has_padding else None
        hidden = self.model.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        hidden = self.model.final_layer_norm(hidden)
        embedded = hidden * tokens.mask.unsqueeze(-1) if tokens.has_padding else hidden
        return TextFeatures(hidden=hidden, embedded=embedded, mask=tokens.mask, lengths=tokens.lengths)

    def encode(self, prompts: Sequence[Prompt]) -> TextFeatures:
        """Tokenise and encode; each distinct text passes through the encoder once."""
        return encode_distinct(self, self.tokenizer, prompts, self.word_embeddings.device)
