"""Peaks, times and percentiles of many intervals, against looking at each instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import traces
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.measured import (
    Sums,
    measured,
    peak_of,
    percentile,
    sums_of,
    time_of,
    waits_of,
)
from poolhog.analysis.memory import ledgers_of

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Numbers
    from poolhog.model import Trace

INTERVALS = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair)))
)


def columns(intervals: list[tuple[int, int]]) -> tuple[Numbers, Numbers]:
    starts, ends = np.array(intervals, np.int64).reshape(-1, 2).T
    return np.sort(starts), np.sort(ends)


@given(INTERVALS)
def test_the_most_that_cover_one_instant(intervals: list[tuple[int, int]]) -> None:
    assert peak_of(*columns(intervals)) == oracle.peak(intervals)


@given(INTERVALS, st.integers(1, 5))
def test_the_time_in_which_so_many_cover_the_instant(
    intervals: list[tuple[int, int]], number: int
) -> None:
    assert time_of(number, *columns(intervals)) == oracle.covered(number, intervals)


def test_intervals_that_touch_do_not_overlap() -> None:
    starts, ends = np.array([0, 5, 10]), np.array([5, 10, 15])
    assert peak_of(starts, ends) == 1
    assert (time_of(1, starts, ends), time_of(2, starts, ends)) == (15, 0)
    assert peak_of(starts[:0], ends[:0]) == time_of(1, starts[:0], ends[:0]) == 0


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[int], share: float
) -> None:
    found = percentile(np.sort(np.array(values)), share)
    enough = share * len(values)
    assert sum(value <= found for value in values) >= enough
    assert sum(value < found for value in values) < enough or found == min(values)


def test_waits_are_in_seconds() -> None:
    found = waits_of(np.arange(1, 101) * 1_000)
    assert (found.p50, found.p95, found.longest) == pytest.approx((0.050, 0.095, 0.100))
    assert waits_of(np.array([], np.int64)).longest == 0.0


@given(traces(), st.data())
def test_sums_are_those_of_the_checkouts(trace: Trace, data: st.DataObject) -> None:
    for ledger in ledgers_of(trace):
        every = np.arange(len(ledger))
        found = measured(ledger, every[:0], lambda *_: None)
        chosen = every[[data.draw(st.booleans()) for _ in every.tolist()]] if len(every) else every
        sums = sums_of(found, chosen)
        all_of_them = list(ledger.checkouts(every))
        shares = oracle.shares(all_of_them)
        some = [all_of_them[row] for row in chosen.tolist()]
        for place, state in enumerate(oracle.GAPS):
            expected = sum(oracle.gap_seconds(checkout, shares)[place] for checkout in some)
            assert getattr(sums.spent, state) == pytest.approx(expected / 1e6, abs=1e-9)
        for name in ("queueing", "connecting", "pinging", "busy"):
            expected = sum(getattr(oracle.seconds(checkout), name) for checkout in some)
            assert getattr(sums.spent, name) == pytest.approx(expected / 1e6, abs=1e-9)
        outcomes = [checkout.outcome for checkout in some]
        assert sums.outcomes == {outcome: outcomes.count(outcome) for outcome in outcomes}
        waits = [oracle.end_of_wait(c) - oracle.at(c, c.asked) for c in some]
        assert sums.waits.tolist() == sorted(waits)
        halves = [sums_of(found, part) for part in np.array_split(chosen, 2)]
        joined = Sums.joined(halves)
        assert joined.spent == pytest.approx(sums.spent, abs=1e-9)
        assert joined.outcomes == sums.outcomes
        assert joined.waits.tolist() == sums.waits.tolist()
