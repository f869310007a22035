from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import PromptTokenizer, pack_captions

CAPTION, SPANS = 'a red kite over the sea', [[[0, 10]], [[16, 23]]]


def pack(others, tokenizer, seed=0, caption=CAPTION):
    return pack_captions(caption, SPANS, others, tokenizer, np.random.default_rng(seed))


def words(text, spans):
    return [[text[start:end] for start, end in phrase] for phrase in spans]


def test_alone_a_caption_gets_its_dot(tokenizer):
    assert pack([], tokenizer) == ('a red kite over the sea.', SPANS)


def test_spans_follow_their_caption_through_every_order(tokenizer):
    texts = set()
    for seed in range(30):
        text, spans = pack(['two dogs.', 'a boat'], tokenizer, seed)
        assert words(text, spans) == [['a red kite'], ['the sea']]
        texts.add(text)
    assert texts == {
        f'{a} {b} {c}'
        for a, b, c in (
            ('a red kite over the sea.', 'two dogs.', 'a boat.'),
            ('a red kite over the sea.', 'a boat.', 'two dogs.'),
            ('two dogs.', 'a red kite over the sea.', 'a boat.'),
            ('a boat.', 'a red kite over the sea.', 'two dogs.'),
            ('two dogs.', 'a boat.', 'a red kite over the sea.'),
            ('a boat.', 'two dogs.', 'a red kite over the sea.'),
        )
    }


def test_repeats_and_the_caption_itself_are_no_negatives(tokenizer):
    text, _ = pack(['A red  kite over the sea.', 'a boat', 'A boat .'], tokenizer)
    assert text.lower().count('kite') == text.lower().count('boat') == 1


def test_what_does_not_fit_is_left_out_and_shorter_ones_still_come():
    tokenizer = PromptTokenizer(max_tokens=13)  # the caption takes 7 of 11, a dog 3
    for seed in range(10):
        text, _ = pack(['one two three four five', 'a dog'], tokenizer, seed)
        assert sorted(text.split('. ')) in (
            ['a dog', 'a red kite over the sea.'],
            ['a dog.', 'a red kite over the sea'],
        )
    assert pack(['a dog'], PromptTokenizer(max_tokens=6))[0] == 'a red kite over the sea.'


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(others=st.lists(st.text('ab .', max_size=30)), limit=st.integers(9, 60), seed=st.integers(0, 1000))
def test_the_limit_holds_and_words_stay_under_their_spans(others, limit, seed):
    tokenizer = PromptTokenizer(max_tokens=limit)
    text, spans = pack(others, tokenizer, seed)
    assert tokenizer.count_tokens(text) <= limit - 2
    assert words(text, spans) == [['a red kite'], ['the sea']]
