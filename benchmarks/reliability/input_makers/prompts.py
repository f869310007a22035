"""Texts and phrases of every kind, through all that reads text: constructors, tokenizers, BuildPrompt and models."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.apis import inference_detector

from benchmarks.reliability.input_makers.tiny_models import tiny_detector, tiny_inferencer
from benchmarks.reliability.input_makers.verdict import Case, InvalidResult
from benchmarks.word_vocabulary import write_vocabulary
from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.datasets import BuildPrompt
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.text import (
    Phrase,
    Prompt,
    PromptTokenizer,
    chunk_prompt,
    find_noun_phrases,
    parse_prompt,
    prompt_from_caption,
    prompt_from_classes,
    question_prompt,
)

ALPHABET = (
    'abcXYZ 019'
    '._-()[]{}"\'`’,;:!?/&%$#@+*=<>|~^\\'  # separators and punctuation
    '\t\n\r\x00\x1f\x7f\u0085\u00a0\u2028\u3000'  # blanks and controls
    '\u200b\u200d\u202e\ufeff\ufe0f\u0301\u0308'  # no width: joiners, direction, marks, accents
    'éßİıñŁﬁ猫犬。、，ｗ＃カאبहक्ष🐶👩🏽🇫🇷¼²Ⅷ\U000e0041\ud83d\udc36'
)  # the last two are halves of a character
LARGE = 100_000
WRONG_TYPES = (
    None,
    0,
    -1,
    True,
    1.5,
    float('nan'),
    b'cat',
    bytearray(b'cat'),
    object(),
    Ellipsis,
    {},
    {'cat': 1},
    {'cat'},
    [],
    [[]],
    [None],
    [1, 2],
    ['cat', None],
    ['cat', 3.0],
    [['cat']],
    ('',),
    np.array(['cat', 'dog']),
    np.array([1, 2]),
    np.array('cat'),
    np.str_('cat . dog'),
    range(3),
    iter(['cat', 'dog']),
    len,
    str,
)
FIXED = (
    '',
    ' ',
    '.',
    ' . . ',
    '...',
    '\n',
    '\x00',
    '?!',
    '()',
    '(cat)',
    '_',
    'cat',
    'cat . dog',
    'cat.dog',
    'cat,dog;bird',
    'cat . cat',
    'Cat . cat',
    'ß . SS',
    'a(b(c)d)e',
    '((((',
    '))))',
    '(a))',
    'v2.0 . St. Bernard',
    'שלום . مرحبا',
    '猫。犬',
    '\u202ecat . dog',
    '🐶 . 👩🏽',
    '🇫🇷',
    '\ud83d',
    'cat \udc36',
    '\ufeffcat',
    'é' * 3,
    '\u0301',
    '¼',
    '²',
    'Ⅷ',
    '[MASK]',
    '[CLS] cat',
    '[PAD]',
    '[UNK]',
    '[SEP] . [SEP] ',
    '<|endoftext|>',
    '<|startoftext|> cat',
    '##s',
    '[unused1]',
    'answer',
    '0',
    '-1',
)
#: Without a model: a hundred thousand characters, each a trap for something.
HUGE = (
    'a' * LARGE,
    'a ' * (LARGE // 2),
    '.' * LARGE,
    '.' * LARGE + 'a',
    'a' + '.' * LARGE,
    '. ' * (LARGE // 2) + 'a',
    '(' * LARGE + 'a',
    '(' * (LARGE // 2) + 'a' + ')' * (LARGE // 2) + 'b',
    '(a' * (LARGE // 2),
    ' ' * LARGE + 'a',
    '_' * LARGE + 'a',
    'a. ' * (LARGE // 3),
    ' . '.join(f'c{k}' for k in range(14_000)),
    '🐶' * LARGE,
    '猫' * LARGE,
    '\u0301' * LARGE + 'a',
    'the cat ' * (LARGE // 8),
    'red, ' * (LARGE // 5) + 'cat',
    '-'.join('a' * (LARGE // 2)),
    "'s" * (LARGE // 2),
    '\x00' * LARGE + 'a',
    'a\u2028' * (LARGE // 2),
    'İ' * LARGE,
)
#: What goes through a network is cut at its token limit, or costs a pass for every 80 names: few names, long words.
LONG = (
    'a' * LARGE,
    'a ' * (LARGE // 2),
    '.' * LARGE,
    '.' * LARGE + 'a',
    '(' * (LARGE // 2) + 'a' + ')' * (LARGE // 2),
    'the cat ' * (LARGE // 8),
    '🐶' * LARGE,
    ' . '.join(f'c{k}' for k in range(300)),
)
IMAGE = np.full((48, 64, 3), 127, dtype=np.uint8)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless row of cases; the fixed ones come first, in random order."""
    fixed = [
        make(text)
        for text in (*FIXED, *WRONG_TYPES)
        for make in (*_TEXT_MAKERS, *_MODEL_MAKERS)
        # mmdet asks "if text_prompt:", which numpy's arrays do not answer
        if not (isinstance(text, np.ndarray) and 'inference_detector' in make.args[0])
    ]
    fixed += [make(text) for text in HUGE for make in _TEXT_MAKERS]
    fixed += [make(text) for text in LONG for make in _MODEL_MAKERS]
    rng.shuffle(fixed)
    yield from fixed
    while True:
        make = rng.choice(_TEXT_MAKERS if rng.random() < 0.7 else _MODEL_MAKERS)
        yield make(random_prompt(rng))


def random_text(rng: random.Random, most: int = 40) -> str:
    return ''.join(rng.choices(ALPHABET, k=rng.randint(0, most)))


def random_prompt(rng: random.Random) -> Any:
    """A string, or a list of strings, now and then with something else in it."""
    if rng.random() < 0.5:
        return random_text(rng)
    names: list[Any] = [random_text(rng, 12) for _ in range(rng.randint(0, 6))]
    if names and rng.random() < 0.2:
        names.insert(rng.randint(0, len(names)), rng.choice([names[0], None, 3, b'x', '', ['cat']]))
    return names if rng.random() < 0.8 else tuple(names)


def check_prompt(prompt: Any) -> Prompt:
    """What every prompt keeps to.

    Raises:
        InvalidResult: it does not.
    """
    if not isinstance(prompt, Prompt):
        raise InvalidResult(f'a {type(prompt).__name__} and no prompt')
    hash(prompt)
    prompt.text.encode()
    for phrase in prompt.phrases:
        if not phrase.spans or not all(0 <= start < end <= len(prompt.text) for start, end in phrase.spans):
            raise InvalidResult(f'spans {phrase.spans} in {len(prompt.text)} characters')
        if not isinstance(phrase.name, str):
            raise InvalidResult(f'name {phrase.name!r}')
    return prompt


@cache
def tokenizers() -> tuple[PromptTokenizer, PromptTokenizer]:
    """BERT's, and one of CLIP's kind with a few words."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return PromptTokenizer(), PromptTokenizer(write_vocabulary(Path(folder), ['cat', 'dog', 'a', 'red']))


def _text_case(entry: str, subject: Callable, use: Callable[[Any], Any], text: Any) -> Case:
    return Case('prompts', entry, _shown(text), partial(use, text), subject)


def _tokens(text: Any) -> None:
    prompt = prompt_from_caption(text)
    for tokenizer in tokenizers():
        found = tokenizer(prompt)
        if len(found.input_ids) > tokenizer.max_tokens or len(found.phrase_tokens) != len(prompt.phrases):
            raise InvalidResult(f'{len(found.input_ids)} tokens, {len(found.phrase_tokens)} phrases')


def _chunks(text: Any) -> None:
    prompt = parse_prompt(text, custom_entities=True)
    for tokenizer in tokenizers():
        chunks = chunk_prompt(prompt, tokenizer)
        if sorted(k for chunk in chunks for k in chunk.phrase_ids) != list(range(len(prompt.phrases))):
            raise InvalidResult('chunks do not hold every class once')


def _training(text: Any, spans: Any = None) -> None:
    results = dict(
        text=text, gt_bboxes_labels=np.zeros(1, dtype=np.int64), gt_bboxes=np.zeros((1, 4)), img_path='a.jpg'
    )
    if isinstance(text, str):
        results['tokens_positive'] = [[[0, len(text)]]] if spans is None else spans
    check_training_sample(build_prompt()(results))


def check_training_sample(results: dict) -> None:
    """Raises InvalidResult where labels do not count the prompt's phrases."""
    prompt = check_prompt(results['prompt'])
    if not all(0 <= label < len(prompt.phrases) for label in results['gt_bboxes_labels']):
        raise InvalidResult(f'labels {results["gt_bboxes_labels"]} of {len(prompt.phrases)} phrases')


@cache
def build_prompt() -> BuildPrompt:
    return BuildPrompt()


def _noun_phrases(text: Any) -> None:
    for _, spans in find_noun_phrases(text):
        if not all(0 <= start < end <= len(text) for start, end in spans):
            raise InvalidResult(f'spans {spans}')


def _count(text: Any) -> None:
    for tokenizer in tokenizers():
        tokenizer.count_tokens(text)


_TEXT_MAKERS = tuple(
    partial(_text_case, entry, subject, use)
    for entry, subject, use in (
        ('parse_prompt', parse_prompt, lambda text: check_prompt(parse_prompt(text))),
        ('parse_prompt, entities', parse_prompt, lambda text: check_prompt(parse_prompt(text, custom_entities=True))),
        (
            'parse_prompt, overrides',
            parse_prompt,
            lambda text: check_prompt(
                parse_prompt(['cat', 'dog'], overrides=text if isinstance(text, dict) else {'cat': text})
            ),
        ),
        ('prompt_from_classes', prompt_from_classes, lambda text: check_prompt(prompt_from_classes(text))),
        (
            'prompt_from_classes, list',
            prompt_from_classes,
            lambda text: check_prompt(prompt_from_classes([text, 'cat'])),
        ),
        ('prompt_from_caption', prompt_from_caption, lambda text: check_prompt(prompt_from_caption(text, -1))),
        (
            'prompt_from_caption, names',
            prompt_from_caption,
            lambda text: check_prompt(prompt_from_caption('a cat', [[[0, 5]]], names=text)),
        ),
        ('question_prompt', question_prompt, lambda text: check_prompt(question_prompt(text, '[MASK]'))),
        ('Prompt', Prompt, lambda text: check_prompt(Prompt(text, (Phrase('a', ((0, 1),)),), False))),
        ('Phrase', Phrase, lambda text: check_prompt(Prompt('a cat', (Phrase(text, ((0, 1),)),), False))),
        ('find_noun_phrases', find_noun_phrases, _noun_phrases),
        ('PromptTokenizer', PromptTokenizer.__call__, lambda text: tokenizers()[0](text)),
        ('tokens of a caption', prompt_from_caption, _tokens),
        ('PromptTokenizer.count_tokens', PromptTokenizer.count_tokens, _count),
        ('chunk_prompt', chunk_prompt, _chunks),
        ('BuildPrompt', BuildPrompt, _training),
    )
)


def check_boxes(found: Any) -> None:
    """Boxes of a result: finite and inside the image, labels of its phrases.

    Raises:
        InvalidResult: they are not.
    """
    height, width = found.image.shape[:2]
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        raise InvalidResult('boxes or scores are not finite')
    if len(found) and (found.boxes.min() < -1 or (found.boxes[:, 2:] > np.array([width, height]) + 1).any()):
        raise InvalidResult(f'boxes from {found.boxes.min()} to {found.boxes.max()} in {width} x {height}')
    if not all(0 <= label < len(found.phrases) for label in found.labels):
        raise InvalidResult(f'labels {found.labels} of {len(found.phrases)} phrases')
    found.to_json()
    found.draw()


def _detected(text: Any) -> None:
    check_boxes(tiny_inferencer('glipv2-nano').detect(IMAGE, text, threshold=0.0, max_boxes=5))


def _segmented(text: Any) -> None:
    found = tiny_inferencer('glipv2-nano-mask').segment(IMAGE, text, threshold=0.0, max_boxes=2)
    check_boxes(found)
    if found.masks is None or found.masks.shape != (len(found), *IMAGE.shape[:2]):
        raise InvalidResult('no masks')


def _grounded(text: Any) -> None:
    found = tiny_inferencer('glipv2-nano').ground(IMAGE, text, threshold=0.0, max_boxes=5)
    for one in found if isinstance(found, list) else [found]:
        check_boxes(one)


def _grounded_phrases(text: Any) -> None:
    check_boxes(
        tiny_inferencer('glipv2-nano').ground(IMAGE, 'a cat and a cat', phrases=text, threshold=0.0, max_boxes=5)
    )


def _asked(text: Any) -> None:
    answers = tiny_inferencer('glipv2-nano-grounded-vqa').ask(IMAGE, text, threshold=0.0, max_boxes=5)
    for answer in answers if isinstance(answers, list) else [answers]:
        if not answer.best or not all(0 <= score <= 1 for score in answer.scores):
            raise InvalidResult(f'answers {answer}')


def _by_mmdet(text: Any, custom_entities: Any = False) -> None:
    # mmdet drops a prompt that is empty or None and asks the model without one
    result = inference_detector(tiny_detector('glipv2-nano'), IMAGE, text_prompt=text, custom_entities=custom_entities)
    found = result.pred_instances
    if not bool(found.bboxes.isfinite().all()) or len(found.label_names) != len(found):
        raise InvalidResult('boxes or names')


_MODEL_MAKERS = tuple(
    partial(_text_case, entry, subject, use)
    for entry, subject, use in (
        ('GLIPv2Inferencer.detect', GLIPv2Inferencer.detect, _detected),
        ('GLIPv2Inferencer.segment', GLIPv2Inferencer.segment, _segmented),
        ('GLIPv2Inferencer.ground', GLIPv2Inferencer.ground, _grounded),
        ('GLIPv2Inferencer.ground, phrases', GLIPv2Inferencer.ground, _grounded_phrases),
        ('GLIPv2Inferencer.ask', GLIPv2Inferencer.ask, _asked),
        ('inference_detector', GLIPv2.inference_prompt, _by_mmdet),
        ('inference_detector, entities', GLIPv2.inference_prompt, partial(_by_mmdet, custom_entities=True)),
    )
)


def _shown(text: Any) -> str:
    return ascii(text)[:60]
