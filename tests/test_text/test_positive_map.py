from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import phrase_scores, phrase_token_map, prompt_from_caption, prompt_from_classes


def test_the_map_has_a_row_per_phrase_over_the_padded_tokens(tokenizer):
    tokenized = tokenizer(prompt_from_classes(['cat', 'traffic light']))
    result = phrase_token_map(tokenized, 8)
    assert result.dtype == torch.bool
    assert result.int().tolist() == [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0]]


def test_a_prompt_without_phrases_has_an_empty_map(tokenizer):
    assert phrase_token_map(tokenizer(prompt_from_caption('a dog', [])), 5).shape == (0, 5)


def test_a_map_narrower_than_the_prompt_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r'num_tokens is 4, the prompt has 5 tokens\. Expected'):
        phrase_token_map(tokenizer(prompt_from_classes(['cat', 'dog'])), 4)


def test_a_phrase_scores_the_mean_of_its_tokens_and_zero_without():
    phrase_map = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
    probs = torch.tensor([[0.9, 0.5, 0.25, 0.75], [0.9, 0.0, 1.0, 0.0]])
    assert phrase_scores(probs, phrase_map).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.0]]
    assert phrase_scores(probs[0], phrase_map).tolist() == [0.5, 0.5, 0.0]
    assert phrase_scores(probs.expand(3, 2, 4), phrase_map).shape == (3, 2, 3)


def test_no_phrases_and_no_anchors_are_fine():
    assert phrase_scores(torch.rand(7, 4), torch.zeros(0, 4, dtype=torch.bool)).shape == (7, 0)
    assert phrase_scores(torch.rand(0, 4), torch.ones(2, 4, dtype=torch.bool)).shape == (0, 2)


def test_mixed_precision_does_not_blur_the_scores():
    probs, phrase_map = torch.rand(50, 30), torch.rand(8, 30) < 0.3
    expected = phrase_scores(probs, phrase_map)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(phrase_scores(probs, phrase_map), expected)
    assert phrase_scores(probs.bfloat16(), phrase_map).dtype == torch.bfloat16


def test_gradients_are_shared_among_the_tokens():
    probs = torch.full((1, 3), 0.5, requires_grad=True)
    phrase_scores(probs, torch.tensor([[True, True, False]])).sum().backward()
    assert probs.grad.tolist() == [[0.5, 0.5, 0.0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 10_000))
def test_scores_equal_a_plain_loop(num_phrases, num_tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    phrase_map = torch.rand(num_phrases, num_tokens, generator=generator) < 0.4
    probs = torch.rand(5, num_tokens, generator=generator)
    expected = torch.stack([probs[:, row].mean(-1) if row.any() else torch.zeros(5) for row in phrase_map], dim=-1)
    torch.testing.assert_close(phrase_scores(probs, phrase_map), expected)
