"""Spans, boxes, masks and labels that do not fit their text or picture, through the constructors and transforms."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.input_makers.prompts import build_prompt, check_boxes, check_prompt, check_training_sample
from benchmarks.reliability.input_makers.tiny_models import tiny_inferencer
from benchmarks.reliability.input_makers.verdict import Case, InvalidResult
from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.datasets import BuildPrompt, CaptionPrompt, CleanBoxes, LoadMasks
from glipv2_mmdet.datasets.odvg_records import Place, RecordParser
from glipv2_mmdet.datasets.referring import referring_sample
from glipv2_mmdet.datasets.vqa_records import grounding_of
from glipv2_mmdet.text import Phrase, Prompt, parse_prompt, prompt_from_caption, question_prompt

CAPTION = 'a cat and a dog'
HEIGHT, WIDTH = 40, 60
NAN, INF = math.nan, math.inf
#: One span; the caption has 15 characters.
SPANS = (
    [0, 5],
    (0, 5),
    [0, 15],
    [0, 16],
    [5, 0],
    [3, 3],
    [-1, 5],
    [0, -1],
    [15, 16],
    [5, 6],
    [0, 10**20],
    [0],
    [0, 1, 2],
    [],
    None,
    0,
    -1,
    'ab',
    [0, '5'],
    ['0', '5'],
    [0.0, 5.0],
    [0, NAN],
    [0, INF],
    [True, 5],
    [None, 5],
    [[0, 5]],
    {0: 5},
    {'start': 0},
    np.array([0, 5]),
    np.array([0.0, 5.0]),
    [np.int64(0), np.int64(5)],
    b'ab',
)
#: Everything that could stand where spans per phrase are expected.
TOKENS_POSITIVE = (
    None,
    -1,
    -2,
    0,
    True,
    1.5,
    '',
    'cat',
    b'cat',
    [],
    [[]],
    [None],
    [-1],
    [[], [[0, 5]]],
    {},
    {'cat': [[0, 5]]},
    object(),
    [[[0, 5]]] * 300,
    np.array([[[0, 5]]]),
    np.zeros((0,)),
    (((0, 5),),),
    [[[0, 5], [10, 15]]],
    [[[0, 5]], [[0, 5]]],
    iter([[[0, 5]]]),
    range(2),
)
#: One box of a picture of 40 x 60.
BOXES = (
    [5, 5, 20, 20],
    [0, 0, 60, 40],
    [20, 20, 5, 5],
    [5, 5, 5, 20],
    [5, 5, 5, 5],
    [-10, -10, 5, 5],
    [50, 30, 100, 100],
    [100, 100, 120, 120],
    [-50, -50, -10, -10],
    [NAN, 0, 5, 5],
    [0, 0, NAN, NAN],
    [0, 0, INF, 5],
    [-INF, -INF, INF, INF],
    [0, 0, 1e30, 1e30],
    [0, 0, 1e308, 1e308],
    [0, 0, 10**400, 5],
    [0, 0, 5],
    [0, 0, 5, 5, 5],
    [],
    None,
    0,
    'box',
    '0055',
    ['0', '0', '5', '5'],
    [None] * 4,
    [[0, 0, 5, 5]],
    {},
    {'x': 0},
    [True, False, True, True],
    [0, 0, '5', 5],
    [0, 0, 1e-9, 1e-9],
    (0, 0, 5, 5),
    [0, 0, [5], 5],
    [[[0, 0, 5, 5]]],
)
LABELS = (0, 1, 2, -1, 10**20, 1.0, NAN, '0', None, True, [0], {})
RUN_LENGTHS = dict(size=[HEIGHT, WIDTH], counts=[100, 200, HEIGHT * WIDTH - 300])
MASKS = (
    None,
    [],
    {},
    0,
    'mask',
    b'mask',
    [[]],
    [[1, 2]],
    [[1, 2, 3, 4]],
    [[1, 2, 3, 4, 5]],
    [[1, 2, 3, 4, 5, 6]],
    [[0, 0, 10, 0, 10, 10]],
    [[NAN] * 6],
    [[INF, 0, 10, 0, 10, 10]],
    [[1e30, 0, 10, 0, 10, 10]],
    [['a'] * 6],
    [[None] * 6],
    [[[0, 0], [10, 0], [10, 10]]],
    [[-100, -100, 200, -100, 200, 200, -100, 200]],
    [[500, 500, 510, 500, 510, 510]],
    [[0] * 6],
    [list(range(2000))],
    [[10**400, 0, 1, 1, 2, 2]],
    [[True] * 6],
    RUN_LENGTHS,
    [RUN_LENGTHS],
    [RUN_LENGTHS, [0, 0, 10, 0, 10, 10]],
    {'size': [WIDTH, HEIGHT], 'counts': [HEIGHT * WIDTH]},
    {'size': [HEIGHT, WIDTH]},
    {'counts': [5]},
    {**RUN_LENGTHS, 'size': [HEIGHT]},
    {**RUN_LENGTHS, 'size': 'ab'},
    {**RUN_LENGTHS, 'size': None},
    {**RUN_LENGTHS, 'size': HEIGHT},
    {**RUN_LENGTHS, 'size': [HEIGHT, WIDTH, 1]},
    {**RUN_LENGTHS, 'size': [float(HEIGHT), float(WIDTH)]},
    {**RUN_LENGTHS, 'size': [NAN, NAN]},
    {**RUN_LENGTHS, 'counts': []},
    {**RUN_LENGTHS, 'counts': [1, 2, 3]},
    {**RUN_LENGTHS, 'counts': [10**9]},
    {**RUN_LENGTHS, 'counts': [-5, 10]},
    {**RUN_LENGTHS, 'counts': ['a']},
    {**RUN_LENGTHS, 'counts': [1.5, 2.5]},
    {**RUN_LENGTHS, 'counts': [10**30]},
    {**RUN_LENGTHS, 'counts': [NAN]},
    {**RUN_LENGTHS, 'counts': ''},
    {**RUN_LENGTHS, 'counts': 'zzzz'},
    {**RUN_LENGTHS, 'counts': b'\xff\x00\x80'},
    {**RUN_LENGTHS, 'counts': 'é🐶'},
    {**RUN_LENGTHS, 'counts': '0' * 1000},
    {**RUN_LENGTHS, 'counts': 'P' * 5000},
    {**RUN_LENGTHS, 'counts': None},
    {**RUN_LENGTHS, 'counts': 7},
)


#: What only ever reads json.
_FROM_JSON = ('RecordParser', 'grounding_of', 'referring_sample')


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless row of cases; the fixed ones come first, in random order."""
    fixed = [
        make(spans)
        for spans in (*TOKENS_POSITIVE, *([[span]] for span in SPANS), *([span] for span in SPANS))
        for make in _SPAN_MAKERS
    ]
    fixed += [make(box) for box in BOXES for make in _BOX_MAKERS]
    fixed += [make([mask]) for mask in MASKS for make in _MASK_MAKERS]
    fixed += [make(label) for label in LABELS for make in _LABEL_MAKERS]
    fixed = [case for case in fixed if case is not None]
    rng.shuffle(fixed)
    yield from fixed
    while True:
        makers, given = rng.choice(
            (
                (_SPAN_MAKERS, _random_spans),
                (_BOX_MAKERS, _random_box),
                (_MASK_MAKERS, _random_masks),
                (_LABEL_MAKERS, lambda rng: rng.randint(-3, 3)),
            )
        )
        case = rng.choice(makers)(given(rng))
        if case is not None:
            yield case


def _random_spans(rng: random.Random) -> list:
    def number() -> Any:
        return rng.randint(-2, 18) if rng.random() < 0.95 else rng.choice((None, 'a', 2.5, 10**12))

    return [
        [[number() for _ in range(2 if rng.random() < 0.9 else rng.randint(0, 3))] for _ in range(rng.randint(0, 3))]
        for _ in range(rng.randint(0, 4))
    ]


def _random_box(rng: random.Random) -> list:
    def number() -> Any:
        return rng.uniform(-20, 80) if rng.random() < 0.9 else rng.choice((NAN, INF, -INF, None, 'a', 1e20, 0))

    return [number() for _ in range(4 if rng.random() < 0.9 else rng.randint(0, 6))]


def _random_masks(rng: random.Random) -> list:
    return [
        rng.choice(MASKS)
        if rng.random() < 0.5
        else [[rng.uniform(-30, 90) for _ in range(rng.randint(0, 12))] for _ in range(rng.randint(0, 3))]
        for _ in range(rng.randint(1, 3))
    ]


# --- spans -------------------------------------------------------------------------------------------


def _case(entry: str, subject: Callable, use: Callable[[Any], Any], given: Any) -> Case:
    return Case('annotations', entry, repr(given)[:80], partial(use, given), subject)


def _json_case(entry: str, subject: Callable, use: Callable[[Any], Any], given: Any) -> Case | None:
    """None where no json file could say such a thing."""
    return _case(entry, subject, use, given) if _is_json(given) else None


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or type(value) in (str, int, float, bool)


def _train(text: Any, labels: Any, spans: Any, transform: Callable) -> None:
    results = dict(
        img_path='a.jpg',
        text=text,
        gt_bboxes_labels=np.array(labels, dtype=np.int64),
        gt_bboxes=np.zeros((len(labels), 4)),
        tokens_positive=spans,
    )
    check_training_sample(transform()(results))


@cache
def _caption_prompt() -> CaptionPrompt:
    return CaptionPrompt()


def _ground(spans: Any) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    check_boxes(tiny_inferencer('glipv2-nano').ground(image, CAPTION, phrases=spans, threshold=0.0, max_boxes=3))


def _record(**region: Any) -> dict:
    return dict(
        filename='a.jpg',
        height=HEIGHT,
        width=WIDTH,
        grounding=dict(caption=CAPTION, regions=[dict(dict(bbox=[5, 5, 20, 20], tokens_positive=[[0, 5]]), **region)]),
    )


def _detection(**instance: Any) -> dict:
    return dict(
        filename='a.jpg',
        height=HEIGHT,
        width=WIDTH,
        detection=dict(instances=[dict(dict(bbox=[5, 5, 20, 20], label=0), **instance)]),
    )


def _parse(record: dict) -> None:
    check_sample(RecordParser('', {None: ('cat', 'dog')}, 'label_map.json')(record, Place('a.jsonl', 7)), num_classes=2)


def check_sample(sample: dict, num_classes: int = 0, most_characters: int = 0) -> None:
    """What a reader hands on: finite boxes, whole labels of its own phrases, spans inside its text.

    Raises:
        InvalidResult: it does not keep to that.
    """
    text, spans = sample.get('text'), sample.get('tokens_positive')
    if isinstance(text, str) and spans is not None:
        length = most_characters or len(text)
        if not all(0 <= start < end <= length for phrase in spans for start, end in phrase) or not all(spans):
            raise InvalidResult(f'spans {spans} of {length} characters')
        num_classes = len(spans)
    elif isinstance(text, tuple):
        num_classes = len(text)
    for instance in sample['instances']:
        box, label = instance['bbox'], instance['bbox_label']
        if len(box) != 4 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in box):
            raise InvalidResult(f'box {box}')
        if type(label) is not int or not 0 <= label < max(num_classes, 1):
            raise InvalidResult(f'label {label!r} of {num_classes}')
    if 'height' in sample and not all(type(sample[key]) is int and sample[key] > 0 for key in ('height', 'width')):
        raise InvalidResult(f'size {sample["height"]!r} x {sample["width"]!r}')


_SPAN_MAKERS = tuple(
    partial(_json_case if entry.startswith(_FROM_JSON) else _case, entry, subject, use)
    for entry, subject, use in (
        ('prompt_from_caption', prompt_from_caption, lambda spans: check_prompt(prompt_from_caption(CAPTION, spans))),
        ('parse_prompt', parse_prompt, lambda spans: check_prompt(parse_prompt(CAPTION, tokens_positive=spans))),
        ('Prompt', Prompt, lambda spans: check_prompt(Prompt(CAPTION, (Phrase('cat', spans),), False))),
        ('Prompt, phrases', Prompt, lambda phrases: check_prompt(Prompt(CAPTION, phrases, False))),
        ('question_prompt', question_prompt, lambda spans: check_prompt(question_prompt(CAPTION, '[MASK]', spans))),
        ('BuildPrompt', BuildPrompt, lambda spans: _train(CAPTION, [0], spans, build_prompt)),
        ('CaptionPrompt', CaptionPrompt, lambda spans: _train(CAPTION, [0], spans, _caption_prompt)),
        ('GLIPv2Inferencer.ground', GLIPv2Inferencer.ground, _ground),
        ('RecordParser', RecordParser.__call__, lambda spans: _parse(_record(tokens_positive=spans))),
        (
            'RecordParser, regions',
            RecordParser.__call__,
            lambda regions: _parse({**_record(), 'grounding': dict(caption=CAPTION, regions=regions)}),
        ),
        (
            'grounding_of',
            grounding_of,
            lambda spans: check_sample(
                grounding_of(
                    dict(question_id=1, text='a cat', caption=CAPTION, tokens_positive=spans, bboxes=[[5, 5, 20, 20]]),
                    'a.jsonl:1',
                ),
                most_characters=len(CAPTION),
            ),
        ),
    )
)


# --- boxes and labels --------------------------------------------------------------------------------


def _clean(box: Any) -> None:
    """Boxes come as arrays of four columns; only their numbers can be wrong."""
    try:
        boxes = np.array([box, [5, 5, 20, 20]], dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        return
    if boxes.shape != (2, 4):
        return
    results = CleanBoxes()(dict(gt_bboxes=boxes, gt_bboxes_labels=np.array([0, 1]), img_shape=(HEIGHT, WIDTH)))
    kept = results['gt_bboxes']
    if not (np.isfinite(kept).all() and ((kept[:, 2:] - kept[:, :2]) >= 1).all() and 1 in results['gt_bboxes_labels']):
        raise InvalidResult(f'boxes {kept.tolist()}')


_BOX_MAKERS = tuple(
    partial(_json_case if entry.startswith(_FROM_JSON) else _case, entry, subject, use)
    for entry, subject, use in (
        ('RecordParser, region', RecordParser.__call__, lambda box: _parse(_record(bbox=box))),
        ('RecordParser, boxes', RecordParser.__call__, lambda box: _parse(_record(bbox=[[5, 5, 20, 20], box]))),
        ('RecordParser, instance', RecordParser.__call__, lambda box: _parse(_detection(bbox=box))),
        (
            'referring_sample',
            referring_sample,
            lambda box: check_sample(
                referring_sample(1, 1, 'a.jpg', HEIGHT, WIDTH, 'a cat', [box], [[[0, 0, 10, 0, 10, 10]]], 'a.jsonl:1')
            ),
        ),
        (
            'referring_sample, all',
            referring_sample,
            lambda boxes: check_sample(referring_sample(1, 1, 'a.jpg', HEIGHT, WIDTH, 'a cat', boxes, [], 'a.jsonl:1')),
        ),
        (
            'grounding_of',
            grounding_of,
            lambda box: check_sample(
                grounding_of(
                    dict(question_id=1, text='a cat', caption=CAPTION, tokens_positive=[[[0, 5]]], bboxes=[box]),
                    'a.jsonl:1',
                ),
                most_characters=len(CAPTION),
            ),
        ),
        ('CleanBoxes', CleanBoxes, _clean),
    )
)
_LABEL_MAKERS = tuple(
    partial(_json_case if entry.startswith(_FROM_JSON) else _case, entry, subject, use)
    for entry, subject, use in (
        ('RecordParser, label', RecordParser.__call__, lambda label: _parse(_detection(label=label))),
        (
            'BuildPrompt, classes',
            BuildPrompt,
            lambda label: _train(
                ('cat', 'dog'), [label] if type(label) is int and abs(label) < 9 else [1], None, build_prompt
            ),
        ),
        (
            'BuildPrompt, caption',
            BuildPrompt,
            lambda label: _train(
                CAPTION,
                [label] if type(label) is int and abs(label) < 9 else [1],
                [[[0, 5]], [[10, 15]]],
                build_prompt,
            ),
        ),
    )
)


# --- masks -------------------------------------------------------------------------------------------


def _load(skip: bool, masks: Any) -> None:
    instances = [dict(bbox=[5, 5, 20, 20], bbox_label=0, mask=mask) for mask in masks]
    results = LoadMasks(skip_without_masks=skip)(
        dict(img_path='a.jpg', img_id=1, img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), instances=instances)
    )
    if results is None:
        return
    found = results['gt_masks'].masks
    if found.shape != (len(masks), HEIGHT, WIDTH) or found.max() > 1:
        raise InvalidResult(f'masks {found.shape} up to {found.max()}')


_MASK_MAKERS = tuple(
    partial(_json_case if entry.startswith(_FROM_JSON) else _case, entry, subject, use)
    for entry, subject, use in (
        ('LoadMasks', LoadMasks, partial(_load, False)),
        ('LoadMasks, skipping', LoadMasks, partial(_load, True)),
        ('RecordParser, mask', RecordParser.__call__, lambda masks: _parse(_record(mask=masks))),
    )
)
