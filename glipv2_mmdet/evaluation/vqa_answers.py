"""What VQA v2 counts as the same answer, and what an answer is worth when ten people gave ten.

Pure functions on strings: the metric, the targets of training and the answer vocabulary are made with them.
Source: the public VQA evaluation (Antol et al., 2015; Goyal et al., 2017); its rules, not its code. Those rules
changed in March 2021. Both versions are here, see :data:`EVALUATORS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

#: Answers per question, and how many of the others have to agree before an answer counts in full.
NUM_ANNOTATORS, ENOUGH = 10, 3

#: Versions of the official rule, the present one first. '2021': where annotators differ, their answers and the
#: prediction are normalised in full; where all say the same, texts are compared as they stand (the answer may be text
#: that was read in the image). '2017' (until March 2021): the prediction is always normalised in full, annotators'
#: answers only in their punctuation, and only where annotators differ.
EVALUATORS = ('2021', '2017')

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WITH_COMMA = re.compile(r'\d,\d')
_PERIOD = re.compile(r'\.(?!\d)')
#: The official code passes the flag re.UNICODE (32) where the number of replacements belongs.
_MAX_PERIODS = 32
_ARTICLES = frozenset(('a', 'an', 'the'))
_NUMBERS = {
    word: str(number) for number, word in enumerate('zero one two three four five six seven eight nine ten'.split())
} | {'none': '0'}

_CONTRACTIONS = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
""".split()
_DOUBLE_CONTRACTIONS = [
    *(f"{word}n't've" for word in ('could', 'had', 'might', 'should', 'would')),
    *(
        f"{word}'d've"
        for word in (
            'he',
            'it',
            'she',
            'somebody',
            'someone',
            'something',
            'there',
            'they',
            'we',
            'who',
            'you',
            "y'all",
        )
    ),
    "y'all'll",
    "'ow's'at",
]


def _restorations() -> dict[str, str]:
    """Words that lack an apostrophe, to the words as they should be."""
    table = {word.replace("'", ''): word for word in _CONTRACTIONS}
    for word in _DOUBLE_CONTRACTIONS:
        for place, letter in enumerate(word):
            if letter == "'":
                table[word[:place] + word[place + 1 :]] = word
    # a slip of the official table, which scores have depended on ever since
    table["somebody'd"] = 'somebodyd'
    return table


_RESTORED = _restorations()


def normalise_answer(answer: str) -> str:
    """An answer with punctuation, number words, articles and apostrophes made uniform."""
    return _normalise_words(normalise_punctuation(_normalise_blanks(answer)))


def normalise_punctuation(answer: str) -> str:
    """The punctuation step of :func:`normalise_answer`, the only one for annotators' answers in the rule of 2017.

    A mark beside a blank, or any mark of a text with a number such as '1,000', is deleted; others become a blank.
    """
    has_number = _NUMBER_WITH_COMMA.search(answer) is not None
    result = answer
    for mark in _PUNCTUATION:
        # whether there is a blank beside it is asked of the text as it was given
        is_deleted = has_number or f'{mark} ' in answer or f' {mark}' in answer
        result = result.replace(mark, '' if is_deleted else ' ')
    return _PERIOD.sub('', result, count=_MAX_PERIODS)


def vqa_accuracy(answer: str, annotators: Sequence[str], evaluator: str = EVALUATORS[0]) -> float:
    """Official accuracy of one answer, in [0, 1].

    Each annotator is left out once; the answer gets a third of a point for each of the others who gave it, one point
    at most; the mean of these is the accuracy.

    Args:
        answer: of the model, in any spelling.
        annotators: what people answered, usually ten of them, as the file has it.
        evaluator: one of :data:`EVALUATORS`.

    Raises:
        ValueError: no annotators, or an unknown ``evaluator``.
    """
    check_evaluator(evaluator)
    if not annotators:
        raise ValueError(
            'A question without annotated answers has no accuracy. Leave it out, or write results only '
            '(format_only=True).'
        )
    answer, annotators = _comparable(answer, annotators, evaluator)
    same = [text == answer for text in annotators]
    return sum(min(1.0, (sum(same) - agrees) / ENOUGH) for agrees in same) / len(same)


def check_evaluator(evaluator: str) -> None:
    """Refuse a version of the rule that does not exist.

    Raises:
        ValueError: ``evaluator`` is none of :data:`EVALUATORS`.
    """
    if evaluator not in EVALUATORS:
        raise ValueError(
            f"evaluator is {evaluator!r}. Expected one of {list(EVALUATORS)}: '2021' is the official rule since March "
            "2021, '2017' the one before. Set evaluator='2021'."
        )


def _comparable(answer: str, annotators: Sequence[str], evaluator: str) -> tuple[str, list[str]]:
    """The prediction and the annotators' answers in the form in which the rule compares them."""
    if evaluator == '2017':
        differ = len(set(annotators)) > 1
        return normalise_answer(answer), [normalise_punctuation(text) if differ else text for text in annotators]
    texts = [_normalise_blanks(text) for text in (answer, *annotators)]
    if len(set(texts[1:])) > 1:
        texts = [normalise_answer(text) for text in texts]
    return texts[0], texts[1:]


def leave_one_out_score(count: int) -> float:
    """Training target of an answer that ``count`` of ten people gave: 0, .3, .6, .9, then 1; the mean accuracy."""
    return min(1.0, 0.3 * count)


def capped_score(count: int) -> float:
    """The other common target: a third for each of ``count`` people, 1 at most."""
    return min(1.0, count / ENOUGH)


SOFT_SCORES: dict[str, Callable[[int], float]] = {'leave_one_out': leave_one_out_score, 'capped': capped_score}


def soft_scores(annotators: Sequence[str], kind: str = 'leave_one_out') -> dict[str, float]:
    """What each answer that was given is worth as a training target.

    Args:
        annotators: ten answers as the file has them; they are normalised there already.
        kind: ``'leave_one_out'`` (0, .3, .6, .9, 1) or ``'capped'`` (0, 1/3, 2/3, 1).

    Raises:
        ValueError: any other ``kind``.
    """
    if kind not in SOFT_SCORES:
        raise ValueError(f"soft_scores is '{kind}'. Expected one of {list(SOFT_SCORES)}.")
    return {answer: SOFT_SCORES[kind](count) for answer, count in Counter(annotators).items()}


def majority_answers(answers: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """The most frequent answer of each question type; the baseline that has not looked at the image.

    Args:
        answers: (question type, answer) of every training question.

    Returns:
        Answer by question type, and under ``''`` the most frequent of all. Ties go to the first in the alphabet.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError('No training answers to find the most frequent one of. Check the annotation file.')
    counts: dict[str, Counter[str]] = {'': Counter(answer for _, answer in answers)}
    for question_type, answer in answers:
        counts.setdefault(question_type, Counter())[answer] += 1
    return {kind: min(found, key=lambda answer: (-found[answer], answer)) for kind, found in counts.items()}


def _normalise_blanks(answer: str) -> str:
    return answer.replace('\n', ' ').replace('\t', ' ').strip()


def _normalise_words(answer: str) -> str:
    words = [_NUMBERS.get(word, word) for word in answer.lower().split()]
    return ' '.join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)
