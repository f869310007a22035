"""BERT as the text encoder: prompts in, word features out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmdet.registry import MODELS
from torch import Tensor
from transformers import BertConfig, BertModel

from glipv2_mmdet.checkpoints.pretrained_text import load_text_weights
from glipv2_mmdet.models.language_models.left_to_right import bert_layer, run_left_to_right, step_layers
from glipv2_mmdet.models.language_models.prompt_cache import PromptCache
from glipv2_mmdet.models.language_models.prompt_encoding import check_vocab_size, encode_distinct, read_config
from glipv2_mmdet.models.language_models.scratch_init import init_from_scratch
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder
from glipv2_mmdet.structures import KeyValues, TextFeatures
from glipv2_mmdet.text import Prompt, PromptTokenizer, TokenBatch


@MODELS.register_module()
class BertTextEncoder(PretrainedEncoder):
    """BERT (Devlin et al., 2019) without its pooler, and the tokenizer that belongs to it.

    It is built from numbers alone; weights come with a checkpoint, or from ``pretrained`` when a training starts.

    Args:
        config: ``BertConfig`` fields that differ from bert-base-uncased, or a folder with a ``config.json``.
        vocab: see :class:`~glipv2_mmdet.text.PromptTokenizer`; the default vocabulary ships with the package.
        max_tokens: longest prompt, special tokens included.
        num_embedded_layers: how many last layers are averaged into ``embedded``. The public code divides that mean
            by their number once more, and so does this.
        grad_checkpointing: trade computing time for memory in training.
        pretrained: weights that a training starts from: a name on the Hugging Face hub, a folder as transformers saves
            it, or a file.
        from_scratch: start values for a short run without pre-trained weights, see
            :func:`~glipv2_mmdet.models.language_models.scratch_init.init_from_scratch`.
        frozen_words: keep the word vectors as they start, or as a checkpoint has them. They are half of a nano
            model's parameters, and a run on a few dozen words changes nearly none of them.
        init_cfg: as in mmengine.

    Raises:
        FileNotFoundError: there is no vocabulary at ``vocab``, or no ``config.json`` in the folder.
        ValueError: when the vocabulary has more entries than the embedding, or ``config`` a field that is none.
    """

    def __init__(
        self,
        config: dict | str | None = None,
        vocab: str = 'bert-base-uncased',
        max_tokens: int = 256,
        num_embedded_layers: int = 1,
        grad_checkpointing: bool = False,
        pretrained: str | None = None,
        from_scratch: bool = False,
        frozen_words: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, from_scratch, init_cfg)
        bert_config = read_config(BertConfig, config, 'BERT')
        self.tokenizer = PromptTokenizer(vocab, max_tokens=max_tokens)
        check_vocab_size(self.tokenizer, bert_config)
        self.cache = PromptCache()
        self.num_embedded_layers = num_embedded_layers
        self.model = BertModel(bert_config, add_pooling_layer=False)
        if frozen_words:
            self.model.embeddings.word_embeddings.requires_grad_(False)
        if grad_checkpointing:
            self.model.gradient_checkpointing_enable()

    def init_weights(self) -> None:
        """Start values of a run from scratch; a checkpoint is loaded over them."""
        super().init_weights()
        if self.from_scratch:
            init_from_scratch(self.model)

    def _load_pretrained(self, source: str) -> None:
        load_text_weights(self.model, BertModel, source, add_pooling_layer=False)

    @property
    def channels(self) -> int:
        """Width of the word features."""
        return self.model.config.hidden_size

    @property
    def word_embeddings(self) -> Tensor:
        """(V, C) table that the MLM head decodes with."""
        return self.model.get_input_embeddings().weight

    def forward(self, tokens: TokenBatch, causal: bool = False) -> TextFeatures:
        """Encode tokenised prompts, padded to the longest of the batch and no further.

        Args:
            tokens: of B prompts.
            causal: read left to right; a word's features then depend on the words before it only.
        """
        if causal:
            layers = run_left_to_right(
                bert_layer,
                self.model.encoder.layer,
                self.model.embeddings(input_ids=tokens.input_ids),
                tokens,
                self.model.is_gradient_checkpointing,
            )
            hidden = layers[-1]
        else:
            outputs = self.model(
                input_ids=tokens.input_ids,
                attention_mask=tokens.mask.long() if tokens.has_padding else None,
                output_hidden_states=self.num_embedded_layers > 1,
            )
            hidden, layers = outputs.last_hidden_state, outputs.hidden_states
        if self.num_embedded_layers > 1:
            last_layers = torch.stack(layers[-self.num_embedded_layers :])
            embedded = last_layers.mean(dim=0) / self.num_embedded_layers
        else:
            embedded = hidden
        if tokens.has_padding:
            embedded = embedded * tokens.mask.unsqueeze(-1)
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
        return step_layers(bert_layer, self.model.encoder.layer, words, past)
