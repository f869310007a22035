"""L_vqa: fused words say the answer to the question they spell.

In: words after fusion. Out: one score per answer of a fixed vocabulary. Source: GLIPv2 (Zhang et al., 2022), appendix:
attention pooling over the words, two layers with GELU, a linear layer over 3,129 answers. (Its main text says the
start token is read instead; the appendix finds pooling better.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from glipv2_mmdet.models.layers.number_range import masked_scores, warn_not_finite, within_half
from glipv2_mmdet.structures import Answers, TextFeatures
from glipv2_mmdet.text import read_answers


@MODELS.register_module()
class VQAHead(BaseModule):
    """Pools the words of a question and scores every answer.

    Args:
        text_channels: width of the fused words.
        num_answers: V, size of the answer vocabulary.
        answers: the vocabulary in the order of the outputs: a list, or the path of a json list. The data set needs the
            same one. Without it the head trains on scores, and cannot spell an answer.
        hidden_channels: width of the two layers; 2 x ``text_channels`` by default.
        grounded: a question is followed by a token that stands for its answer, and the detector finds boxes for
            the noun phrases of the question and for that token.
        loss_weight: factor of the term in the total.
        test_cfg: ``num_answers_kept`` (5): how many answers are returned per question.
        init_cfg: as in mmengine.

    Raises:
        FileNotFoundError: there is no file ``answers``.
        ValueError: ``answers`` has another number of entries than ``num_answers``; when weights are loaded, it is not
            the vocabulary they were trained with.
    """

    def __init__(
        self,
        text_channels: int = 768,
        num_answers: int = 3129,
        answers: str | Sequence[str] | None = None,
        hidden_channels: int | None = None,
        grounded: bool = False,
        loss_weight: float = 1.0,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.answers = None if answers is None else read_answers(answers)
        if self.answers is not None and len(self.answers) != num_answers:
            raise ValueError(
                f'The answer vocabulary has {len(self.answers)} entries, the VQA head num_answers='
                f'{num_answers}. Set num_answers to its size, or use the vocabulary of the checkpoint.'
            )
        self.grounded = grounded
        self.loss_weight = loss_weight
        self.num_kept = min((test_cfg or {}).get('num_answers_kept', 5), num_answers)
        hidden_channels = hidden_channels or 2 * text_channels
        # words of a pre-LayerNorm text layer come unnormalised
        self.norm = nn.LayerNorm(text_channels)
        self.attention = nn.Linear(text_channels, 1)
        self.layers = nn.Sequential(
            nn.Linear(text_channels, hidden_channels), nn.GELU(), nn.Linear(hidden_channels, hidden_channels), nn.GELU()
        )
        self.classifier = nn.Linear(hidden_channels, num_answers)
        # outputs mean nothing without the order of the vocabulary: checkpoints say which one it was
        self.register_buffer('vocabulary_hash', _vocabulary_hash(self.answers or ()))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        given = state_dict.get(f'{prefix}vocabulary_hash')
        known = (self.vocabulary_hash, _vocabulary_hash(()))  # the second of a head that was trained on scores alone
        if self.answers and given is not None and not any(torch.equal(given.cpu(), own.cpu()) for own in known):
            raise ValueError(
                'The checkpoint was trained with another answer vocabulary than that of model.vqa_head.answers (other '
                f'words, or another order; ours begins {", ".join(self.answers[:5])}). Set answers to the file of the '
                'checkpoint.'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def init_weights(self) -> None:
        """One expected answer per question: with all at one half, the first steps only learn that most are wrong."""
        super().init_weights()
        nn.init.constant_(self.classifier.bias, -math.log(max(self.classifier.out_features - 1, 1)))

    def forward(self, text: TextFeatures) -> Tensor:
        """Fused words (B, T, C) to answer logits (B, V); padding is not read."""
        words = self.norm(text.hidden)
        weights = masked_scores(self.attention(words).squeeze(-1), text.mask).softmax(dim=-1)  # (B, T)
        # padding may hold anything, and zero times infinity is not zero
        words = words.masked_fill(~text.mask.unsqueeze(-1), 0)
        pooled = (weights.unsqueeze(1) @ words).squeeze(1)
        return within_half(self.classifier(self.layers(pooled)))

    def loss(self, text: TextFeatures, targets: Tensor) -> Tensor:
        """Binary cross entropy with soft targets: summed over answers, mean over questions.

        It is the mean over all outputs times V, the common scaling: the few answers that people gave weigh the same
        whatever the size of the vocabulary.

        Args:
            text: after fusion.
            targets: (B, V) in [0, 1].

        Raises:
            ValueError: targets of another vocabulary.
        """
        logits = self(text)
        if targets.shape != logits.shape:
            raise ValueError(
                f'Answer targets have shape {tuple(targets.shape)}, the VQA head expects '
                f'{tuple(logits.shape)} (questions, num_answers). Give the data set and the head the same '
                'answer vocabulary.'
            )
        total = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction='sum')
        return self.loss_weight * total / len(targets)

    def predict(self, text: TextFeatures) -> list[Answers]:
        """The best answers to each of the B questions.

        Raises:
            ValueError: the head has no vocabulary.
        """
        if self.answers is None:
            raise ValueError(
                'The VQA head has no words for its outputs. Set model.vqa_head.answers to the vocabulary '
                'it was trained with (a list, or the path of a json list).'
            )
        scores, indices = self(text).float().sigmoid().topk(self.num_kept, dim=-1)
        answers = [
            Answers(tuple(self.answers[index] for index in row), tuple(row_scores))
            for row, row_scores in zip(indices.tolist(), scores.tolist(), strict=True)
        ]
        if any(math.isnan(score) for row in answers for score in row.scores):
            warn_not_finite('scores of answers')
        return answers


def _vocabulary_hash(answers: Sequence[str]) -> Tensor:
    """(8,) bytes that tell ordered lists of words apart."""
    digest = hashlib.blake2b('\n'.join(answers).encode(), digest_size=8).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)
