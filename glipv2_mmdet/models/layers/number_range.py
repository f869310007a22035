"""Keeps numbers inside what their type, or the next operation, can hold. In range, nothing is changed by a bit."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

#: Half precision overflows just above; the public implementations clamp scores here and trained weights
#: expect it. In float32 and bfloat16 no score of a working network comes near, so only float16 pays for the
#: clamp.
MAX_SCORE = 50000
#: A learned temperature is the exponential of its parameter: 22,026 or its inverse at this limit. CLIP ends at 100.
MAX_LOG_SCALE = 10.0


def within_half(scores: Tensor) -> Tensor:
    """float16 scores at most ``MAX_SCORE`` away from zero, an overflow included; other types as they are.

    A loss of an infinite score is infinite or NaN; one of 50,000 is not, and the score itself gets no gradient.
    """
    return scores.clamp(-MAX_SCORE, MAX_SCORE) if scores.dtype == torch.float16 else scores


def temperature(log_scale: Tensor) -> Tensor:
    """exp(log_scale), neither zero nor infinite whatever the parameter."""
    return log_scale.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp()


def unit_length(words: Tensor) -> Tensor:
    """(..., C) vectors of length one; zeros stay zeros, also in float16, where torch's 1e-12 is zero itself."""
    return F.normalize(words, dim=-1, eps=max(1e-12, torch.finfo(words.dtype).tiny))


@lru_cache(maxsize=16)  # once per process, not for every image of a validation
def warn_not_finite(what: str) -> None:
    """Say that a model's ``what`` are no numbers, where they would otherwise just be missing."""
    print_log(
        f"The model's {what} are not finite numbers, so there is no result. Its weights are, or its precision is, at "
        'fault: check the checkpoint, and predict in float32 or bfloat16 instead of float16.',
        logger='current',
        level=logging.WARNING,
    )


def masked_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """In place: scores that a softmax turns into zeros where ``mask`` (bool, it broadcasts) is False.

    The smallest number, not minus infinity: a row that is masked as a whole then has equal weights, not NaN.
    """
    return scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
