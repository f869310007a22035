"""A seeded sample of every kind of bad input: a valid result, or an error that is documented and says something."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.reliability.input_makers import load_maker
from benchmarks.reliability.input_makers.verdict import Case, InvalidResult, documented_errors, judge
from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser
from glipv2_mmdet.datasets.vqa_records import VQAError, grounding_of
from glipv2_mmdet.text import PromptError, parse_prompt

#: Of a kind, and how many; what passes through a model costs more.
SAMPLES = {'prompts': 120, 'annotations': 400, 'images': 100, 'configs': 40, 'files': 250}


@pytest.mark.slow
@pytest.mark.parametrize('kind', SAMPLES)
def test_every_input_gives_a_result_or_a_documented_error(kind, tmp_path):
    verdicts = [judge(case) for case in islice(load_maker(kind)(random.Random(20), tmp_path), SAMPLES[kind])]
    others = [
        f'{verdict.case.entry}, {verdict.case.name}: {verdict.text}'
        for verdict in verdicts
        if verdict.outcome == 'other'
    ]
    assert not others, '\n'.join(others)
    outcomes = {verdict.outcome for verdict in verdicts}
    assert len(verdicts) == SAMPLES[kind] and 'documented' in outcomes


def documented() -> None:
    """Says what it raises.

    Raises:
        PromptError, KeyError: on purpose,
            in two lines.
        ODVGError: too.
    """


def judged(error: Exception | None, mentions: tuple = ()) -> str:
    def call() -> None:
        if error is not None:
            raise error

    return judge(Case('test', 'documented', 'error', call, documented, mentions=mentions)).outcome


def test_errors_are_documented_where_the_docstring_says_so():
    assert documented_errors(documented) == (PromptError, KeyError, ODVGError)


@pytest.mark.parametrize(
    'error, outcome',
    [
        (None, 'valid'),
        (PromptError('the prompt "a" is not one'), 'documented'),
        (KeyError('what is not there'), 'documented'),
        (PromptError('no'), 'other'),
        (ValueError('a text that is long enough'), 'other'),
        (TypeError('a long enough text'), 'other'),
        (InvalidResult('a box of no size at all'), 'other'),
        (MemoryError(), 'other'),
        (RecursionError('a long enough text'), 'other'),
    ],
)
def test_an_error_is_judged_by_type_and_text(error, outcome):
    assert judged(error) == outcome


def test_an_error_has_to_name_what_was_given():
    error = PromptError('the prompt "a" is not one')
    assert judged(error, mentions=(('"a"',),)) == 'documented'
    assert judged(error, mentions=(('"a"',), ('x', 'y'))) == 'other'


def test_a_call_that_does_not_end_is_an_answer_too():
    def forever() -> None:
        while True:
            pass

    verdict = judge(Case('test', 'forever', 'loop', forever, documented), seconds=0.2)
    assert verdict.outcome == 'other' and 'no answer after 0.2 s' in verdict.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ['bbox', 'label', 'caption', 'regions', 'instances', 'tokens_positive', 'phrase', 'mask', 'x']
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(['detection', 'grounding']), entry=JSON, height=JSON)
def test_any_json_is_a_record_or_an_odvg_error(kind, entry, height):
    try:
        RecordParser('', {None: ('cat',)}, 'map.json')(
            dict(filename='a.jpg', height=height, width=60) | {kind: entry}, Place('a.jsonl', 3)
        )
    except ODVGError as error:
        assert 'a.jsonl:3' in str(error)


@settings(max_examples=100, deadline=None)
@given(spans=JSON, boxes=JSON)
def test_any_json_is_grounding_or_a_vqa_error(spans, boxes):
    try:
        grounding_of(
            dict(question_id=1, text='a cat', caption='a cat ok', tokens_positive=spans, bboxes=boxes), 'a.jsonl:3'
        )
    except VQAError as error:
        assert 'a.jsonl:3' in str(error)


@settings(max_examples=150, deadline=None)
@given(text=JSON, spans=JSON, entities=st.booleans())
def test_anything_is_a_prompt_or_a_prompt_error(text, spans, entities):
    try:
        assert parse_prompt(text, custom_entities=entities, tokens_positive=spans).text
    except PromptError as error:
        assert len(str(error).split()) > 4
