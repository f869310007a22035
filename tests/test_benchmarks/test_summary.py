"""Medians, spreads, ratios and exponents, on numbers that can be checked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.summary import Spread, growth_exponent, ratios


def test_spread_is_median_fastest_and_slowest():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([1.0, 2.0, 3.0, 10.0]) == Spread(2.5, 1.0, 10.0)
    assert Spread(0.0123, 0.01, 0.02).text(1, 1000) == '12.3 (10.0 to 20.0)'


def test_no_runs_are_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match='Raise --rounds or --repeats'):
        Spread.of([])


def test_ratios_are_taken_inside_a_round():
    # the ratio of the medians would be 2 / 2
    assert ratios([1.0, 2.0, 4.0], [4.0, 2.0, 2.0]) == Spread(1.0, 0.5, 4.0)
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


@given(power=st.floats(-3, 3), factor=st.floats(0.01, 100))
def test_exponent_of_a_power_law(power, factor):
    sizes = [1, 2, 5, 17]
    assert growth_exponent(sizes, [factor * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_exponent_is_the_least_squares_slope():
    # logarithms to base 2: (0, 0), (1, 0), (2, 3); slope 3 / 2
    assert growth_exponent([1, 2, 4], [1, 1, 8]) == pytest.approx(1.5)


@pytest.mark.parametrize(('sizes', 'costs'), [([4, 4], [1, 2]), ([1, 2], [0, 1]), ([3], [3])])
def test_no_exponent_where_there_is_none(sizes, costs):
    with pytest.raises(ValueError, match='at least two different sizes'):
        growth_exponent(sizes, costs)
