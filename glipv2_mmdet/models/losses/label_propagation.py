"""Which (region, word) pairs are positive when regions meet the words of other images, and why.

Pure bookkeeping for L_inter. Inside an image the annotation decides. Across images a region that is annotated with a
category is positive for that category's words in every *detection* prompt: each of them asks for the category, so
calling its words negative would be false. A sentence is about its own image only: "the dog" of one caption is not
the dog of another image, so nothing propagates into or out of sentences.
Source: GLIPv2 (Zhang et al., 2022), section 3.1, "inter-image region-word contrastive loss".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import torch
from torch import Tensor

from glipv2_mmdet.text import Prompt, TokenizedPrompt, clean_class_name

#: Category of what has none: words between names, everything in a sentence. Never equal to anything.
NO_CATEGORY = 0


@dataclass(frozen=True)
class RegionWordLabels:
    """What the regions and words of this rank stand for.

    Attributes:
        annotated: (R, W) bool, True where a region's own annotation names the word; False across images.
        same_image: (R, W) bool, True where region and word are of one image; there ``annotated`` is the answer.
        region_categories: (R,) long, see :func:`category_id`; ``NO_CATEGORY`` for regions of sentences.
        word_categories: (W,) long, likewise.
    """

    annotated: Tensor
    same_image: Tensor
    region_categories: Tensor
    word_categories: Tensor


@lru_cache(maxsize=65536)  # data sets have up to some ten thousand names, each in many prompts
def category_id(name: str) -> int:
    """A category's identity: 64 bits of the hash of its cleaned name, upper and lower case alike.

    Names are what data sets share; a category number means something else in each of them. Processes and machines
    agree without talking. Two of 20,000 names share an id with a probability of about 1e-11.
    """
    cleaned = clean_class_name(name).casefold()
    digest = blake2b(cleaned.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'big', signed=True) or 1


def phrase_categories(prompt: Prompt) -> tuple[int, ...]:
    """Category of each phrase of a detection prompt; ``NO_CATEGORY`` for every phrase of a sentence."""
    return tuple(category_id(name) if prompt.is_detection else NO_CATEGORY for name in prompt.names)


def word_categories(tokenized: TokenizedPrompt) -> list[int]:
    """Category that each token helps to spell; ``NO_CATEGORY`` for all others."""
    categories = [NO_CATEGORY] * len(tokenized.input_ids)
    for category, tokens in zip(phrase_categories(tokenized.prompt), tokenized.phrase_tokens, strict=True):
        for token in tokens:
            categories[token] = category
    return categories


def box_categories(prompt: Prompt, labels: Sequence[int]) -> list[int]:
    """Category of each ground-truth box, whose label counts the prompt's phrases."""
    categories = phrase_categories(prompt)
    return [categories[label] for label in labels]


def positive_pairs(
    annotated: Tensor, same_image: Tensor, categories: Tensor, other_categories: Tensor, start: int = 0
) -> Tensor:
    """Positives of this rank's n rows (regions or words) against all m of the other kind in the global batch.

    Args:
        annotated: (n, k) bool, see :class:`RegionWordLabels`; k of the m belong to this rank.
        same_image: (n, k) bool.
        categories: (n,) long, of the rows.
        other_categories: (m,) long.
        start: where this rank's k begin among the m.

    Returns:
        (n, m) bool.
    """
    known = (categories != NO_CATEGORY).unsqueeze(1)
    positive = (categories.unsqueeze(1) == other_categories) & known
    own = slice(start, start + annotated.shape[1])
    positive[:, own] = torch.where(same_image, annotated, positive[:, own])
    return positive
