"""Mixes data sets by ratio: distributed, infinite, and resumable at any draw without replaying the ones before.

Draw number n of the run is a function of (seed, n) alone. Draws come in rounds; a round holds each data set a fixed
number of times, in an order shuffled by (seed, round). The k-th draw from a data set is entry k of a shuffled epoch,
and the shuffling is a keyed permutation that computes any entry directly: no list of indices exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from glipv2_mmdet.datasets.samplers.sample_draw import SampleDraw

_ROUND = 8192  # draws; a ratio is met to 1/8192 of the run, and 8192 draws are worked out at once


@DATA_SAMPLERS.register_module()
class MixedSampler(Sampler):
    """Yields :class:`SampleDraw` for ever; ranks take turns, so one process sees what several see together.

    Every image of a data set comes once before any comes twice (an epoch per data set).

    Args:
        dataset: has ``cumulative_sizes``: mmdet's ``ConcatDataset``, or a wrapper around one. Any other is one part.
        ratios: share of the draws per data set; any positive scale, 0 leaves one out. None: by size.
        repeats: GLIP's way to say it: how often a data set comes while one with 1 comes once.
        seed: mmengine passes the run's.

    Raises:
        ValueError: both of ``ratios`` and ``repeats``, another number of them than data sets, negative ones, a data
            set that is empty, or a share under 1/8192.
    """

    def __init__(
        self,
        dataset: Any,
        ratios: Sequence[float] | None = None,
        repeats: Sequence[float] | None = None,
        seed: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        ends = list(getattr(dataset, 'cumulative_sizes', [len(dataset)]))
        self._starts = np.array([0, *ends[:-1]], dtype=np.int64)
        self._sizes = np.diff([0, *ends])
        self._quotas = _quotas(_shares(self._sizes, ratios, repeats))
        self.position = 0

    def __len__(self) -> int:
        """What mmengine's loops take for an epoch; the draws never end."""
        return int(self._sizes.sum())

    def seek(self, position: int) -> None:
        """The next draw of this rank is its ``position``-th, counted from 0."""
        if position < 0:
            raise ValueError(f'Position is {position}; expected the number of draws this rank has made, 0 or more.')
        self.position = position

    def state_dict(self) -> dict[str, int]:
        return dict(seed=self.seed, position=self.position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seed = state['seed']
        self.seek(state['position'])

    def set_epoch(self, epoch: int) -> None:
        """Nothing to do: there are no epochs of the whole. mmengine calls it."""

    def __iter__(self) -> Iterator[SampleDraw]:
        round_number, indices = -1, np.empty(0, dtype=np.int64)
        while True:
            number = self.position * self.world_size + self.rank
            if number // _ROUND != round_number:
                round_number = number // _ROUND
                indices = self._round(round_number)
            self.position += 1
            yield SampleDraw(int(indices[number % _ROUND]), number, self.seed)

    def _round(self, round_number: int) -> np.ndarray:
        """Indices of one round, (8192,)."""
        # whose turn it is is shuffled; each part's own entries come in the order of its epochs
        turns = np.random.default_rng((self.seed, round_number)).permutation(
            np.repeat(np.arange(len(self._quotas)), self._quotas)
        )
        indices = np.empty(_ROUND, dtype=np.int64)
        for part, (quota, size, start) in enumerate(zip(self._quotas, self._sizes, self._starts, strict=True)):
            counts = np.arange(quota, dtype=np.int64) + round_number * int(quota)
            if quota:
                indices[turns == part] = start + np.concatenate(
                    [
                        permuted(counts[counts // size == epoch] % size, int(size), (self.seed, part, int(epoch)))
                        for epoch in np.unique(counts // size)
                    ]
                )
        return indices


def permuted(positions: np.ndarray, size: int, key: Sequence[int]) -> np.ndarray:
    """Entries of a shuffled ``range(size)``; the shuffling depends on ``key``.

    Four Feistel rounds permute the next power of four; what falls outside is permuted again until it is inside
    (cycle walking), which keeps it a permutation. Computes any entry without the others.

    Args:
        positions: (n,) int64 from 0 to ``size`` - 1.
        size: number of entries.
        key: whole numbers from 0.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence(tuple(key)).generate_state(4, np.uint64)
    result = positions.astype(np.uint64)
    outside = np.ones(len(result), dtype=bool)
    while outside.any():
        left, right = result[outside] >> half, result[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right + round_key) & mask)
        result[outside] = (left << half) | right
        outside = result >= size
    return result.astype(np.int64)


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _shares(sizes: np.ndarray, ratios: Sequence[float] | None, repeats: Sequence[float] | None) -> np.ndarray:
    """Share of the draws per data set; they add up to 1."""
    if ratios is not None and repeats is not None:
        raise ValueError(
            'Both ratios and repeats are given. Expected one: ratios are shares of the draws, repeats '
            'multiply the sizes.'
        )
    given = ratios if ratios is not None else repeats if repeats is not None else [1.0] * len(sizes)
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != sizes.shape or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f'Ratios or repeats are {list(given)} for {len(sizes)} data sets. Expected one number per '
            'data set, 0 or more, not all 0.'
        )
    if ratios is None:
        weights = weights * sizes
    empty = np.flatnonzero((sizes == 0) & (np.asarray(given, dtype=np.float64) > 0))
    if empty.size:
        raise ValueError(f'Data set {empty[0]} has no samples, but a ratio above 0. Check its files, or set 0.')
    return weights / weights.sum()


def _quotas(shares: np.ndarray) -> np.ndarray:
    """Draws of each data set per round, by largest remainder; they add up to 8192."""
    exact = shares * _ROUND
    quotas = np.floor(exact).astype(np.int64)
    missing = _ROUND - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind='stable')[:missing]] += 1
    starved = np.flatnonzero((shares > 0) & (quotas == 0))
    if starved.size:
        raise ValueError(
            f'Data set {starved[0]} has a share of {shares[starved[0]]:.1e} of the draws, less than one '
            f'in {_ROUND}; it would never be seen. Raise its ratio, or set 0.'
        )
    return quotas
