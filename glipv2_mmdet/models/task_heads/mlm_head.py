"""L_mlm: fused words say which token was hidden.

In: words after fusion, so the image helps to guess. Out: scores over the vocabulary at the hidden places.
Source: BERT's language modelling head (Devlin et al., 2019); GLIPv2 (Zhang et al., 2022), section 3.1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor

from glipv2_mmdet.dist import mean_over_ranks
from glipv2_mmdet.models.task_heads.word_decoder import add_word_decoder, decode_words
from glipv2_mmdet.text import (
    MaskedTokens,
    PromptTokenizer,
    StepGenerators,
    TokenizedPrompt,
    mask_tokens,
    maskable_tokens,
)


@MODELS.register_module()
class MLMHead(BaseModule):
    """Hides tokens of training prompts and guesses them.

    The decoder is the encoder's table of word embeddings, handed in with every call: one parameter, one name in the
    checkpoint. Only the places that were hidden are decoded.

    Args:
        text_channels: width of the fused words.
        vocab_size: tokens to choose from.
        tie_word_embeddings: False for an encoder whose embeddings have another width: the head then has a decoder of
            its own.
        mask_probability: chance of each word that may be hidden.
        mask_share: share of the hidden words that become the mask token.
        random_share: share that becomes a random token; the rest stays, and is guessed too.
        loss_weight: factor of the term in the total.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        text_channels: int = 768,
        vocab_size: int = 30522,
        tie_word_embeddings: bool = True,
        mask_probability: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mask_probability = mask_probability
        self.mask_share = mask_share
        self.random_share = random_share
        self.loss_weight = loss_weight
        add_word_decoder(self, text_channels, vocab_size, tie_word_embeddings)
        self._generators = StepGenerators()

    def forward(self, words: Tensor, word_embeddings: Tensor) -> Tensor:
        """(M, C) fused words to (M, V) logits.

        Args:
            words: (..., C).
            word_embeddings: (V, C) of the encoder; not read by a head with its own decoder.

        Raises:
            ValueError: the embeddings do not fit the head.
        """
        return decode_words(self, words, word_embeddings, 'MLM head')

    def mask(
        self, tokenized: Sequence[TokenizedPrompt], present: Sequence[Collection[int]], tokenizer: PromptTokenizer
    ) -> MaskedTokens:
        """Hide words of the prompts of one step; detection and grounding read the same masked prompts.

        Args:
            tokenized: one prompt per image; equal prompts are hidden differently.
            present: per image the phrases that own a box.
            tokenizer: the tokenizer they come from.
        """
        return mask_tokens(
            tokenizer.collate(tokenized),
            maskable_tokens(tokenized, present, tokenizer),
            tokenizer,
            self._generators.next(),
            self.mask_probability,
            self.mask_share,
            self.random_share,
        )

    def repeat(self, step: int, rank: int) -> None:
        """The next prompts are hidden as that step (from 0) of that rank hid its own, given the same seed."""
        self._generators = StepGenerators(step, rank)

    def loss(self, words: Tensor, masked: MaskedTokens, word_embeddings: Tensor) -> Tensor:
        """Cross entropy at the hidden places, its mean over those of all ranks.

        Args:
            words: (B, T, C) after fusion.
            masked: what was hidden, on the device of ``words``.
            word_embeddings: (V, C) of the encoder.
        """
        logits = self(words.flatten(0, 1)[masked.positions], word_embeddings)
        total = F.cross_entropy(logits.float(), masked.targets, reduction='sum')
        num_masked = mean_over_ranks(total.new_tensor(float(len(masked.positions))))
        # at least one word in the *global* batch, however many ranks share it
        return self.loss_weight * total / num_masked.clamp(min=1 / get_world_size())
