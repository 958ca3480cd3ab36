"""What lies in which bin, against cutting each interval at the edges by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import traces
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.accounting import State
from poolhog.analysis.occupancy import LENT, Bins, Grid
from poolhog.analysis.report import report_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.model import Checkout, Trace

INTERVALS = st.lists(
    st.tuples(st.integers(-2_000, 12_000), st.integers(-10, 9_000), st.integers(0, 3)), max_size=12
)


def spread(
    grid: Grid, began: float, intervals: Sequence[tuple[int, int, int]], rate: float = 1.0
) -> list[float]:
    """Seconds by bin, each interval and bin by themselves."""
    found = []
    for index in range(grid.count):
        edges = [(grid.begin(at) - began) * 1e6 for at in (index, index + 1)]
        parts = (
            weight * max(min(start + length, edges[1]) - max(start, edges[0]), 0.0)
            for start, length, weight in intervals
            if length > 0
        )
        found.append(rate * sum(parts) / 1e6)
    return found


@given(INTERVALS, st.integers(1, 9), st.integers(0, 3_000), st.sampled_from([0.0, 0.0015]))
def test_intervals_are_spread_over_the_bins_that_they_lie_in(
    intervals: list[tuple[int, int, int]], count: int, started: int, began: float
) -> None:
    grid = Grid(started / 1e6, 0.008, count)
    start, length, weight = np.array(intervals, np.int64).reshape(-1, 3).T
    found = grid.spread(began, start, start + length, weights=weight.astype(float))
    assert list(found) == pytest.approx(spread(grid, began, intervals), abs=1e-12)
    plain = grid.spread(began, start, start + length)
    ones = [(start, length, 1) for start, length, _ in intervals]
    assert list(plain) == pytest.approx(spread(grid, began, ones), abs=1e-12)
    # By a clock that goes three times as fast, all is three times as much.
    fast = grid.spread(began, start, start + length, lambda instants: 3.0 * instants / 1e6)
    assert list(fast) == pytest.approx(spread(grid, began, ones, 3.0), abs=1e-12)


def test_intervals_that_end_at_an_edge_are_in_no_other_bin() -> None:
    grid = Grid(0.0, 0.004, 4)
    starts, ends = np.array([0, 1_000, 1_000]), np.array([1_000, 3_000, 1_000])
    assert list(grid.spread(0.0, starts, ends)) == pytest.approx([0.001, 0.001, 0.001, 0.0])


def test_a_run_that_took_no_time_has_bins() -> None:
    grid = Grid(1.0, 1.0, 3)
    assert grid.width > 0
    assert [grid.begin(index) for index in range(4)] == sorted(grid.begin(i) for i in range(4))


def on_run(checkout: Checkout, instant: int) -> int:
    """Microseconds on the clock of the run."""
    return instant + round(checkout.pool.process.began * 1e6)


@given(traces(), st.integers(1, 7))
def test_bins_add_up_to_the_report(trace: Trace, count: int) -> None:
    bins = Bins(0.0, 0.1, count)
    report = report_of(trace, companions=[bins])
    for state in LENT:
        spent = getattr(report.spent, state.value)
        assert float(bins.lent[state].sum()) == pytest.approx(spent, abs=1e-9)
    assert float(bins.waited.sum()) == pytest.approx(report.spent.wait, abs=1e-9)


@given(traces(), st.integers(1, 7))
def test_bins_hold_what_checkouts_did_in_them(trace: Trace, count: int) -> None:
    bins = Bins(0.0, 0.1, count)
    report_of(trace, companions=[bins])
    found = {state.value: np.zeros(count) for state in LENT}
    waited = np.zeros(count)
    for process in trace.processes:
        own = [c for c in trace.checkouts if c.pool.process is process]
        shares = oracle.shares(own)
        for checkout in own:
            share = dict(zip(oracle.GAPS, shares.get(checkout.site, oracle.NO_SHARE), strict=True))
            for state, started, ended in oracle.stretches(checkout):
                parts = np.array(spread(bins, process.began, [(started, ended - started, 1)]))
                if state == oracle.WAITING:
                    waited += parts
                elif state == oracle.UNSAMPLED:
                    for name, part in share.items():
                        found[name] += part * parts
                else:
                    found[state] += parts
    for name, row in found.items():
        assert bins.lent[State(name)] == pytest.approx(row, abs=1e-9)
    assert bins.waited == pytest.approx(waited, abs=1e-9)


@given(traces(), st.integers(1, 7))
def test_peaks_are_the_most_that_waited_at_an_instant_of_a_bin(trace: Trace, count: int) -> None:
    bins = Bins(0.0, 0.1, count)
    report_of(trace, companions=[bins])
    bins.settle()
    waits = [
        (on_run(c, oracle.at(c, c.asked)), on_run(c, oracle.end_of_wait(c)))
        for c in trace.checkouts
    ]
    waits = [(started, ended) for started, ended in waits if ended > started]
    edges = [round(index * bins.width * 1e6) for index in range(count)]
    for index, edge in enumerate(edges):
        last = index + 1 == count
        instants = [edge, *(s for s, _ in waits if s >= edge and (last or s < edges[index + 1]))]
        most = max(sum(started <= at < ended for started, ended in waits) for at in instants)
        assert bins.peaks[index] == most


@given(traces(), st.integers(0, 100_000), st.integers(1, 100_000))
def test_how_many_checkouts_were_there_in_a_window(trace: Trace, first: int, length: int) -> None:
    bins = Bins(0.0, 0.1, 3)
    report_of(trace, companions=[bins])
    bins.settle()
    expected = sum(
        on_run(c, oracle.at(c, c.asked)) < first + length and on_run(c, oracle.end_of(c)) >= first
        for c in trace.checkouts
    )
    assert bins.overlapping(first, first + length) == expected
