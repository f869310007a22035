"""Which tokens are hidden for masked language modelling, and what stands in their place.

Comes between tokenizing and the language model: everything after it, detection included, reads the masked prompt.
Source: BERT (Devlin et al., 2019), section 3.1, task 1, and appendix C.2; which words of a prompt may be hidden:
GLIPv2 (Zhang et al., 2022), section 3.1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor

from glipv2_mmdet.text.tokenize import PromptTokenizer, TokenBatch, TokenizedPrompt


@dataclass(frozen=True)
class MaskedTokens:
    """Prompts with hidden tokens, and what was hidden.

    Args:
        tokens: The batch as the language model reads it.
        positions: (M,) long, places in B * T that have to be predicted; some of them look unchanged.
        targets: (M,) long, the token ids that stood there.
    """

    tokens: TokenBatch
    positions: Tensor
    targets: Tensor

    def to(self, device: torch.device | str) -> MaskedTokens:
        """The same on ``device``."""
        return MaskedTokens(self.tokens.to(device), self.positions.to(device), self.targets.to(device))


def maskable_tokens(
    tokenized: Sequence[TokenizedPrompt], present: Sequence[Collection[int]], tokenizer: PromptTokenizer
) -> Tensor:
    """Where a token may be hidden.

    In a detection prompt only words of categories that the image shows: an absent name could be any name. In a
    sentence every word. A prompt of which nothing is annotated is left alone. Special tokens ([CLS], [SEP], [UNK])
    are never hidden, as in BERT; the public GLIP code hides the first two as well.

    Args:
        tokenized: B prompts.
        present: Per prompt the phrases that own a box.
        tokenizer: The tokenizer they come from.

    Returns:
        (B, T) bool, on the host.
    """
    allowed = torch.zeros(len(tokenized), max(len(item.input_ids) for item in tokenized), dtype=torch.bool)
    for row, item, phrases in zip(allowed, tokenized, present, strict=True):
        if item.prompt.is_detection:
            row[[token for phrase in set(phrases) for token in item.phrase_tokens[phrase]]] = True
        elif phrases:
            row[: len(item.input_ids)] = True
        ids = torch.tensor(item.input_ids)
        row[: len(ids)] &= ~torch.isin(ids, torch.tensor(tokenizer.special_ids))
    return allowed


def mask_tokens(
    tokens: TokenBatch,
    allowed: Tensor,
    tokenizer: PromptTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> MaskedTokens:
    """Choose tokens at random and hide them.

    Args:
        tokens: The batch, on the host.
        allowed: (B, T) bool, where a token may be chosen.
        tokenizer: Gives the mask token and the size of the vocabulary.
        generator: Source of all randomness.
        probability: Chance of each allowed token to be chosen.
        mask_share: Share of the chosen ones that become the mask token.
        random_share: Share of them that become any token of the vocabulary; the rest stays as it is.

    Raises:
        ValueError: The vocabulary has no mask token.
    """
    if tokenizer.mask_id is None:
        raise ValueError(
            f'Vocabulary {tokenizer.vocab!r} has no mask token. Expected one for masked language '
            'modelling: give the tokenizer a mask token, or leave out the MLM head.'
        )
    shape = tokens.input_ids.shape
    chosen = allowed & (torch.rand(shape, generator=generator) < probability)
    action = torch.rand(shape, generator=generator)
    substitutes = torch.randint(tokenizer.vocab_size, shape, generator=generator)
    substitutes[action < mask_share] = tokenizer.mask_id
    changed = chosen & (action < mask_share + random_share)
    positions = chosen.flatten().nonzero().squeeze(1)
    return MaskedTokens(
        tokens=replace(tokens, input_ids=torch.where(changed, substitutes, tokens.input_ids)),
        positions=positions,
        targets=tokens.input_ids.flatten()[positions],
    )


class StepGenerators:
    """Random numbers that depend on run seed, rank and step alone.

    Ranks share a seed in mmengine and would hide the same places; a resumed run would start its numbers anew. Here a
    run that was interrupted hides the same words as one that was not. Steps are counted from mmengine's ``iter``.

    Args:
        step: the next step, from 0; by default mmengine's.
        rank: whose numbers these are; by default those of this process.
    """

    def __init__(self, step: int | None = None, rank: int | None = None) -> None:
        self._step = step
        self._rank = rank

    def next(self) -> torch.Generator:
        """The generator of the next step, on the host."""
        if self._step is None:
            self._step = MessageHub.get_current_instance().get_info('iter', 0)
        rank = get_rank() if self._rank is None else self._rank
        # torch reads only 32 bits of a seed on the host, so the three are hashed, not laid side by side
        identity = f'{torch.initial_seed()} {rank} {self._step}'
        self._step += 1
        digest = blake2b(identity.encode(), digest_size=4).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, 'big'))
