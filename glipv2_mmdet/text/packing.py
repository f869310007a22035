"""Captions of other images beside an image's own one, as negatives: what absent names are to a class list.

Alone, nearly every word of a caption is right for some box. Source: GLIP's training code for image-text pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glipv2_mmdet.text.tokenize import PromptTokenizer


def pack_captions(
    caption: str,
    tokens_positive: Sequence[Sequence[Sequence[int]]],
    others: Sequence[str],
    tokenizer: PromptTokenizer,
    rng: np.random.Generator,
) -> tuple[str, list[list[list[int]]]]:
    """One text of a caption and those others that fit the token limit, in random order.

    Every caption ends in a dot. Others that do not fit are left out, and so are repeats and those that say the same
    as the caption: its boxes would be wrong for its own words.

    Args:
        caption: The image's own; it stays whole, however long.
        tokens_positive: K lists of half-open character ranges of the caption, one list per phrase.
        others: Captions of other images, any number.
        tokenizer: Counts tokens and gives the limit.
        rng: Source of all randomness.

    Returns:
        The text, and the ranges in it.
    """
    own = _closed(caption)
    packed, seen = [own], {_key(own)}
    budget = tokenizer.max_tokens - 2 - tokenizer.count_tokens(own)  # less start and end
    for index in rng.permutation(len(others)).tolist():
        other = _closed(others[index])
        cost = tokenizer.count_tokens(other)
        if cost <= budget and _key(other) not in seen:
            packed.append(other)
            seen.add(_key(other))
            budget -= cost
    order = rng.permutation(len(packed)).tolist()
    offset = sum(len(packed[index]) + 1 for index in order[: order.index(0)])
    spans = [[[start + offset, end + offset] for start, end in phrase] for phrase in tokens_positive]
    return ' '.join(packed[index] for index in order), spans


def _closed(caption: str) -> str:
    return caption if caption.rstrip().endswith('.') else f'{caption}.'


def _key(caption: str) -> str:
    return ' '.join(caption.casefold().strip(' .').split())
