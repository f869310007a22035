"""Between phrases and tokens: which tokens are a phrase, and what a phrase scores.

Classification in GLIP is matching: the head scores tokens, a class is the mean of its tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glipv2_mmdet.text.tokenize import TokenizedPrompt


def phrase_token_map(tokenized: TokenizedPrompt, num_tokens: int) -> Tensor:
    """Which tokens belong to which phrase.

    Args:
        tokenized: Prompt with K phrases.
        num_tokens: T, the (padded) number of tokens of the batch.

    Returns:
        (K, T) bool. A phrase behind the token limit has an empty row.

    Raises:
        ValueError: T is smaller than the prompt.
    """
    if num_tokens < len(tokenized.input_ids):
        raise ValueError(
            f'num_tokens is {num_tokens}, the prompt has {len(tokenized.input_ids)} tokens. '
            'Expected the token number of the batch the prompt is in '
            '(TokenBatch.input_ids.shape[1]).'
        )
    result = torch.zeros(len(tokenized.phrase_tokens), num_tokens, dtype=torch.bool)
    rows = [row for row, tokens in enumerate(tokenized.phrase_tokens) for _ in tokens]
    columns = [token for tokens in tokenized.phrase_tokens for token in tokens]
    result[rows, columns] = True
    return result


def phrase_scores(token_probs: Tensor, phrase_map: Tensor) -> Tensor:
    """Mean probability over the tokens of each phrase (the mean of sigmoids, not the sigmoid of a mean).

    Args:
        token_probs: (..., T) probabilities.
        phrase_map: (K, T) bool, from :func:`phrase_token_map`.

    Returns:
        (..., K) in the type of ``token_probs``; 0 for a phrase without tokens (mmdet gives NaN there).
    """
    num_tokens = phrase_map.sum(-1, keepdim=True).clamp(min=1)
    # Ranking needs the last digits, and there are few tokens: mixed precision would only cost ties.
    with torch.autocast(token_probs.device.type, enabled=False):
        weights = phrase_map.to(torch.float32) / num_tokens
        scores = token_probs.float() @ weights.to(token_probs.device).mT
    return scores.to(token_probs.dtype)
