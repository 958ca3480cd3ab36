"""Whether two runs differ by more than each of them differs from itself.

A run is split into parts that follow one another (batch means: Conway, *Some tactical problems in
digital simulation*, Management Science 10, 1963; ten of them: Schmeiser, *Batch size effects in
the analysis of simulation output*, Operations Research 30, 1982). What is measured of neighbours
depends on one another, as they waited for the same connections; means of long parts hardly do.
The parts of both runs are then compared by their ranks (Wilcoxon 1945; Mann and Whitney 1947).
Ranks need no normal distribution, and a part that was slow because connections were opened in it
weighs no more than any other.
"""

from __future__ import annotations

import functools
import math
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PARTS = 10
"""Of a run, if it has as many values."""

ALPHA = 0.05
"""How often two runs that do not differ may be called different, in anything at all."""


class Range(NamedTuple):
    """The least and the greatest of what the parts of a run come to."""

    low: float
    high: float

    @classmethod
    def of(cls, parts: Sequence[float]) -> Range | None:
        """Of these parts; ``None`` of none."""
        return cls(min(parts), max(parts)) if parts else None


def bounds(values: int) -> list[tuple[int, int]]:
    """Where the parts of so many values begin and end: equally many in each, or one more."""
    parts = min(values, PARTS)
    edges = [values * part // parts for part in range(parts + 1)] if parts else []
    return list(pairwise(edges))


def rank_probability(ones: Sequence[float], others: Sequence[float]) -> float:
    """How likely ranks as unequal as these are, in either direction, if there is no difference.

    It is exact, also if values are equal: all ways to deal out the ranks are counted.
    """
    ranks = _doubled_ranks([*ones, *others])
    observed = sum(ranks[: len(ones)])
    ways = _ways(tuple(sorted(ranks)), len(ones))
    expected = len(ones) * (len(ranks) + 1)
    unequal = abs(observed - expected)
    extreme = sum(times for total, times in ways.items() if abs(total - expected) >= unequal)
    return extreme / sum(ways.values())


def tendency(ones: Sequence[float], others: Sequence[float]) -> int:
    """In how many pairs the other is the greater one, less those in which it is the lesser."""
    return sum((other > one) - (other < one) for one in ones for other in others)


def least_probability(ones: int, others: int) -> float:
    """The least that ``rank_probability`` can be for so many values."""
    if not ones or not others:
        return 1.0
    return min(2 / math.comb(ones + others, ones), 1.0)


def limit(probabilities: Iterable[float]) -> float:
    """Up to which of them what they belong to is no chance (Holm 1979); less than 0: none of them.

    With many of them, some are small by chance. This one keeps the probability that any is taken
    for a difference where there is none at ``ALPHA`` at the most, however they depend on another.
    """
    ordered = sorted(probabilities)
    found = -1.0
    for index, probability in enumerate(ordered):
        if probability > ALPHA / (len(ordered) - index):
            break
        found = probability
    return found


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the ranks, from 1 on, in the order of the values; equal ones share theirs."""
    ranks = [0] * len(values)
    begun = 0
    order = sorted(range(len(values)), key=values.__getitem__)
    for _, equal in groupby(order, key=values.__getitem__):
        indices = list(equal)
        for index in indices:
            ranks[index] = 2 * begun + len(indices) + 1
        begun += len(indices)
    return ranks


@functools.lru_cache(maxsize=1_000)
def _ways(ranks: tuple[int, ...], number: int) -> Mapping[int, int]:
    """In how many ways so many of the ranks come to each sum."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(number))]
    for rank in ranks:
        for chosen in range(number, 0, -1):
            into = ways[chosen]
            for total, times in ways[chosen - 1].items():
                into[total + rank] = into.get(total + rank, 0) + times
    return ways[number]
