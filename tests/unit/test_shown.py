"""Checkouts that are shown one by one: their spans as values, and what their time went into."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import oracle
import pytest
from drawn import traces
from factories import PROCESS, make_checkout, make_pool, make_site, op, sample
from hypothesis import given
from views import spent_by, with_spans

from poolhog.analysis.accounting import GAPS, State
from poolhog.analysis.shown import QUEUEING, at_places, by_line, shown_of, states_of
from poolhog.model import Activity, Checkout, Outcome, Site
from poolhog.model import OperationKind as Kind

if TYPE_CHECKING:
    from poolhog.model import Pool, Trace

MICROSECOND = 1e-6
SITES = (make_site(1), make_site(2))
LIBRARY = make_site(5, file="/lib/tasks.py", is_application=False, caller=SITES[1])
PARKED, RUNNING, READY, BUSY, *_ = Activity


def states(checkout: Checkout, *others: Checkout) -> list[tuple[State, float, float]]:
    """The states of a checkout, with gaps split by the samples of others."""
    one, *_ = with_spans(checkout, *others)
    return [span[:3] for span in states_of(one.spans)]


def until(instant: float) -> Pool:
    """A pool of a process of which nothing later is known."""
    return replace(make_pool(), process=replace(PROCESS, written=instant))


@given(traces())
def test_spans_cover_a_checkout_and_come_to_what_it_spent(trace: Trace) -> None:
    shown = shown_of(trace)
    assert [*shown] == [c.id for c in sorted(trace.checkouts, key=lambda c: (c.asked, c.id))]
    for checkout, every, spent in shown.values():
        spans = list(every)
        assert spans == list(every)
        assert all(one.ended == other.started for one, other in pairwise(spans))
        assert all(span.duration > 0 for span in spans)
        ended = oracle.instant_of(checkout.pool.process, spans[-1].ended) if spans else None
        assert ended in (None, oracle.end_of(checkout))
        seconds: Counter[State] = Counter()
        for span in spans:
            seconds[span.state] += span.duration  # type: ignore[assignment]  # a counter of seconds
        assert seconds[State.WAITING] == pytest.approx(spent.wait, abs=MICROSECOND)
        assert spent.wait == spent.queueing + spent.connecting + spent.pinging
        assert spent.use == pytest.approx(
            sum(seconds[state] for state in (State.BUSY, State.BLOCKED, *GAPS)), abs=MICROSECOND
        )
        # Of others, the recorder added up how long they were busy.
        if not oracle.is_over(checkout) or checkout.samples:
            expected = [seconds[state] for state in (State.BUSY, State.BLOCKED, *GAPS)]
            assert spent[3:] == pytest.approx(expected, abs=MICROSECOND)


@given(traces())
def test_spans_say_what_was_done_and_where(trace: Trace) -> None:
    for checkout, every, _ in shown_of(trace).values():
        operations = {(o.kind, o.statement, o.error, o.site) for o in checkout.operations}
        seen = {(oracle.state_of(s), s.site) for s in checkout.samples}
        for span in every:
            assert span.number == 1
            if span.is_of_gap:
                assert span.statement is None
                assert (span.state, span.site) in seen or span.site is None
            elif span.kind == QUEUEING:
                assert (span.state, span.site) == (State.WAITING, checkout.site)
            else:
                assert (span.kind, span.statement, span.error, span.site) in operations
                assert span.state in (State.WAITING, State.BUSY)


@given(traces())
def test_neighbours_that_are_one_last_as_long(trace: Trace) -> None:
    for shown in shown_of(trace).values():
        spans = list(shown.spans)
        lent = [span for span in spans if span.state is not State.WAITING]
        for found, of in (
            (states_of(spans), spans),
            (by_line(spans), spans),
            (at_places(shown), lent),
        ):
            joined = list(found)
            assert all(one.ended == other.started for one, other in pairwise(joined))
            edges = [(some[0].started, some[-1].ended) if some else None for some in (joined, of)]
            assert edges[0] == edges[1]
        assert all(one.state is not other.state for one, other in pairwise(states_of(spans)))
        assert all(one[3:6] != other[3:6] for one, other in pairwise(by_line(spans)))
        in_flight = sum(not span.is_of_gap for span in lent)
        assert sum(not span.is_of_gap for span in at_places(shown)) == in_flight


def test_a_wait_is_told_apart() -> None:
    checkout = make_checkout(
        asked=1.0,
        granted=2.0,
        returned=2.5,
        operations=[op(Kind.CONNECT, 1.25, 1.75), op(Kind.PING, 1.75, 1.875)],
    )
    found = spent_by(checkout)
    assert (found.queueing, found.connecting, found.pinging) == (0.375, 0.5, 0.125)
    assert (found.busy, found.gap) == (0.0, 0.5)
    (shown,) = with_spans(checkout)
    assert [span.kind for span in shown.spans] == [
        *(QUEUEING, Kind.CONNECT, Kind.PING, QUEUEING, State.RUNNING)
    ]


def test_an_operation_in_flight_is_busy_until_the_end_of_the_trace() -> None:
    checkout = make_checkout(
        granted=1.0, operations=[op(Kind.STATEMENT, 2.0, None)], pool=until(4.0)
    )
    assert checkout.outcome is Outcome.OPEN
    assert states(checkout) == [
        (State.WAITING, 0.0, 1.0),
        (State.RUNNING, 1.0, 2.0),
        (State.BUSY, 2.0, 4.0),
    ]


def test_a_waiting_checkout_waits_until_the_end_of_the_trace() -> None:
    checkout = make_checkout(asked=1.0, operations=[op(Kind.CONNECT, 2.0, None)], pool=until(4.0))
    assert states(checkout) == [(State.WAITING, 1.0, 4.0)]
    found = spent_by(checkout)
    assert (found.queueing, found.connecting, found.use) == (1.0, 2.0, 0.0)


def test_a_wait_that_gave_up_ends_there() -> None:
    assert states(make_checkout(asked=1.0, gave_up=3.0)) == [(State.WAITING, 1.0, 3.0)]


def test_a_checkout_asked_for_after_the_last_commit_has_no_spans() -> None:
    assert states(make_checkout(asked=5.0, pool=until(4.0))) == []


def test_operations_that_outlive_their_checkout_are_cut() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=2.0,
        operations=[op(Kind.STATEMENT, 1.0, 3.0), op(Kind.COMMIT, 3.0, 4.0)],
    )
    assert [state for state, *_ in states(checkout)] == [State.RUNNING, State.BUSY]
    assert spent_by(checkout).use == 2.0


def test_operations_that_overlap_count_once() -> None:
    overlapping = [op(Kind.STATEMENT, 1.0, 3.0), op(Kind.FETCH, 2.0, 4.0)]
    found = spent_by(make_checkout(granted=0.0, operations=overlapping, pool=until(5.0)))
    assert (found.busy, found.gap) == (3.0, 2.0)


def test_each_instant_of_a_gap_is_what_the_nearest_sample_says() -> None:
    samples = [
        sample(RUNNING, 1.0, 1.0),
        sample(PARKED, 2.0, 4.0, SITES[0]),
        sample(PARKED, 4.5, 5.0, LIBRARY),
        sample(READY, 6.0, 7.0),
    ]
    checkout = make_checkout(granted=0.0, returned=8.0, samples=samples)
    assert states(checkout) == [
        (State.RUNNING, 0.0, 1.5),
        (State.PARKED, 1.5, 5.5),
        (State.READY, 5.5, 8.0),
    ]
    (shown,) = with_spans(checkout)
    assert [(span.started, span.ended, span.site, span.line) for span in shown.spans] == [
        (0.0, 1.5, None, None),
        (1.5, 4.25, SITES[0], SITES[0]),
        (4.25, 5.5, LIBRARY, SITES[1]),
        (5.5, 8.0, None, None),
    ]
    assert shown.spent[3:] == (0.0, 0.0, 4.0, 1.5, 2.5)


def test_samples_tell_about_their_own_gap_only() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=8.0,
        operations=[op(Kind.STATEMENT, 2.0, 3.0)],
        samples=[sample(PARKED, 1.0, 1.5)],
    )
    # The gap without a sample is split like the other one.
    assert [state for state, *_ in states(checkout)] == [State.PARKED, State.BUSY, State.PARKED]


def test_a_sample_that_goes_on_lasts_until_the_end_of_the_trace() -> None:
    still = make_checkout(
        granted=0.0,
        samples=[sample(RUNNING, 1.0, 1.0), sample(PARKED, 2.0, None)],
        pool=until(9.0),
    )
    assert states(still) == [(State.RUNNING, 0.0, 1.5), (State.PARKED, 1.5, 9.0)]


def test_a_sample_whose_end_was_not_written_ends_where_the_next_begins() -> None:
    """A crash loses the last 250 ms of each table on its own."""
    samples = [sample(PARKED, 1.0, None), sample(RUNNING, 4.0, 4.0)]
    checkout = make_checkout(granted=0.0, returned=6.0, samples=samples)
    assert states(checkout) == [(State.PARKED, 0.0, 4.0), (State.RUNNING, 4.0, 6.0)]


def test_a_gap_of_no_length_is_none() -> None:
    back_to_back = [op(Kind.STATEMENT, 0.0, 1.0), op(Kind.COMMIT, 1.0, 2.0)]
    checkout = make_checkout(granted=0.0, returned=2.0, operations=back_to_back)
    assert states(checkout) == [(State.BUSY, 0.0, 2.0)]
    begin = op(Kind.BEGIN, 1.0, 1.0)
    begun = make_checkout(granted=0.0, returned=2.0, operations=[begin])
    assert states(begun) == [(State.RUNNING, 0.0, 2.0)]
    assert states(make_checkout(granted=1.0, returned=1.0)) == [(State.WAITING, 0.0, 1.0)]


def unsampled(site: Site) -> Checkout:
    return make_checkout(granted=0.0, returned=8.0, site=site)


def test_a_gap_without_samples_is_split_like_its_short_siblings() -> None:
    short = make_checkout(
        "short",
        granted=0.0,
        returned=0.016,
        site=SITES[0],
        samples=[sample(RUNNING, 0.002, 0.002), sample(READY, 0.006, 0.006)],
    )
    assert states(unsampled(SITES[0]), short, long_parked()) == [
        (State.RUNNING, 0.0, 2.0),
        (State.READY, 2.0, 8.0),
    ]


def long_parked() -> Checkout:
    seen = [sample(PARKED, 1.0, 4.0)]
    return make_checkout("long", granted=0.0, returned=5.0, site=SITES[0], samples=seen)


def test_without_short_siblings_the_long_ones_count() -> None:
    shown, _ = with_spans(unsampled(SITES[0]), long_parked())
    assert shown.spent.parked == 8.0


def test_what_no_sample_tells_about_is_running() -> None:
    shown, _ = with_spans(unsampled(SITES[1]), long_parked())
    assert shown.spent.running == 8.0


def test_what_is_short_depends_on_the_sampling_interval() -> None:
    """At 100 ms between looks, a gap of 150 ms is a short one."""
    pool = replace(make_pool(), process=replace(PROCESS, sampling_interval=0.1))
    short = make_checkout(
        granted=0.0, returned=0.15, site=SITES[0], samples=[sample(READY, 0.1, 0.1)]
    )
    every = [
        replace(c, pool=pool) for c in (short, replace(unsampled(SITES[0]), id="un"), long_parked())
    ]
    assert with_spans(*every)[1].spent.ready == 8.0
