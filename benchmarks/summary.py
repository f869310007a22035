"""Many runs as a few numbers: median and spread, ratios within a round, exponents of growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median of some runs, and the fastest and slowest of them."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Raises ValueError when there are none."""
        if not values:
            raise ValueError('There are no runs to summarise; expected at least one. Raise --rounds or --repeats.')
        return Spread(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1, factor: float = 1.0) -> str:
        """As tables print it: ``12.3 (11.9 to 14.0)``."""
        median, low, high = (f'{value * factor:.{digits}f}' for value in (self.median, self.low, self.high))
        return f'{median} ({low} to {high})'


def ratios(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Second over first, round by round: what slowed the machine in a round slowed both of its runs."""
    return Spread.of([b / a for a, b in zip(first, second, strict=True)])


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost = c * size ** p that fits best: the slope of a least-squares line through the logarithms.

    Raises:
        ValueError: fewer than two different sizes, or a number that is not positive.
    """
    if len(set(sizes)) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(
            f'An exponent was asked of sizes {list(sizes)} and costs {list(costs)}. Expected at least two '
            'different sizes, all numbers above zero.'
        )
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    return statistics.linear_regression(x, y).slope
