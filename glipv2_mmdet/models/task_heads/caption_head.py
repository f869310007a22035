"""L_lm: each fused word says which word comes next.

In: words after fusion that have read the image and the words before them, nothing behind. Out: scores over the
vocabulary. Source: GLIPv2 (Zhang et al., 2022), section 4 and appendix: a uni-directional language model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor

from glipv2_mmdet.dist import mean_over_ranks
from glipv2_mmdet.models.task_heads.word_decoder import add_word_decoder, decode_words
from glipv2_mmdet.text import PromptTokenizer, TokenizedPrompt


@MODELS.register_module()
class CaptionHead(BaseModule):
    """Scores the next word of a caption; a detector that has one reads all text left to right.

    The decoder is the encoder's table of word embeddings, handed in with every call, as in ``MLMHead``. The two heads
    have the same parameters under the same names.

    Args:
        text_channels: width of the fused words.
        vocab_size: tokens to choose from.
        tie_word_embeddings: False for an encoder whose embeddings have another width: the head then has a decoder of
            its own.
        label_smoothing: share of the target that is spread over the whole vocabulary.
        loss_weight: factor of the term in the total.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        text_channels: int = 768,
        vocab_size: int = 30522,
        tie_word_embeddings: bool = True,
        label_smoothing: float = 0.1,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.label_smoothing = label_smoothing
        self.loss_weight = loss_weight
        add_word_decoder(self, text_channels, vocab_size, tie_word_embeddings)

    def forward(self, words: Tensor, word_embeddings: Tensor) -> Tensor:
        """(..., C) fused words to (..., V) logits of the word behind each.

        Args:
            words: (..., C).
            word_embeddings: (V, C) of the encoder; not read by a head with its own decoder.

        Raises:
            ValueError: the embeddings do not fit the head.
        """
        return decode_words(self, words, word_embeddings, 'caption head')

    def loss(
        self, words: Tensor, captions: Sequence[TokenizedPrompt], tokenizer: PromptTokenizer, word_embeddings: Tensor
    ) -> Tensor:
        """Cross entropy of the next word, its mean over the words of all ranks.

        The end token is a word to predict, but not where a caption was cut at the token limit. What no caption is
        written with, such as unknown characters, is read and not learnt.

        Args:
            words: (B, T, C) after fusion.
            captions: the B captions they come from.
            tokenizer: the tokenizer they come from.
            word_embeddings: (V, C) of the encoder.
        """
        places, targets = next_word_targets(captions, words.shape[1], tokenizer)
        targets = torch.tensor(targets, dtype=torch.long, device=words.device)
        places = torch.tensor(places, dtype=torch.long, device=words.device)
        logits = self(words.flatten(0, 1)[places], word_embeddings)
        total = F.cross_entropy(logits.float(), targets, reduction='sum', label_smoothing=self.label_smoothing)
        num_words = mean_over_ranks(total.new_tensor(float(len(targets))))
        # at least one word in the *global* batch, however many ranks share it
        return self.loss_weight * total / num_words.clamp(min=1 / get_world_size())


def next_word_targets(
    captions: Sequence[TokenizedPrompt], num_words: int, tokenizer: PromptTokenizer
) -> tuple[list[int], list[int]]:
    """Which words predict which tokens.

    Args:
        captions: of the batch.
        num_words: T, the padded number of tokens.
        tokenizer: the tokenizer they come from.

    Returns:
        Places in the B * T words, and the token behind each of them.
    """
    unwritten = set(tokenizer.unwritten_ids)
    places, targets = [], []
    for row, caption in enumerate(captions):
        behind = caption.input_ids[1:-1] if caption.is_cut else caption.input_ids[1:]
        for position, token in enumerate(behind):
            if token not in unwritten:
                places.append(row * num_words + position)
                targets.append(token)
    return places, targets
