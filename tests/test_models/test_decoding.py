"""Search on hand-made tables: all texts tried out, a plain beam search, ties, repeats, and when it stops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.models.task_heads.decoding import (
    SearchSettings,
    beam_search,
    forbid_repeats,
    ordered_topk,
)

START, END = 0, 1


class Table:
    """A model whose scores are random but depend on the image and on every token so far."""

    def __init__(self, num_tokens: int, seed: int = 0, forbidden: tuple[int, ...] = (START,)) -> None:
        self.num_tokens, self.seed, self.forbidden = num_tokens, seed, forbidden
        self.texts: list[tuple[int, ...]] = []
        self.rows: list[int] = []

    def log_probs(self, image: int, text: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, image, text)) % 2**31)
        scores = torch.randn(self.num_tokens, generator=generator).mul(1.5).log_softmax(0)
        scores[list(self.forbidden)] = -math.inf
        return scores

    def __call__(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        before = self.texts or [(image,) for image in range(len(parents))]
        self.rows.append(len(tokens))
        self.texts = [(*before[parent], token) for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True)]
        return torch.stack([self.log_probs(text[0], text[2:]) for text in self.texts])

    def score(self, image: int, text: tuple[int, ...], max_words: int, penalty: float) -> float:
        """Of a text that ends, or has as many tokens as there may be."""
        tokens = text if len(text) == max_words else (*text, END)
        total = sum(float(self.log_probs(image, tokens[:i])[token]) for i, token in enumerate(tokens))
        return total / len(tokens) ** penalty


def search(table: Table, num_images: int = 1, **kwargs) -> list:
    return beam_search(table, num_images, START, END, SearchSettings(**kwargs))


@given(st.integers(0, 10**6), st.integers(3, 5), st.integers(1, 3), st.sampled_from([0.0, 0.7, 1.0, 2.0]))
@settings(max_examples=30, deadline=None)
def test_a_beam_of_all_texts_finds_the_best_one(seed, num_tokens, max_words, penalty):
    table = Table(num_tokens, seed)
    words = range(2, num_tokens)
    texts = [text for length in range(1, max_words + 1) for text in itertools.product(words, repeat=length)]
    found = search(table, 2, beam_size=num_tokens**max_words, max_words=max_words, length_penalty=penalty)
    for image, result in enumerate(found):
        scores = {text: table.score(image, text, max_words, penalty) for text in texts}
        assert result.score == pytest.approx(max(scores.values()), abs=1e-5)
        assert result.score == pytest.approx(scores[result.tokens], abs=1e-5)


def plain_beam_search(table: Table, image: int, size: int, max_words: int, penalty: float) -> tuple[float, tuple]:
    """One image, lists of (score, text)."""
    beams, finished = [(0.0, ())], []
    for length in range(1, max_words + 1):
        candidates = []
        for total, text in beams:
            scores = table.log_probs(image, text)
            candidates += [
                (total + float(scores[token]), (*text, token))
                for token in range(table.num_tokens)
                if token not in table.forbidden and (token != END or length > 1)
            ]
        candidates.sort(key=lambda candidate: -candidate[0])
        finished += [(total / length**penalty, text[:-1]) for total, text in candidates[:size] if text[-1] == END]
        if len(finished) >= size:
            return max(finished, key=lambda candidate: candidate[0])
        beams = [candidate for candidate in candidates if candidate[1][-1] != END][:size]
    finished += [(total / max_words**penalty, text) for total, text in beams]
    return max(finished, key=lambda candidate: candidate[0])


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_finds_what_a_plain_beam_search_finds(seed, size, max_words, penalty):
    found = search(Table(7, seed), 3, beam_size=size, max_words=max_words, length_penalty=penalty)
    for image, result in enumerate(found):
        score, text = plain_beam_search(Table(7, seed), image, size, max_words, penalty)
        assert result.tokens == text
        assert result.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize('seed', range(5))
def test_one_beam_is_greedy_search(seed):
    table = Table(6, seed)
    for image, result in enumerate(search(Table(6, seed), 2, beam_size=1, max_words=8)):
        text = ()
        while len(text) < 8:
            scores = table.log_probs(image, text)
            if not text:
                scores[END] = -math.inf
            token = int(scores.argmax())
            if token == END:
                break
            text = (*text, token)
        assert result.tokens == text


def test_images_do_not_disturb_one_another():
    alone = [search(Table(6, 3), image + 1, beam_size=3)[image] for image in range(3)]
    assert search(Table(6, 3), 3, beam_size=3) == alone


class Fixed:
    """The same scores whatever was said."""

    def __init__(self, *log_probs: float) -> None:
        self.log_probs = torch.tensor(log_probs)
        self.rows: list[int] = []

    def __call__(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(tokens))
        return self.log_probs.expand(len(tokens), -1).clone()


@pytest.mark.parametrize('beam_size', [1, 3])
def test_equal_scores_fall_to_the_smaller_token(beam_size):
    (result,) = beam_search(
        Fixed(-9, -9, -1, -1, -1, -1), 1, START, END, SearchSettings(beam_size=beam_size, max_words=3)
    )
    assert result.tokens == (2, 2, 2)
    assert result.score == pytest.approx(-1)


def test_a_text_never_begins_with_its_end():
    (result,) = beam_search(Fixed(-9, -0.1, -5), 1, START, END, SearchSettings(beam_size=1, length_penalty=0))
    assert result.tokens == (2,) and result.score == pytest.approx(-5.1)


def test_length_penalty_chooses_between_short_and_long():
    def scores(tokens, parents):
        # from the start to 2, which ends: -2 - 2; or to 3, which goes on: -2.2 and -0.3 for every further one
        table = {START: (-90, -90, -2, -2.2), 2: (-90, -2, -90, -90), 3: (-90, -90, -90, -0.3)}
        return torch.tensor([table.get(token, (-90,) * 4) for token in tokens.tolist()], dtype=torch.float32)

    def best(**kwargs):
        return beam_search(scores, 1, START, END, SearchSettings(max_words=10, **kwargs))[0]

    assert best(beam_size=2, length_penalty=0.0).tokens == (2,)
    long = best(beam_size=2, length_penalty=1.0)
    assert long.tokens == (3,) * 10 and long.score == pytest.approx(-4.9 / 10)
    assert best(beam_size=1).tokens == (2,)


def test_search_ends_when_every_image_is_done():
    model = Fixed(-9, -0.1, -3, -4)
    beam_search(model, 2, START, END, SearchSettings(beam_size=1, max_words=20))
    # first a word, then the end
    assert model.rows == [2, 2]
    model = Fixed(-9, -50, -1, -1)
    beam_search(model, 2, START, END, SearchSettings(beam_size=3, max_words=5))
    # one hypothesis per image at first, then three
    assert model.rows == [2, 6, 6, 6, 6]


def test_forbidden_tokens_are_never_said():
    for seed in range(5):
        table = Table(8, seed, forbidden=(START, 3, 5))
        for result in search(table, 2, beam_size=4, max_words=6):
            assert not {START, END, 3, 5} & set(result.tokens)


@pytest.mark.parametrize('size', [1, 2, 3])
@pytest.mark.parametrize('beam_size', [1, 3])
def test_no_ngram_is_said_twice(size, beam_size):
    repeated = 0
    for seed in range(8):
        kwargs = dict(beam_size=beam_size, max_words=12, length_penalty=2.0)
        (free,) = search(Table(4, seed), **kwargs)
        (result,) = search(Table(4, seed), no_repeat_ngram=size, **kwargs)
        ngrams = [result.tokens[i : i + size] for i in range(len(result.tokens) - size + 1)]
        assert len(set(ngrams)) == len(ngrams)
        repeated += free.tokens != result.tokens
    assert repeated > 0


def test_repeats_are_found_where_they_are():
    log_probs = torch.zeros(2, 6)
    forbid_repeats(log_probs, torch.tensor([[2, 3, 4, 2, 3], [5, 4, 3, 2, 2]]), 3)
    assert (log_probs == -math.inf).nonzero().tolist() == [[0, 4]]
    forbid_repeats(log_probs.zero_(), torch.tensor([[2, 3, 4, 2, 3], [5, 4, 3, 2, 2]]), 2)
    assert (log_probs == -math.inf).nonzero().tolist() == [[0, 4], [1, 2]]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=3), st.integers(1, 6))
def test_equal_values_keep_their_order(rows, num):
    values = torch.tensor(rows, dtype=torch.float32)
    best, places = ordered_topk(values, num)
    for row, row_best, row_places in zip(rows, best.tolist(), places.tolist(), strict=True):
        order = sorted(range(6), key=lambda place: (-row[place], place))[:num]
        assert row_places == order and row_best == [row[place] for place in order]


@pytest.mark.parametrize(
    'kwargs', [dict(beam_size=0), dict(max_words=0), dict(length_penalty=-0.5), dict(no_repeat_ngram=-1)]
)
def test_settings_out_of_range_are_named(kwargs):
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f'{name} is {value}. Expected at least'):
        SearchSettings(**kwargs)
