"""Checkouts cut into spans on columns, against the plain definitions of one at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import traces
from factories import make_checkout, op, trace_of
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.ledger import KINDS, NEVER
from poolhog.analysis.measured import Measured, measured
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.shares import Shares
from poolhog.analysis.spans import (
    BUSY,
    GAPS,
    PARKED,
    STATES,
    UNSAMPLED,
    WAITING,
    Split,
    cut,
    look,
    running_maximum,
    unlooked,
    worth_a_look,
)
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.spans import Cut
    from poolhog.model import Checkout, Trace

NAMES = (*(state.value for state in STATES), oracle.UNSAMPLED)


def every_row(ledger: Ledger) -> Numbers:
    return np.arange(len(ledger))


def of_rows(ledger: Ledger) -> list[Checkout]:
    return list(ledger.checkouts(every_row(ledger)))


def stretches(found: Cut, row: int) -> list[oracle.Stretch]:
    """The spans of a row, neighbours of one state as one."""
    spans = found.spans.where(found.spans.row == row)
    columns = zip(spans.state.tolist(), spans.started.tolist(), spans.ended.tolist(), strict=True)
    return oracle.joined(oracle.Stretch(NAMES[state], a, b) for state, a, b in columns)


@given(traces())
def test_spans_are_the_states_of_each_checkout(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        found = cut(ledger, every_row(ledger))
        for row, checkout in enumerate(of_rows(ledger)):
            assert stretches(found, row) == oracle.stretches(checkout)


@given(traces())
def test_spans_leave_no_holes_and_none_is_empty(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        spans = cut(ledger, every_row(ledger)).spans
        assert (spans.duration > 0).all()
        assert (np.diff(spans.row) >= 0).all()
        for row in every_row(ledger).tolist():
            own = spans.where(spans.row == row)
            edges = list(zip(own.started.tolist(), own.ended.tolist(), strict=True))
            assert all(one[1] == other[0] for one, other in pairwise(edges))
            if edges:
                assert (edges[0][0], edges[-1][1]) == (ledger.asked[row], ledger.over[row])
            else:
                assert ledger.asked[row] == ledger.over[row]
            is_wait = own.state == WAITING
            assert is_wait.tolist() == (own.started < ledger.left[row]).tolist()


@given(traces())
def test_spans_name_what_they_are_of(trace: Trace) -> None:
    """The operation in flight, the sample that tells the state, and the gap; or none of these."""
    for ledger in ledgers_of(trace):
        spans, gaps, operations, samples = cut(ledger, every_row(ledger))
        in_flight = spans.where(spans.operation >= 0)
        is_sampled, in_gap = spans.where(spans.sample >= 0), spans.where(spans.gap >= 0)
        assert (operations.row[in_flight.operation] == in_flight.row).all()
        assert (samples.row[is_sampled.sample] == is_sampled.row).all()
        assert (gaps.row[in_gap.gap] == in_gap.row).all()
        assert (in_gap.started >= gaps.started[in_gap.gap]).all()
        assert (in_gap.ended <= gaps.ended[in_gap.gap]).all()
        # Every gap is covered, by samples or by one span without.
        covered = np.bincount(in_gap.gap, in_gap.duration, len(gaps.row))
        assert covered.tolist() == (gaps.ended - gaps.started).tolist()
        is_unsampled = spans.state == UNSAMPLED
        assert ((spans.gap >= 0) & (spans.sample < 0)).tolist() == is_unsampled.tolist()
        assert (operations.started[in_flight.operation] <= in_flight.started).all()
        assert (operations.ended[in_flight.operation] >= in_flight.ended).all()
        assert np.isin(in_flight.state, (WAITING, BUSY)).all()
        # What is busy is an operation in flight, or a sample that says so.
        busy = spans.where(spans.state == BUSY)
        assert ((busy.operation >= 0) != (busy.sample >= 0)).all()


@given(traces())
def test_a_gap_knows_the_operation_that_it_follows(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        found = cut(ledger, every_row(ledger))
        gaps, operations = found.gaps, found.operations
        for row, checkout in enumerate(of_rows(ledger)):
            own = np.flatnonzero(gaps.row == row)
            edges = zip(gaps.started[own].tolist(), gaps.ended[own].tolist(), strict=True)
            assert list(edges) == list(oracle.gaps(checkout))
        after = gaps.after[gaps.after >= 0]
        follows = gaps.started[gaps.after >= 0]
        assert (operations.row[after] == gaps.row[gaps.after >= 0]).all()
        assert (np.minimum(operations.ended[after], NEVER) == follows).all()
        first = gaps.after < 0
        assert (gaps.started[first] == ledger.left[gaps.row[first]]).all()


@given(traces(), st.data())
def test_some_rows_are_cut_like_all(trace: Trace, data: st.DataObject) -> None:
    for ledger in ledgers_of(trace):
        chosen = [row for row in range(len(ledger)) if data.draw(st.booleans())]
        whole, some = (cut(ledger, np.array(r, np.int64)) for r in (range(len(ledger)), chosen))
        assert set(some.spans.row.tolist()) <= set(chosen)
        for row in chosen:
            assert stretches(some, row) == stretches(whole, row)


def split_of(ledger: Ledger) -> Split:
    split, rows = unlooked(ledger), worth_a_look(ledger)
    look(ledger, split, cut(ledger, rows), rows)
    return split


@given(traces())
def test_time_is_split_like_that_of_each_checkout(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        split = split_of(ledger)
        for row, checkout in enumerate(of_rows(ledger)):
            found = oracle.Seconds(*(int(column[row]) for column in split))
            assert found == oracle.seconds(checkout)
            use = oracle.end_of(checkout) - oracle.end_of_wait(checkout)
            assert sum(found[3:]) == use
            assert sum(found[:3]) == oracle.end_of_wait(checkout) - ledger.asked[row]


def test_what_is_over_and_was_not_sampled_is_as_the_recorder_added_it_up() -> None:
    connect = op(OperationKind.CONNECT, 0.0, 0.25)
    some = [
        replace(make_checkout(f"c{n}", 0.0, 1.0, 3.0, operations=[connect]), busy=busy)
        for n, busy in enumerate((0.5, 9.0))
    ]
    (ledger,) = ledgers_of(trace_of(some))
    assert worth_a_look(ledger).tolist() == []
    busy = [500_000, 2_000_000]  # no more than the use
    split = split_of(ledger)
    assert (split.queueing.tolist(), split.connecting.tolist()) == ([750_000] * 2, [250_000] * 2)
    assert (split.busy.tolist(), split.unsampled.tolist()) == (busy, [1_500_000, 0])


@given(traces())
def test_what_was_looked_at_agrees_with_its_spans(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        rows = every_row(ledger)
        split, found = unlooked(ledger), cut(ledger, rows)
        look(ledger, split, found, rows)
        spans = found.spans
        for state, column in ((PARKED, split.parked), (UNSAMPLED, split.unsampled)):
            own = spans.where(spans.state == state)
            sums = np.bincount(own.row, own.duration, len(ledger))
            assert column.tolist() == sums.tolist()
        # A checkout that is over knows its connecting by itself.
        is_open = np.flatnonzero(~ledger.is_closed)
        spans = spans.where((spans.state == WAITING) & (spans.operation >= 0))
        kind = found.operations.kind[spans.operation]
        spans = spans.where(kind == KINDS.index(OperationKind.CONNECT))
        sums = np.bincount(spans.row, spans.duration, len(ledger))
        assert split.connecting[is_open].tolist() == sums[is_open].tolist()


def nothing_seen(rows: Numbers, found: Cut, split: Split) -> None:
    """Nobody looks."""


@given(traces())
def test_shares_are_those_of_the_samples_asked_for_at_each_site(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        found = Shares(ledger)
        found.learn(ledger, cut(ledger, every_row(ledger)))
        expected = oracle.shares(of_rows(ledger))
        for code, site in enumerate(ledger.sites):
            share = expected.get(site, oracle.NO_SHARE)
            assert found.of_sites[code].tolist() == pytest.approx(share, abs=1e-12)
        assert found.of_sites.sum(axis=1) == pytest.approx(np.ones(len(ledger.sites)))


class Companion:
    """Counts what it is shown."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.closed = 0

    def see(self, found: Measured, rows: Numbers, spans: Cut) -> None:
        self.rows += rows.tolist()
        assert set(spans.spans.row.tolist()) <= set(rows.tolist())

    def close(self, found: Measured) -> None:
        self.closed += 1


@given(traces(), st.integers(1, 5))
def test_what_is_measured_in_parts_is_that_of_the_whole(trace: Trace, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for ledger in ledgers_of(trace):
            patch.setattr("poolhog.analysis.measured._AT_ONCE", 50_000)
            whole = measured(ledger, every_row(ledger)[:0], nothing_seen)
            patch.setattr("poolhog.analysis.measured._AT_ONCE", at_once)
            companion = Companion()
            parts = measured(ledger, every_row(ledger)[:0], nothing_seen, [companion])
            for one, other in zip(whole.split, parts.split, strict=True):
                assert one.tolist() == other.tolist()
            assert whole.shares == pytest.approx(parts.shares)
            # A companion is shown every row once, in order.
            assert companion.rows == every_row(ledger).tolist()
            split = parts.split
            assert (split.unsampled + split.busy <= (ledger.over - ledger.asked)).all()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**40), 2**40))),
    st.sampled_from([1, 2**20]),
)
def test_the_running_maximum_of_each_group(pairs: list[tuple[int, int]], scale: int) -> None:
    """Also of values so far apart that the groups cannot be told apart by an offset."""
    pairs.sort(key=lambda pair: pair[0])
    group, values = np.array(pairs, np.int64).reshape(-1, 2).T
    found = running_maximum(group, values * scale)
    for place, (own, _) in enumerate(pairs):
        before = [value for other, value in pairs[: place + 1] if other == own]
        assert found[place] == max(before) * scale


def test_states_are_those_of_the_words() -> None:
    assert NAMES[:-1] == oracle.STATES
    assert tuple(NAMES[state] for state in GAPS) == oracle.GAPS
