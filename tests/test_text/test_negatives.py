from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import PromptError, PromptTokenizer, prompt_from_classes, sample_prompt_classes

WORDS = ['cat', 'dog', 'car', 'bus', 'tree', 'potted plant', 'traffic light', 'bow_(weapon)', 'bow_(ribbon)', 'cup']
LONG = 'one two three four five six seven eight nine'


def sample(names, positives, tokenizer, seed=0, **options):
    return sample_prompt_classes(names, positives, tokenizer, np.random.default_rng(seed), **options)


def test_all_positives_and_all_negatives_fit_a_short_list(tokenizer):
    names = ['cat', 'dog', 'car']
    assert sample(names, [1], tokenizer, full_probability=1, shuffle=False) == [0, 1, 2]


def test_the_same_seed_gives_the_same_prompt_and_another_seed_another(tokenizer):
    picks = [sample(WORDS, [0, 5], tokenizer, seed) for seed in (3, 3, 4)]
    assert picks[0] == picks[1] != picks[2]


def test_drawn_positives_are_discarded_not_replaced(tokenizer):
    # five draws out of ten, none doubled: at most two positives and five negatives
    for seed in range(50):
        chosen = sample(WORDS[:6], [0, 1], tokenizer, seed, max_negatives=3, full_probability=1)
        assert {0, 1} <= set(chosen)
        assert len(chosen) == len(set(chosen)) <= 5


def test_the_number_of_negatives_is_full_or_uniform(tokenizer):
    names = [f'n{index}' for index in range(20)]
    counts = np.bincount([len(sample(names, [], tokenizer, seed, max_negatives=4)) for seed in range(800)])
    # half the time four; else uniform over one to four
    np.testing.assert_allclose(counts[1:] / 800, [0.125, 0.125, 0.125, 0.625], atol=0.04)


def test_without_negatives_only_positives_remain(tokenizer):
    assert sorted(sample(WORDS, [4, 2, 2], tokenizer, max_negatives=0)) == [2, 4]


def test_an_image_without_boxes_has_a_prompt_too(tokenizer):
    assert len(sample(WORDS, [], tokenizer, max_negatives=0)) == 1


def test_a_name_that_means_a_positive_is_no_negative():
    tokenizer = PromptTokenizer()
    for seed in range(30):
        chosen = sample(WORDS, [7], tokenizer, seed, full_probability=1)
        assert 7 in chosen
        assert 8 not in chosen
    assert set(sample(WORDS, [7, 8], tokenizer, full_probability=1)) == set(range(10))


def test_positives_beyond_the_limit_are_left_out_in_random_order(short_tokenizer):
    seen = set()
    for seed in range(40):
        chosen = sample(list('abcdefgh'), range(8), short_tokenizer, seed)
        assert len(chosen) == 4  # 'a. b. c. d': eight tokens with a fifth would be nine
        seen |= set(chosen)
    assert seen == set(range(8))


def test_the_last_token_is_used(short_tokenizer):
    # 'one a. two b. six c' has eight tokens, all that ten leave
    names = ['one a', 'two b', 'six c']
    assert sample(names, [0, 1, 2], short_tokenizer, shuffle=False) == [0, 1, 2]
    assert sample(names, [0, 1], short_tokenizer, full_probability=1, shuffle=False) == [0, 1, 2]


def test_order_is_random_or_that_of_the_list(tokenizer):
    assert sample(WORDS[:7], [6, 0], tokenizer, full_probability=1, shuffle=False) == [0, 1, 2, 3, 4, 5, 6]
    orders = {tuple(sample(WORDS[:4], [0], tokenizer, seed, full_probability=1)) for seed in range(40)}
    assert len(orders) > 10
    assert {order.index(0) for order in orders} == {0, 1, 2, 3}


def test_every_absent_class_gets_its_turn(tokenizer):
    counts = np.zeros(30)
    names = [f'n{index}' for index in range(30)]
    for seed in range(300):
        counts[sample(names, [0], tokenizer, seed, max_negatives=10, full_probability=1)] += 1
    assert counts[0] == 300
    np.testing.assert_allclose(counts[1:], 100, atol=40)


@pytest.mark.parametrize(
    ('names', 'positives', 'message'),
    [
        ([], [], r'list of class names is empty'),
        (['a', 'b'], [2], r'Class ids \[2\] are not in the list of 2 class names\. Expected 0 to 1'),
        (['a', 'b'], [0, -1], r'Class ids \[-1\] are not in the list'),
        (['a', LONG], [1], r"Class name 'one two .*' alone has 9 tokens"),
        ([LONG], [], r'alone has 9 tokens'),
    ],
)
def test_input_that_cannot_be_used(short_tokenizer, names, positives, message):
    with pytest.raises(PromptError, match=message):
        sample(names, positives, short_tokenizer)


def test_a_negative_that_is_too_long_is_passed_over(short_tokenizer):
    names = ['a', LONG, 'b']
    for seed in range(20):
        assert set(sample(names, [0], short_tokenizer, seed, full_probability=1)) == {0, 2}
        assert sample(names, [], short_tokenizer, seed, max_negatives=1)[0] in (0, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), unique=True, min_size=1), st.data())
def test_the_prompt_fits_and_has_each_class_once(short_tokenizer, names, data):
    positives = data.draw(st.lists(st.integers(0, len(names) - 1)))
    chosen = sample(
        names,
        positives,
        short_tokenizer,
        data.draw(st.integers(0, 999)),
        max_negatives=data.draw(st.integers(0, 12)),
        full_probability=data.draw(st.floats(0, 1)),
    )
    assert len(chosen) == len(set(chosen)) > 0
    tokens = short_tokenizer.count_tokens(prompt_from_classes([names[index] for index in chosen]).text)
    assert tokens <= 8
    if sum(short_tokenizer.count_tokens(f'{names[index]}.') for index in set(positives)) <= 8:
        assert set(positives) <= set(chosen)


def test_a_long_list_costs_little_per_sample(tokenizer):
    names = [f'class number {index}' for index in range(1203)]
    rng = np.random.default_rng(0)
    for _ in range(20):  # the first calls count tokens
        sample_prompt_classes(names, [1, 2, 3], tokenizer, rng)
    start = time.process_time()
    for _ in range(20):
        sample_prompt_classes(names, [1, 2, 3], tokenizer, rng)
    # under 1 ms on one core; the bound only catches counting again
    assert (time.process_time() - start) / 20 < 0.02
