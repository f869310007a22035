"""Which text goes with which image, where several of either are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from glipv2_mmdet.apis.images import ImageInputError, ImageInputs, InputImage
from glipv2_mmdet.apis.queries import Query
from glipv2_mmdet.text import PromptError
from glipv2_mmdet.text.prompt import shorten


def pair(inputs: ImageInputs, queries: Query | list[Query]) -> tuple[Iterator[tuple[InputImage, Query]], int | None]:
    """Each image with what is asked of it, and how many pairs there are; None for a generator with one text.

    Raises:
        PromptError: an empty list of texts.
        ImageInputError: several texts for a folder, pattern or video, or another number of them than images.
    """
    if isinstance(queries, Query):
        return ((image, queries) for image in inputs), None if inputs.is_stream else len(inputs)
    if not queries:
        raise PromptError('The list of texts is empty. Give one text, or one per image.')
    if inputs.is_single:
        return chain.from_iterable(((image, query) for query in queries) for image in inputs), len(queries)
    if inputs.has_video or inputs.has_found:
        raise ImageInputError(
            'Several texts were given with a folder, pattern or video. Give one text for all of its '
            'images, or a list of images with one text each.'
        )
    if inputs.is_stream:
        return _pair_one_by_one(inputs, queries), len(queries)
    if len(inputs) != len(queries):
        raise ImageInputError(
            f'{len(inputs)} images were given with {len(queries)} texts. Give one text for all '
            'images, or one per image.'
        )
    return zip(inputs, queries, strict=True), len(queries)


def _pair_one_by_one(inputs: ImageInputs, queries: Sequence[Query]) -> Iterator[tuple[InputImage, Query]]:
    """A text each; no image is taken from a generator that no text waits for."""
    images = iter(inputs)
    for number, query in enumerate(queries):
        image = next(images, None)
        if image is None:
            raise ImageInputError(
                f'The generator gave {number} images for {len(queries)} texts. Give one text for all images, '
                'or one per image.'
            )
        yield image, query


def texts(given: Any, what: str) -> list[Any]:
    """The entries of a list of sentences or questions; each is judged where it is read.

    Raises:
        PromptError: it is no list.
    """
    if not isinstance(given, Sequence) or isinstance(given, (bytes, bytearray)):
        raise PromptError(
            f'What was asked is {shorten(repr(given))} ({type(given).__name__}). Expected a {what}, or a '
            'list of them, one per image.'
        )
    return list(given)


def phrases_per_caption(phrases: Any, captions: Sequence[str]) -> Sequence[Any]:
    """What to look for in each of several sentences.

    Raises:
        PromptError: it is no list with an entry per sentence.
    """
    if phrases is None or (isinstance(phrases, int) and phrases == -1):
        return [phrases] * len(captions)
    if not isinstance(phrases, Sequence) or isinstance(phrases, str):
        raise PromptError(
            f'phrases is {shorten(repr(phrases))} ({type(phrases).__name__}). Expected one list of '
            'phrases per sentence.'
        )
    if len(phrases) != len(captions):
        raise PromptError(
            f'phrases has {len(phrases)} entries for {len(captions)} sentences. Give one list of phrases per sentence.'
        )
    return phrases
