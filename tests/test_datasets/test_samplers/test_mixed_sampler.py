"""Ratios, epochs, ranks and resuming of the mixed sampler."""

import pickle
import random
from itertools import islice

import numpy as np
import pytest
import torch

from glipv2_mmdet.datasets.samplers import MixedSampler, SampleDraw, seeded_by
from glipv2_mmdet.datasets.samplers import mixed_sampler as module
from glipv2_mmdet.datasets.samplers.mixed_sampler import permuted


class Parts:
    """Only the lengths of a concatenation."""

    def __init__(self, *sizes):
        self.cumulative_sizes = np.cumsum(sizes).tolist()

    def __len__(self):
        return self.cumulative_sizes[-1]


def draws(sampler, count):
    return [int(draw) for draw in islice(iter(sampler), count)]


def sampler_of_rank(monkeypatch, rank, world_size, *args, **settings):
    monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world_size))
    return MixedSampler(*args, seed=3, **settings)


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 16, 17, 1000])
def test_a_permutation_has_every_entry_once_and_depends_on_its_key(size):
    first, second = (permuted(np.arange(size), size, (0, key)) for key in (0, 1))
    assert sorted(first) == list(range(size))
    if size > 10:
        assert list(first) != list(second) and list(first) != list(range(size))
    assert permuted(np.array([size - 1]), size, (0, 0))[0] == first[-1]  # an entry alone is the same


def test_ratios_are_met_in_every_round():
    sampler = MixedSampler(Parts(10, 1000, 50), ratios=[1, 2, 1], seed=0)
    parts = np.searchsorted([10, 1010], draws(sampler, 2 * 8192), side='right')
    for half in np.split(parts, 2):
        assert np.bincount(half).tolist() == [2048, 4096, 2048]


def test_repeats_multiply_sizes_and_nothing_given_means_by_size():
    for settings, expected in ((dict(repeats=[3, 1]), [4096, 4096]), ({}, [2048, 6144])):
        found = draws(MixedSampler(Parts(100, 300), seed=0, **settings), 8192)
        assert np.bincount(np.searchsorted([100], found, side='right')).tolist() == expected


def test_an_image_comes_twice_only_when_all_of_its_part_have_come_once():
    found = draws(MixedSampler(Parts(7, 5000), ratios=[1, 1], seed=1), 2 * 8192)
    for start, size in ((0, 7), (7, 5000)):
        own = [index for index in found if start <= index < start + size]
        for epoch in range(len(own) // size):
            assert sorted(own[epoch * size : (epoch + 1) * size]) == list(range(start, start + size))


def test_a_ratio_of_zero_leaves_a_part_out():
    assert set(draws(MixedSampler(Parts(3, 4), ratios=[0, 1], seed=0), 100)) == {3, 4, 5, 6}


def test_ranks_together_see_what_one_process_sees(monkeypatch):
    one = draws(sampler_of_rank(monkeypatch, 0, 1, Parts(5, 9)), 60)
    two = [draws(sampler_of_rank(monkeypatch, rank, 2, Parts(5, 9)), 30) for rank in (0, 1)]
    assert [index for pair in zip(*two, strict=True) for index in pair] == one


@pytest.mark.parametrize('position', [0, 7, 8191, 8192, 20000])
def test_a_resumed_run_goes_on_where_the_other_would_be(monkeypatch, position):
    whole = draws(sampler_of_rank(monkeypatch, 1, 2, Parts(50, 900)), position + 20)
    resumed = sampler_of_rank(monkeypatch, 1, 2, Parts(50, 900))
    resumed.load_state_dict(dict(seed=3, position=position))
    assert draws(resumed, 20) == whole[position:]
    assert resumed.state_dict() == dict(seed=3, position=position + 20)


def test_a_new_iteration_goes_on():
    sampler = MixedSampler(Parts(50), seed=0)
    assert draws(sampler, 10) + draws(sampler, 10) == draws(MixedSampler(Parts(50), seed=0), 20)


def test_draws_know_their_number_also_in_another_process():
    first, second = islice(iter(MixedSampler(Parts(50), seed=4)), 2)
    assert (first.number, second.number, second.seed) == (0, 1, 4)
    copy = pickle.loads(pickle.dumps(second))
    assert isinstance(copy, SampleDraw) and (copy, copy.number, copy.seed) == (second, 1, 4)


def test_seeded_random_numbers_are_the_same_inside_and_undisturbed_outside():
    def numbers():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    expected = [numbers(), numbers()]
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    outside = [numbers()]
    with seeded_by(5):
        inside = numbers()
    outside.append(numbers())
    with seeded_by(5):
        assert numbers() == inside
    assert outside == expected


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(ratios=[1, 1], repeats=[1, 1]), 'Both ratios and repeats'),
        (dict(ratios=[1]), r'\[1\] for 2 data sets'),
        (dict(ratios=[1, -1]), '0 or more'),
        (dict(ratios=[0, 0]), 'not all 0'),
        (dict(ratios=[1, 1e-6]), 'Data set 1 has a share of 1.0e-06 of the draws, less than one in 8192'),
    ],
)
def test_ratios_that_make_no_sense_are_refused(settings, text):
    with pytest.raises(ValueError, match=text):
        MixedSampler(Parts(3, 4), seed=0, **settings)


def test_an_empty_part_needs_a_ratio_of_zero():
    with pytest.raises(ValueError, match='Data set 1 has no samples'):
        MixedSampler(Parts(3, 0), ratios=[1, 1], seed=0)
    assert set(draws(MixedSampler(Parts(3, 0), ratios=[1, 0], seed=0), 30)) == {0, 1, 2}
