"""The answers a model chooses from: an ordered list, from a config or from a json file.

The order is the meaning of the outputs, and there is no common one: every project that published a head had its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from glipv2_mmdet.text.prompt import shorten

_HOW_TO_MAKE = 'Make one with tools/dataset_converters/vqa_vocabulary.py.'


class AnswerVocabularyError(ValueError):
    """A list of answers that cannot be used; the text says which entry, and how to fix it."""


def read_answers(answers: str | Path | Sequence[str]) -> tuple[str, ...]:
    """V answers in the order of the outputs.

    Args:
        answers: the answers, or the path of a json file with a list of them.

    Raises:
        FileNotFoundError: there is no such file.
        AnswerVocabularyError: not a list of texts, no entry, or one given twice.
    """
    source = 'The list of answers'
    if isinstance(answers, (str, Path)):
        source = f'Answer vocabulary "{answers}"'
        if not Path(answers).is_file():
            raise FileNotFoundError(f'{source} is not there. {_HOW_TO_MAKE}')
        try:
            answers = json.loads(Path(answers).read_text(encoding='utf-8'))
        except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError
            raise AnswerVocabularyError(f'{source} is not json ({error}). {_HOW_TO_MAKE}') from error
    if not isinstance(answers, Sequence) or isinstance(answers, str) or not answers:
        raise AnswerVocabularyError(
            f'{source} is {str(answers)[:60]!r}. Expected a list of answers, such as ["yes", "no", "2"]. {_HOW_TO_MAKE}'
        )
    first_position: dict[str, int] = {}
    for index, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer:
            raise AnswerVocabularyError(f'{source} has {shorten(repr(answer))} at position {index}. Expected a text.')
        if not _is_unicode(answer):
            raise AnswerVocabularyError(
                f'{source} has {ascii(answer)[:60]} at position {index}, with half a '
                f'character (a lone surrogate). Expected valid Unicode. {_HOW_TO_MAKE}'
            )
        earlier = first_position.setdefault(answer, index)
        if earlier != index:
            raise AnswerVocabularyError(
                f'{source} has "{answer}" twice (positions {earlier} and {index}). Expected every answer once.'
            )
    return tuple(answers)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
