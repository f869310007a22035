from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import PromptChunk, PromptError, chunk_prompt, parse_prompt, prompt_from_classes
from tests.test_text.wild_text import wild_text

NAMES = ['cat', 'traffic light', 'dog', 'potted plant', 'bow_(weapon)', 'bow_(ribbon)', 'St. Bernard']


def test_a_list_that_fits_is_one_chunk_with_the_same_object(tokenizer):
    prompt = prompt_from_classes(NAMES)
    chunks = chunk_prompt(prompt, tokenizer)
    assert chunks == [PromptChunk(prompt, tuple(range(7)))]
    assert chunks[0].prompt is prompt


def test_a_sentence_is_never_split(short_tokenizer):
    prompt = parse_prompt('a dog and a cat and a man and a bird on a tree')
    chunks = chunk_prompt(prompt, short_tokenizer, max_classes=1)
    assert len(chunks) == 1
    assert chunks[0].prompt is prompt


def test_chunks_are_filled_to_the_last_token(short_tokenizer):
    # 8 words and dots: 'a. b. c. d' are 7, with e 9
    chunks = chunk_prompt(prompt_from_classes(list('abcdefg')), short_tokenizer)
    assert [chunk.prompt.text for chunk in chunks] == ['a. b. c. d', 'e. f. g']
    assert [chunk.phrase_ids for chunk in chunks] == [(0, 1, 2, 3), (4, 5, 6)]
    # exactly 8: 'traffic light. a. b. c' is one more than 'traffic light. a. b'
    chunks = chunk_prompt(prompt_from_classes(['traffic light', 'a', 'b', 'c', 'd']), short_tokenizer)
    assert [len(short_tokenizer(chunk.prompt).input_ids) for chunk in chunks] == [10, 3]


def test_the_number_of_classes_can_be_limited(tokenizer):
    chunks = chunk_prompt(prompt_from_classes(NAMES), tokenizer, max_classes=3)
    assert [chunk.phrase_ids for chunk in chunks] == [(0, 1, 2), (3, 4, 5), (6,)]
    assert chunks[1].prompt.names == ('potted plant', 'bow_(weapon)', 'bow_(ribbon)')


def test_overrides_stay_with_their_class(short_tokenizer):
    overrides = {'e': {'prefix': 'an old ', 'name': 'wheel'}, 'a': {'suffix': ' here'}}
    prompt = prompt_from_classes(list('abcdef'), overrides)
    chunks = chunk_prompt(prompt, short_tokenizer, overrides=overrides)
    assert [chunk.prompt.text for chunk in chunks] == ['a here. b. c. d', 'an old wheel. f']
    start, end = chunks[1].prompt.phrases[0].spans[0]
    assert chunks[1].prompt.text[start:end] == 'wheel'


def test_overrides_that_were_forgotten_are_noticed(short_tokenizer):
    prompt = prompt_from_classes(list('abcdef'), {'e': {'prefix': 'an old '}})
    with pytest.raises(PromptError, match=r'was made with other overrides than None\. Pass the same ones'):
        chunk_prompt(prompt, short_tokenizer)


def test_a_class_longer_than_the_limit_is_named(short_tokenizer):
    prompt = prompt_from_classes(['cat', 'one two three four five six seven eight nine'])
    with pytest.raises(
        PromptError,
        match=r"Class name 'one two .*' alone has 9 tokens, this text encoder "
        r'reads 10 with start and end\. Give the class a shorter name',
    ):
        chunk_prompt(prompt, short_tokenizer)


def test_a_second_call_does_no_work_and_cannot_spoil_the_first(short_tokenizer):
    prompt = prompt_from_classes(list('abcdefg'))
    chunk_prompt(prompt, short_tokenizer).clear()
    first, second = chunk_prompt(prompt, short_tokenizer), chunk_prompt(prompt, short_tokenizer)
    assert first[0].prompt is second[0].prompt


@settings(max_examples=50, deadline=None)
@given(st.lists(wild_text(min_size=1, max_size=14), min_size=1, max_size=12), st.integers(-1, 4))
def test_chunks_keep_order_miss_nothing_and_fit(short_tokenizer, names, max_classes):
    try:
        prompt = prompt_from_classes(names)
        chunks = chunk_prompt(prompt, short_tokenizer, max_classes)
    except PromptError:
        return
    assert [index for chunk in chunks for index in chunk.phrase_ids] == list(range(len(names)))
    for chunk in chunks:
        assert chunk.prompt.names == tuple(prompt.names[index] for index in chunk.phrase_ids)
        assert short_tokenizer.count_tokens(chunk.prompt.text) <= 8
        assert max_classes <= 0 or len(chunk.phrase_ids) <= max_classes


@pytest.mark.real_data
def test_lvis_names_lose_no_class(shared_dir, tokenizer):
    path = shared_dir / 'data' / 'lvis_sample' / 'lvis_val_100.json'
    if not path.is_file():
        pytest.skip(f'no {path}')
    categories = sorted(json.loads(path.read_text())['categories'], key=lambda category: category['id'])
    names = [category['name'] for category in categories]
    prompt = prompt_from_classes(names)
    for max_classes, expected in ((40, -(-len(names) // 40)), (-1, None)):
        chunks = chunk_prompt(prompt, tokenizer, max_classes)
        assert sum(len(chunk.phrase_ids) for chunk in chunks) == len(names) > 1200
        assert not any(tokenizer(chunk.prompt).lost for chunk in chunks)
        assert expected in (None, len(chunks))
