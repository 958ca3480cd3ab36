"""Whether a difference is more than chance: held to counting, and to tables."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.compare.measures import (
    ALPHA,
    PARTS,
    bounds,
    least_probability,
    limit,
    rank_probability,
    tendency,
)

few = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=5)


def mid_ranks(values: list[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values
    ]


@given(few, few)
def test_the_probability_is_that_of_all_ways_to_deal_the_ranks(
    ones: list[float], others: list[float]
) -> None:
    ranks = mid_ranks([*ones, *others])
    expected = len(ones) * (len(ranks) + 1) / 2
    sums = [sum(ways) for ways in combinations(ranks, len(ones))]
    unequal = abs(sum(ranks[: len(ones)]) - expected)
    extreme = [total for total in sums if abs(total - expected) >= unequal]
    assert rank_probability(ones, others) == pytest.approx(len(extreme) / len(sums))
    assert rank_probability(ones, others) == rank_probability(others, ones)
    assert tendency(ones, others) == -tendency(others, ones)


@pytest.mark.parametrize(
    ("ones", "others", "probability"),
    [  # of tables of the Mann-Whitney U test
        ([1, 2, 3], [4, 5, 6], 0.1),
        ([1, 2, 3, 4], [5, 6, 7, 8], 2 / 70),
        ([1, 3], [2, 4], 2 / 3),
        ([7.0] * 10, [7.0] * 10, 1.0),
    ],
)
def test_known_probabilities(ones: list[float], others: list[float], probability: float) -> None:
    assert rank_probability(ones, others) == pytest.approx(probability)


@pytest.mark.parametrize(("ones", "others"), [(1, 1), (3, 4), (PARTS, PARTS), (2, PARTS)])
def test_the_least_probability_is_that_of_ranks_that_do_not_mix(ones: int, others: int) -> None:
    low, high = range(ones), range(100, 100 + others)
    assert rank_probability(low, high) == pytest.approx(least_probability(ones, others))


def test_of_nothing_nothing_can_be_told() -> None:
    assert least_probability(0, 10) == 1.0
    assert bounds(0) == []


@pytest.mark.parametrize(
    ("probabilities", "highest"),
    [
        ([], -1.0),
        ([0.05], 0.05),
        ([0.051], -1.0),
        ([0.01, 0.04, 0.03, 0.005], 0.01),  # Holm 1979: 0.03 is more than 0.05 / 2
        ([0.02, 0.02], 0.02),
        ([0.03, 0.03], -1.0),
    ],
)
def test_many_chances_ask_for_smaller_ones(probabilities: list[float], highest: float) -> None:
    assert limit(probabilities) == highest


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_no_less_is_asked_for_than_of_one_and_no_more_than_of_all(some: list[float]) -> None:
    found = limit(some)
    assert found <= ALPHA
    assert found >= max((p for p in some if p <= ALPHA / len(some)), default=-1.0)


@given(st.integers(1, 200))
def test_parts_are_equally_long_and_leave_nothing_out(values: int) -> None:
    parts = bounds(values)
    lengths = [b - a for a, b in parts]
    assert sum(lengths) == values
    assert len(parts) == min(values, PARTS)
    assert max(lengths) - min(lengths) <= 1
