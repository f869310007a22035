"""A class list that is longer than the text encoder reads → several prompts.

Used at inference; at training ``negatives.py`` picks a part of the list instead. Peers cut the text and lose
the classes behind the limit, or give them NaN scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from glipv2_mmdet.text.prompt import Prompt, PromptError, class_words, prompt_from_classes, shorten
from glipv2_mmdet.text.tokenize import PromptTokenizer

_NUM_SPECIAL_TOKENS = 2  # start and end


@dataclass(frozen=True)
class PromptChunk:
    """Part of a class list.

    Args:
        prompt: Prompt of these classes alone.
        phrase_ids: Position in the full class list of each phrase of ``prompt``.
    """

    prompt: Prompt
    phrase_ids: tuple[int, ...]


def chunk_prompt(
    prompt: Prompt,
    tokenizer: PromptTokenizer,
    max_classes: int = -1,
    overrides: Mapping[str, Mapping[str, str]] | None = None,
) -> list[PromptChunk]:
    """Split a class list into prompts that fit the text encoder, in order, each as full as possible.

    Args:
        prompt: Any prompt; a sentence, or a list that fits, comes back as one chunk with the same object.
        tokenizer: Gives the token limit and counts tokens.
        max_classes: Most classes per chunk (40 is usual for LVIS); 0 or less: only the token limit counts.
        overrides: Those the prompt was made with, see :func:`prompt_from_classes`.

    Raises:
        PromptError: One class alone is longer than the limit, or the prompt was made with other overrides.
    """
    # Remembered, because a detector asks again for every image: 1203 classes take some 20 ms to split.
    split = _split if overrides else _remembered_split
    return list(split(prompt, tokenizer, max_classes, overrides or None))


def _split(
    prompt: Prompt, tokenizer: PromptTokenizer, max_classes: int, overrides: Mapping[str, Mapping[str, str]] | None
) -> list[PromptChunk]:
    num_classes = len(prompt.phrases)
    if max_classes <= 0:
        max_classes = num_classes
    budget = tokenizer.max_tokens - _NUM_SPECIAL_TOKENS
    if not prompt.is_detection or (num_classes <= max_classes and tokenizer.count_tokens(prompt.text) <= budget):
        return [PromptChunk(prompt, tuple(range(num_classes)))]
    if prompt_from_classes(prompt.names, overrides).text != prompt.text:
        raise PromptError(
            f"The prompt '{shorten(prompt.text)}' was made with other overrides than "
            f'{shorten(repr(overrides))}. Pass the same ones to chunk_prompt.'
        )
    groups: list[list[int]] = [[]]
    used = 0
    for index, name in enumerate(prompt.names):
        # each class counts its dot; the last one's is never written
        cost = class_cost(name, tokenizer, overrides)
        if cost - 1 > budget:
            raise too_long_error(name, cost - 1, tokenizer)
        if groups[-1] and (used + cost - 1 > budget or len(groups[-1]) == max_classes):
            groups.append([])
            used = 0
        groups[-1].append(index)
        used += cost
    return [_chunk(prompt, group, overrides) for group in groups]


_remembered_split = lru_cache(maxsize=32)(_split)


def class_cost(name: str, tokenizer: PromptTokenizer, overrides: Mapping[str, Mapping[str, str]] | None = None) -> int:
    """Tokens a class takes in a prompt, the dot behind it included."""
    return tokenizer.count_tokens(''.join(class_words(name, overrides)) + '.')


def too_long_error(name: str, num_tokens: int, tokenizer: PromptTokenizer) -> PromptError:
    """The error for a class name that no prompt can hold."""
    return PromptError(
        f"Class name '{shorten(name)}' alone has {num_tokens} tokens, this text encoder reads "
        f'{tokenizer.max_tokens} with start and end. Give the class a shorter name (its words '
        'go into the prompt as they are).'
    )


def _chunk(prompt: Prompt, group: list[int], overrides: Mapping[str, Mapping[str, str]] | None) -> PromptChunk:
    names = [prompt.phrases[index].name for index in group]
    if overrides:  # an override of a class in another chunk is no spelling mistake
        own = {*names, *(class_words(name, None)[1] for name in names)}
        overrides = {name: words for name, words in overrides.items() if name in own}
    return PromptChunk(prompt_from_classes(names, overrides), tuple(group))
