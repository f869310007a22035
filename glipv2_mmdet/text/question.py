"""A question as a prompt: plain, or with a place where its answer is grounded.

In: a question, and for grounded training the character spans of boxes on ``question + ' ' + answer``. Out: a
:class:`~glipv2_mmdet.text.Prompt`. Source: grounded VQA, GLIPv2 (Zhang et al., 2022), section 4.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from glipv2_mmdet.text.noun_phrases import find_noun_phrases
from glipv2_mmdet.text.prompt import Phrase, Prompt, PromptError, Span, shorten

#: Name of the phrase that stands for the answer, in labels of boxes.
ANSWER_PHRASE = 'answer'


def question_prompt(
    question: str, answer_token: str | None = None, tokens_positive: Sequence[Sequence[Sequence[int]]] | None = None
) -> Prompt:
    """Make the prompt of a question.

    Args:
        question: as it was asked.
        answer_token: one token behind the question that stands for the unknown answer, so that boxes can belong to
            it (``PromptTokenizer.answer_token``). None: nothing is grounded, and the whole question is one phrase.
        tokens_positive: with ``answer_token``, K lists of half-open character ranges of ``question + ' ' + answer``,
            one list per phrase. A range that reaches the answer becomes the answer token's; the answer itself is
            never in the prompt. None: noun phrases of the question are looked for.

    Returns:
        Prompt whose first K phrases are the given ones; the last phrase is the answer, unless a given one already is.

    Raises:
        PromptError: a question without letter or digit, spans that are no pairs of whole numbers, or a span that is
            empty or negative.
    """
    if not isinstance(question, str) or not any(map(str.isalnum, question)):
        shown = shorten(repr(question))
        raise PromptError(f"Question {shown} has no letter or digit. Expected a sentence such as 'is the dog wet?'.")
    if answer_token is None:
        return Prompt(question, (Phrase(question, ((0, len(question)),)),), is_detection=False)
    answer_span = (len(question) + 1, len(question) + 1 + len(answer_token))
    if tokens_positive is None:
        phrases = [Phrase(name, spans) for name, spans in find_noun_phrases(question)]
    else:
        try:
            phrases = [_phrase(question, spans, answer_span) for spans in tokens_positive]
        except (TypeError, ValueError) as error:
            if isinstance(error, PromptError):
                raise
            raise PromptError(
                f'tokens_positive is {shorten(repr(tokens_positive))}. Expected a list of [start, end] '
                'pairs of whole numbers per phrase, for example [[[0, 5]], [[9, 21]]].'
            ) from error
    if all(answer_span not in phrase.spans for phrase in phrases):
        phrases.append(Phrase(ANSWER_PHRASE, (answer_span,)))
    return Prompt(f'{question} {answer_token}', tuple(phrases), is_detection=False)


def _phrase(question: str, spans: Sequence[Sequence[int]], answer_span: Span) -> Phrase:
    spans = [(operator.index(start), operator.index(end)) for start, end in spans]
    # a span that only touches the answer counts as reaching it
    moved = [answer_span if end >= answer_span[0] else (start, end) for start, end in spans]
    names = [ANSWER_PHRASE if span == answer_span else question[slice(*span)] for span in dict.fromkeys(moved)]
    return Phrase(' / '.join(names), tuple(dict.fromkeys(moved)))
