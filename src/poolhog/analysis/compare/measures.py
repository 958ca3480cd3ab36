"""What is compared of two runs, and whether they differ by more than each differs from itself.

Runs differ in length. So seconds are those of a request (of a checkout, where there are no
requests), and requests are counted by the second.

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
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.measured import percentile
from poolhog.analysis.throughput import throughput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.compare.series import Rows, Work
    from poolhog.analysis.findings import Finding

    Floats = NDArray[np.float64]

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


_P50, _P95 = 0.50, 0.95


class Unit(StrEnum):
    """What a measure is told in."""

    SECONDS = "s"
    SHARE = "share"
    RATE = "per second"
    TIMES = "times"


@dataclass(frozen=True, slots=True)
class Value:
    """What a run comes to, and what its parts do, in their order: none if that is not told."""

    whole: float
    parts: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is compared.

    ``name`` is what a user calls it, ``key`` its name in JSON. A difference below ``least`` is
    none. ``of`` is the value for some work.
    """

    name: str
    key: str
    unit: Unit
    of: Callable[[Work], Value]
    least: float = 0.0
    is_less_better: bool = True


def _by_unit(column: Callable[[Rows], Floats]) -> Callable[[Work], Value]:
    """The mean of a column of the checkouts, for each request."""

    def value(work: Work) -> Value:
        values, scale = column(work.rows), work.per_unit
        if not len(values):
            # Whoever asked for no connection spent nothing on one.
            return Value(0.0, [0.0] * min(work.requests, PARTS))
        parts = [scale * float(values[a:b].mean()) for a, b in bounds(len(values))]
        return Value(float(values.sum()) / work.units, parts)

    return value


def _wait_at(share: float) -> Callable[[Work], Value]:
    def value(work: Work) -> Value:
        waits = work.rows.wait
        if not len(waits):
            return Value(0.0, [0.0] * min(work.requests, PARTS))
        return Value(
            _nearest(waits, share), [_nearest(waits[a:b], share) for a, b in bounds(len(waits))]
        )

    return value


def _nearest(values: Floats, share: float) -> float:
    return percentile(np.sort(values), share)


def _longest_wait(work: Work) -> Value:
    return Value(float(work.rows.wait.max(initial=0.0)))


def _idle(work: Work) -> Value:
    busy, use = work.rows.busy + work.rows.blocked, work.rows.use
    parts = [_idle_share(busy[a:b], use[a:b]) for a, b in bounds(len(use))]
    return Value(_idle_share(busy, use), parts)


def _idle_share(busy: Floats, use: Floats) -> float:
    used = float(use.sum())
    return max(1.0 - float(busy.sum()) / used, 0.0) if used else 0.0


def _timeouts(work: Work) -> Value:
    """Of the checkouts."""
    ended = work.rows.timed_out
    share = float(ended.mean()) if len(ended) else 0.0
    return Value(share, [float(ended[a:b].mean()) for a, b in bounds(len(ended))])


def _rate(work: Work) -> Value:
    """Answers per second; its parts are equally long."""
    edges = np.linspace(*work.counted, PARTS + 1).tolist()
    parts = [throughput(work.answered, between) for between in pairwise(edges)]
    return Value(throughput(work.answered, work.counted), parts if len(work.answered) else [])


_LEAST_S = 0.001

MEASURES = (
    Measure("throughput", "requests_per_s", Unit.RATE, _rate, is_less_better=False),
    Measure("wait-p50", "wait_p50_s", Unit.SECONDS, _wait_at(_P50), _LEAST_S),
    Measure("wait-p95", "wait_p95_s", Unit.SECONDS, _wait_at(_P95), _LEAST_S),
    Measure("wait-max", "wait_max_s", Unit.SECONDS, _longest_wait, _LEAST_S),
    Measure("wait", "wait_s", Unit.SECONDS, _by_unit(lambda r: r.wait), _LEAST_S),
    Measure("use", "use_s", Unit.SECONDS, _by_unit(lambda r: r.use), _LEAST_S),
    Measure("busy", "busy_s", Unit.SECONDS, _by_unit(lambda r: r.busy), _LEAST_S),
    Measure("blocked", "blocked_s", Unit.SECONDS, _by_unit(lambda r: r.blocked), _LEAST_S),
    Measure("parked", "parked_s", Unit.SECONDS, _by_unit(lambda r: r.parked), _LEAST_S),
    Measure("idle", "idle_share", Unit.SHARE, _idle, 0.05),
    Measure("timeouts", "timeout_share", Unit.SHARE, _timeouts, 0.005),
)
"""Of routes: seconds are those of a request, but for percentiles, which are of checkouts."""


def measure_of(finding: Finding, *, is_wasteful: bool) -> Measure:
    """How much of it there is in a request of its routes: seconds, or times if it wastes none."""
    asked = np.array(finding.occurrences.asked)
    order = np.argsort(asked, kind="stable")
    instants = asked[order]
    weights = np.array(finding.occurrences.seconds)[order] if is_wasteful else np.ones(len(asked))
    whole = finding.seconds if is_wasteful else float(finding.checkouts)

    def value(work: Work) -> Value:
        own = work.rows.asked
        parts = [
            _sum_within(instants, weights, own[a], own[b] if b < len(own) else math.inf)
            * work.per_unit
            / (b - a)
            for a, b in bounds(len(own))
        ]
        return Value(whole / work.units if work.units else 0.0, parts)

    if is_wasteful:
        return Measure("wasted", "wasted_s", Unit.SECONDS, value, _LEAST_S)
    return Measure("seen", "seen", Unit.TIMES, value)


def _sum_within(instants: Floats, weights: Floats, started: float, ended: float) -> float:
    first, last = np.searchsorted(instants, (started, ended))
    return float(weights[first:last].sum())
