"""Which classes of a long list stand in the prompt of one training image.

All classes with a box, then randomly chosen absent ones as negatives, within the token limit. This is GLIP's
sampling for detection data, without three defects of public code: a background class in the pool, a positive
that is drawn a second time as its own negative, and the same for names that only differ in parentheses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glipv2_mmdet.text.chunking import class_cost, too_long_error
from glipv2_mmdet.text.prompt import PromptError, clean_class_name, shorten
from glipv2_mmdet.text.tokenize import PromptTokenizer


def sample_prompt_classes(
    names: Sequence[str],
    positive_ids: Sequence[int],
    tokenizer: PromptTokenizer,
    rng: np.random.Generator,
    max_negatives: int = 85,
    full_probability: float = 0.5,
    shuffle: bool = True,
) -> list[int]:
    """Choose the classes of one training prompt and their order.

    Args:
        names: All class names of the data set.
        positive_ids: Classes with a box in the image; repeats are fine, none as well.
        tokenizer: Counts tokens and gives the limit.
        rng: Source of all randomness.
        max_negatives: Most classes drawn as negatives; drawn positives are discarded, so there may be fewer.
        full_probability: Chance to draw ``max_negatives``; otherwise the number is uniform from 1 to it.
        shuffle: Random order; False: order of the class list.

    Returns:
        Class ids in prompt order, at least one. Positives that exceed the token limit are absent: their
        boxes cannot be used in this sample.

    Raises:
        PromptError: No names; an id outside the list; a name that is longer than the limit on its own.
    """
    if not len(names):
        raise PromptError('The list of class names is empty. Expected the class names of the data set.')
    budget = tokenizer.max_tokens - 2 + 1  # less start and end; the last class has no dot, but its cost does
    positives = _unique_ids(positive_ids, len(names))
    chosen: list[int] = []
    for index in rng.permutation(positives).tolist():
        cost = class_cost(names[index], tokenizer)
        if cost > tokenizer.max_tokens - 1:
            raise too_long_error(names[index], cost - 1, tokenizer)
        if cost > budget:
            break
        chosen.append(index)
        budget -= cost
    # Positives that found no room are not negatives either: the image shows them.
    used = {_key(names[index]) for index in positives}
    for index in _draw_negatives(len(names), len(chosen), rng, max_negatives, full_probability):
        key = _key(names[index])
        if key in used:
            continue
        cost = class_cost(names[index], tokenizer)
        if cost > tokenizer.max_tokens - 1:
            continue  # no prompt can hold it; an error here would come at random
        if cost > budget:
            break
        used.add(key)
        chosen.append(index)
        budget -= cost
    if not chosen:  # all that were drawn are too long
        cheapest = min(range(len(names)), key=lambda index: class_cost(names[index], tokenizer))
        cost = class_cost(names[cheapest], tokenizer)
        if cost > budget:
            raise too_long_error(names[cheapest], cost - 1, tokenizer)
        chosen = [cheapest]
    return rng.permutation(chosen).tolist() if shuffle else sorted(chosen)


def _draw_negatives(
    num_names: int, num_positives: int, rng: np.random.Generator, max_negatives: int, full_probability: float
) -> list[int]:
    most = min(max_negatives, num_names)
    num_drawn = most
    if most > 1 and rng.random() >= full_probability:
        num_drawn = int(rng.integers(1, most + 1))
    if not num_positives:
        num_drawn = max(num_drawn, 1)  # an image without boxes needs a prompt too
    return rng.choice(num_names, num_drawn, replace=False).tolist()


def _unique_ids(positive_ids: Sequence[int], num_names: int) -> np.ndarray:
    unique = np.unique(np.asarray(positive_ids, dtype=np.int64))
    outside = unique[(unique < 0) | (unique >= num_names)]
    if outside.size:
        raise PromptError(
            f'Class ids {shorten(str(outside.tolist()))} are not in the list of {num_names} '
            f'class names. Expected 0 to {num_names - 1}: check that annotations and class '
            'list belong together.'
        )
    return unique


def _key(name: str) -> str:
    return clean_class_name(name).casefold()
