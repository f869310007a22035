"""CLIP's text transformer as the text encoder: prompts in, word features out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmdet.registry import MODELS
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from glipv2_mmdet.checkpoints.pretrained_text import load_text_weights
from glipv2_mmdet.models.language_models.left_to_right import clip_layer, run_left_to_right, step_layers
from glipv2_mmdet.models.language_models.prompt_cache import PromptCache
from glipv2_mmdet.models.language_models.prompt_encoding import check_vocab_size, encode_distinct, read_config
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder
from glipv2_mmdet.structures import KeyValues, TextFeatures
from glipv2_mmdet.text import Prompt, PromptTokenizer, TokenBatch


@MODELS.register_module()
class CLIPTextEncoder(PretrainedEncoder):
    """Text transformer of CLIP and UniCL (pre-LayerNorm), made bidirectional, and the tokenizer that belongs to it.

    CLIP reads left to right, because only its last word is used. Here every word is used, so every word sees the whole
    prompt, as in the public GLIP code. CLIP's 77 positions are stretched to ``max_tokens``. It is built from numbers
    alone; weights come with a checkpoint, or from ``pretrained`` when a training starts.

    Args:
        vocab: folder with CLIP's ``vocab.json`` and ``merges.txt`` (or a saved tokenizer), or the path of its
            ``bpe_simple_vocab_16e6.txt.gz``. None ships with this package.
        config: ``CLIPTextConfig`` fields that differ from the published encoder (12 layers, width 512, 8 heads, 49,408
            entries), or a folder with a ``config.json``. Set ``layer_norm_eps=1e-5`` for OpenAI's weights; 1e-12, the
            default, is UniCL's.
        max_tokens: longest prompt, start and end token included.
        grad_checkpointing: trade computing time for memory in training.
        pretrained: weights that a training starts from: a name on the Hugging Face hub, a folder as transformers saves
            it, or a file (CLIP, UniCL).
        from_scratch: a training may start from random weights.
        init_cfg: as in mmengine.

    Raises:
        FileNotFoundError: there is no vocabulary at ``vocab``.
        ValueError: the vocabulary has more entries than the embedding, there are fewer positions than tokens, or
            ``config`` has a field that is none.

    Source: CLIP (Radford et al., 2021), section 2.4; UniCL (Yang et al., 2022); its use: GLIPv2, appendix.
    """

    def __init__(
        self,
        vocab: str,
        config: dict | str | None = None,
        max_tokens: int = 256,
        grad_checkpointing: bool = False,
        pretrained: str | None = None,
        from_scratch: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, from_scratch, init_cfg)
        # the fused attention takes a mask of truth values; transformers' plain one would add it to the scores
        clip_config = read_config(
            CLIPTextConfig, config, 'CLIP text', max_position_embeddings=max_tokens, layer_norm_eps=1e-12
        )
        clip_config._attn_implementation = 'sdpa'
        self.tokenizer = PromptTokenizer(vocab, max_tokens=max_tokens)
        check_vocab_size(self.tokenizer, clip_config)
        if clip_config.max_position_embeddings < max_tokens:
            raise ValueError(
                f'The text encoder has {clip_config.max_position_embeddings} positions, prompts may have {max_tokens} '
                'tokens. Leave config.max_position_embeddings out (the converter stretches a shorter table), or lower '
                'max_tokens.'
            )
        self.cache = PromptCache()
        self._grad_checkpointing = grad_checkpointing
        model = CLIPTextModel(clip_config)
        if grad_checkpointing:
            model.gradient_checkpointing_enable()
        # transformers 4 wraps the three parts once more
        self.model = getattr(model, 'text_model', model)

    def _load_pretrained(self, source: str) -> None:
        load_text_weights(self.model, CLIPTextModel, source)

    @property
    def channels(self) -> int:
        """Width of the word features."""
        return self.model.config.hidden_size

    @property
    def word_embeddings(self) -> Tensor:
        """(V, C) table that the MLM head decodes with."""
        return self.model.embeddings.token_embedding.weight

    def forward(self, tokens: TokenBatch, causal: bool = False) -> TextFeatures:
        """Encode tokenised prompts, padded to the longest of the batch and no further.

        Args:
            tokens: of B prompts.
            causal: read left to right, as CLIP itself does; a word's features then depend on the words before it only.
        """
        # the parts one by one: CLIPTextModel itself always adds its left-to-right mask
        hidden = self.model.embeddings(input_ids=tokens.input_ids)
        if causal:
            *_, hidden = run_left_to_right(
                clip_layer, self.model.encoder.layers, hidden, tokens, self._grad_checkpointing
            )
        else:
            mask = tokens.mask[:, None, None] if tokens.has_padding else None
            hidden = self.model.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        hidden = self.model.final_layer_norm(hidden)
        embedded = hidden * tokens.mask.unsqueeze(-1) if tokens.has_padding else hidden
        return TextFeatures(hidden=hidden, embedded=embedded, mask=tokens.mask, lengths=tokens.lengths, causal=causal)

    def encode(self, prompts: Sequence[Prompt], causal: bool = False) -> TextFeatures:
        """Tokenise and encode; each distinct text once, and at inference not again (:class:`PromptCache`).

        Captions, which are read left to right, differ from image to image and are not kept.
        """
        return encode_distinct(
            self, partial(self, causal=causal), prompts, self.word_embeddings.device, None if causal else self.cache
        )

    def step(
        self, token_ids: Tensor, position: int, past: Sequence[KeyValues] | None
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """The next word of R texts; what ``forward(causal=True)`` says of it, at the cost of one word.

        Args:
            token_ids: (R,).
            position: how many words are before it.
            past: per layer what they have left; None for the first word.

        Returns:
            (R, 1, C) ``hidden``, and ``past`` one word longer.
        """
        positions = torch.full((1, 1), position, device=token_ids.device)
        words = self.model.embeddings(input_ids=token_ids[:, None], position_ids=positions)
        words, present = step_layers(clip_layer, self.model.encoder.layers, words, past)
        return self.model.final_layer_norm(words), present
