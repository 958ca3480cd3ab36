"""Where the time of a checkout goes, on checkouts made by hand and at random."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn import traces
from factories import PROCESS, make_checkout, make_pool, make_site, op, sample
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.accounting import (
    GAPS,
    Interval,
    Share,
    Shares,
    State,
    Stretch,
    Transaction,
    account,
    end_of,
    end_of_wait,
    gaps,
    idle_in_transaction,
    intervals,
    stretches,
    told,
    transactions,
)
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.spans import cut, look, unlooked, worth_a_look
from poolhog.model import Activity, Outcome
from poolhog.model import OperationKind as Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.model import Checkout, Operation, Sample, Site, Trace

WAIT_KINDS = (Kind.CONNECT, Kind.PING)
USE_KINDS = tuple(kind for kind in Kind if kind not in WAIT_KINDS)
MICROSECOND = 1e-6


SITES = (make_site(1), make_site(2))
PARKED, RUNNING, READY, BUSY = Activity


@st.composite
def checkouts(draw: st.DrawFn) -> tuple[Checkout, float]:
    """A checkout as a recorder can write it, cut off at any instant, and that instant."""
    step = st.integers(0, 3_000_000)
    now = draw(step)

    def advance() -> float:
        nonlocal now
        now += draw(step)
        return now / 1e6

    def draw_operations(kinds: tuple[Kind, ...]) -> list[Operation]:
        return [
            op(draw(st.sampled_from(kinds)), advance(), advance())
            for _ in range(draw(st.integers(0, 4)))
        ]

    asked = advance()
    operations = draw_operations(WAIT_KINDS)
    granted = gave_up = returned = None
    if draw(st.booleans()):
        granted = advance()
        operations += draw_operations(USE_KINDS)
        returned = advance()
    else:
        gave_up = advance()
    until = draw(st.integers(0, now + 1_000_000)) / 1e6

    def seen(instant: float | None) -> float | None:
        return instant if instant is not None and instant <= until else None

    until = max(until, asked)
    written = [
        op(o.kind, o.started, seen(o.ended)) for o in operations if seen(o.started) is not None
    ]
    samples = draw_samples(draw, operations, granted, returned)
    checkout = make_checkout(
        asked=asked,
        granted=seen(granted),
        gave_up=seen(gave_up),
        returned=seen(returned),
        operations=written,
        samples=[
            sample(s.activity, s.started, seen(s.ended))
            for s in samples
            if seen(s.started) is not None
        ],
        site=draw(st.sampled_from(SITES)),
    )
    return checkout, until


def draw_samples(
    draw: st.DrawFn,
    operations: Sequence[Operation],
    granted: float | None,
    returned: float | None,
) -> list[Sample]:
    """Looks at some of the gaps, in order, none of them across an operation."""
    if granted is None or returned is None or draw(st.booleans()):
        return []
    used = [o for o in operations if o.started >= granted]
    begins = [granted, *(o.ended for o in used)]
    ends = [*(o.started for o in used), returned]
    found = []
    for began, ended in zip(begins, ends, strict=True):
        assert began is not None
        looks = sorted(draw(st.lists(st.floats(began, ended), max_size=6)))
        if began < ended:
            pairs = zip(looks[::2], looks[1::2], strict=False)
            found += [sample(draw(st.sampled_from(Activity)), *pair) for pair in pairs]
    return found


@st.composite
def many_checkouts(draw: st.DrawFn) -> tuple[list[Checkout], float]:
    made = draw(st.lists(checkouts(), min_size=1, max_size=4))
    return [checkout for checkout, _ in made], max(until for _, until in made)


@given(checkouts())
def test_intervals_cover_a_checkout_without_holes_or_overlaps(made: tuple[Checkout, float]) -> None:
    checkout, until = made
    found = intervals(checkout, until)
    end = end_of(checkout, until)
    at = checkout.asked
    for interval in found:
        assert interval.started == at
        assert interval.duration > 0
        at = interval.ended
    assert at == end or (not found and end == checkout.asked)


@given(checkouts())
def test_waits_come_first_and_gaps_are_never_neighbours(made: tuple[Checkout, float]) -> None:
    checkout, until = made
    states = [interval.state for interval in intervals(checkout, until)]
    assert State.WAITING not in states[1:]
    assert all(state is not following for state, following in itertools.pairwise(states))


@given(checkouts())
def test_the_account_adds_up_to_the_microsecond(made: tuple[Checkout, float]) -> None:
    checkout, until = made
    found = account(checkout, until)
    granted = end_of_wait(checkout, until)
    assert found.wait == pytest.approx(granted - checkout.asked, abs=MICROSECOND)
    assert found.wait == found.queueing + found.connecting + found.pinging
    assert found.use == found.busy + found.gap
    expected = end_of(checkout, until) - granted if checkout.granted is not None else 0.0
    assert found.use == pytest.approx(expected, abs=MICROSECOND)
    assert all(seconds >= -MICROSECOND for seconds in found)


@given(many_checkouts())
def test_the_account_is_what_the_intervals_add_up_to(made: tuple[list[Checkout], float]) -> None:
    several, until = made
    shares = Shares(several, until)
    for checkout in several:
        found = account(checkout, until, shares)
        seconds = dict.fromkeys(State, 0.0)
        for interval in intervals(checkout, until, shares):
            seconds[interval.state] += interval.duration
        expected = [seconds[state] for state in (State.WAITING, State.BUSY, *GAPS)]
        told = [found.wait, found.busy, found.parked, found.running, found.ready]
        assert told == pytest.approx(expected, abs=1e-9)


@given(many_checkouts())
def test_what_the_recorder_added_up_is_what_the_operations_say(
    made: tuple[list[Checkout], float],
) -> None:
    several, until = made
    shares = Shares(several, until)
    for sampled in several:
        checkout = replace(sampled, samples=())
        # The operations of one that is open are looked at.
        looked_at = replace(checkout, returned=None, gave_up=None)
        end = end_of(checkout, until)
        told = account(checkout, until, shares)
        assert told == pytest.approx(account(looked_at, end, shares), abs=1e-9)


@given(checkouts())
def test_stretches_are_the_gaps_that_have_samples(made: tuple[Checkout, float]) -> None:
    checkout, until = made
    found = list(stretches(checkout, until))
    for gap in gaps(checkout, until):
        within = [s for s in found if gap[0] <= s.started < gap[1]]
        seen = [s for s in checkout.samples if gap[0] <= s.started < gap[1]]
        assert bool(within) == bool(seen)
        if within:
            assert (within[0].started, within[-1].ended) == gap
            assert all(a.ended == b.started for a, b in itertools.pairwise(within))
    assert all(stretch.duration > 0 for stretch in found)
    assert {s.sample for s in found} <= set(checkout.samples)


@given(checkouts())
def test_idle_in_transaction_is_part_of_the_gaps(made: tuple[Checkout, float]) -> None:
    checkout, until = made
    idle = idle_in_transaction(checkout, until)
    assert 0 <= idle <= account(checkout, until).gap + MICROSECOND


def test_a_wait_is_told_apart() -> None:
    checkout = make_checkout(
        asked=1.0,
        granted=2.0,
        returned=2.5,
        operations=[op(Kind.CONNECT, 1.25, 1.75), op(Kind.PING, 1.75, 1.875)],
    )
    found = account(checkout, 9.0)
    assert (found.queueing, found.connecting, found.pinging) == (0.375, 0.5, 0.125)
    assert (found.busy, found.gap) == (0.0, 0.5)


def test_an_operation_in_flight_is_busy_until_the_end_of_the_trace() -> None:
    checkout = make_checkout(granted=1.0, operations=[op(Kind.STATEMENT, 2.0, None)])
    assert checkout.outcome is Outcome.OPEN
    assert intervals(checkout, 4.0) == (
        Interval(State.WAITING, 0.0, 1.0),
        Interval(State.RUNNING, 1.0, 2.0),
        Interval(State.BUSY, 2.0, 4.0),
    )


def test_a_waiting_checkout_waits_until_the_end_of_the_trace() -> None:
    checkout = make_checkout(asked=1.0, operations=[op(Kind.CONNECT, 2.0, None)])
    assert intervals(checkout, 4.0) == (Interval(State.WAITING, 1.0, 4.0),)
    found = account(checkout, 4.0)
    assert (found.queueing, found.connecting, found.use) == (1.0, 2.0, 0.0)


def test_a_wait_that_gave_up_ends_there() -> None:
    checkout = make_checkout(asked=1.0, gave_up=3.0)
    assert intervals(checkout, 9.0) == (Interval(State.WAITING, 1.0, 3.0),)
    assert end_of(checkout, 9.0) == 3.0


def test_a_checkout_asked_for_after_the_last_commit_has_no_intervals() -> None:
    assert intervals(make_checkout(asked=5.0), until=4.0) == ()


def test_operations_that_outlive_their_checkout_are_cut() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=2.0,
        operations=[op(Kind.STATEMENT, 1.0, 3.0), op(Kind.COMMIT, 3.0, 4.0)],
    )
    assert [i.state for i in intervals(checkout, 9.0)] == [State.RUNNING, State.BUSY]
    assert account(checkout, 9.0).use == 2.0


def test_operations_that_overlap_count_once() -> None:
    overlapping = [op(Kind.STATEMENT, 1.0, 3.0), op(Kind.FETCH, 2.0, 4.0)]
    found = account(make_checkout(granted=0.0, operations=overlapping), 5.0)
    assert (found.busy, found.gap) == (3.0, 2.0)


def test_a_commit_a_rollback_and_a_failed_commit() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=10.0,
        operations=[
            op(Kind.BEGIN, 0.0, 0.0),
            op(Kind.STATEMENT, 1.0, 2.0, "UPDATE a"),
            op(Kind.COMMIT, 2.0, 3.0),
            op(Kind.BEGIN, 3.0, 3.0),
            op(Kind.ROLLBACK, 4.0, 5.0),
            op(Kind.BEGIN, 5.0, 5.0),
            op(Kind.COMMIT, 6.0, 7.0, error="IntegrityError"),
            op(Kind.BEGIN, 7.0, 7.0),
            op(Kind.RESET, 8.0, 9.0, "ROLLBACK"),
        ],
    )
    assert transactions(checkout, 10.0) == (
        Transaction(0.0, 3.0, Kind.COMMIT),
        Transaction(3.0, 5.0, Kind.ROLLBACK),
        Transaction(5.0, 7.0, Kind.ROLLBACK),
        Transaction(7.0, 9.0, Kind.ROLLBACK),
    )


def test_a_transaction_that_is_open_has_no_end() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.STATEMENT, 1.0, 2.0, "SELECT")]
    still_open = make_checkout(granted=0.0, operations=operations)
    assert transactions(still_open, 5.0) == (Transaction(1.0, 5.0, None),)
    committing = make_checkout(granted=0.0, operations=[*operations, op(Kind.COMMIT, 4.0, None)])
    assert transactions(committing, 5.0) == (Transaction(1.0, 5.0, None),)


def test_a_begin_that_failed_begins_nothing() -> None:
    operations = [op(Kind.BEGIN, 1.0, 2.0, "BEGIN", "OSError"), op(Kind.RESET, 3.0, 4.0)]
    assert transactions(make_checkout(granted=0.0, operations=operations), 5.0) == ()


def test_a_second_begin_is_part_of_the_transaction() -> None:
    operations = [
        op(Kind.BEGIN, 1.0, 1.5, "BEGIN"),
        op(Kind.BEGIN, 2.0, 2.5, "BEGIN"),
        op(Kind.COMMIT, 3.0, 4.0, "COMMIT"),
    ]
    found = transactions(make_checkout(granted=0.0, returned=5.0, operations=operations), 5.0)
    assert found == (Transaction(1.0, 4.0, Kind.COMMIT),)


def test_autocommit_has_no_transactions() -> None:
    operations = [op(Kind.STATEMENT, 1.0, 2.0, "VACUUM"), op(Kind.RESET, 3.0, 3.0)]
    checkout = make_checkout(granted=0.0, returned=4.0, operations=operations)
    assert transactions(checkout, 4.0) == ()
    assert idle_in_transaction(checkout, 4.0) == 0.0


def test_idle_in_transaction_counts_from_the_end_of_the_first_statement() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=20.0,
        operations=[
            op(Kind.BEGIN, 1.0, 1.0),  # sent with the first statement
            op(Kind.STATEMENT, 3.0, 4.0, "SELECT"),
            op(Kind.STATEMENT, 6.0, 7.0, "UPDATE"),
            op(Kind.COMMIT, 11.0, 12.0),
            op(Kind.RESET, 19.0, 19.5),
        ],
    )
    assert idle_in_transaction(checkout, 20.0) == 2.0 + 4.0


def test_idle_in_transaction_counts_from_a_begin_that_is_a_round_trip() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=9.0,
        operations=[
            op(Kind.BEGIN, 1.0, 2.0, "BEGIN;"),
            op(Kind.STATEMENT, 5.0, 6.0, "SELECT"),
            op(Kind.ROLLBACK, 7.0, 8.0, "ROLLBACK;"),
        ],
    )
    assert idle_in_transaction(checkout, 9.0) == 3.0 + 1.0


def test_a_transaction_that_sent_nothing_is_never_idle_on_the_server() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.ROLLBACK, 5.0, 5.0)]
    checkout = make_checkout(granted=0.0, returned=9.0, operations=operations)
    assert idle_in_transaction(checkout, 9.0) == 0.0


def test_an_open_transaction_is_idle_until_the_end_of_the_trace() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.STATEMENT, 2.0, 3.0, "SELECT")]
    assert idle_in_transaction(make_checkout(granted=0.0, operations=operations), 8.0) == 5.0


def test_each_instant_of_a_gap_is_what_the_nearest_sample_says() -> None:
    samples = [
        sample(RUNNING, 1.0, 1.0),
        sample(PARKED, 2.0, 4.0, SITES[0]),
        sample(PARKED, 4.5, 5.0, SITES[1]),
        sample(READY, 6.0, 7.0),
    ]
    checkout = make_checkout(granted=0.0, returned=8.0, samples=samples)
    assert intervals(checkout, 9.0) == (
        Interval(State.RUNNING, 0.0, 1.5),
        Interval(State.PARKED, 1.5, 5.5),
        Interval(State.READY, 5.5, 8.0),
    )
    assert list(stretches(checkout, 9.0)) == [
        Stretch(samples[0], 0.0, 1.5),
        Stretch(samples[1], 1.5, 4.25),
        Stretch(samples[2], 4.25, 5.5),
        Stretch(samples[3], 5.5, 8.0),
    ]
    assert account(checkout, 9.0)[3:] == (0.0, 4.0, 1.5, 2.5)


def test_samples_tell_about_their_own_gap_only() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=8.0,
        operations=[op(Kind.STATEMENT, 2.0, 3.0)],
        samples=[sample(PARKED, 1.0, 1.5)],
    )
    assert intervals(checkout, 9.0) == (
        Interval(State.PARKED, 0.0, 2.0),
        Interval(State.BUSY, 2.0, 3.0),
        Interval(State.RUNNING, 3.0, 8.0),
    )


def test_a_sample_that_goes_on_lasts_until_the_end_of_the_trace() -> None:
    still = make_checkout(
        granted=0.0, samples=[sample(RUNNING, 1.0, 1.0), sample(PARKED, 2.0, None)]
    )
    assert intervals(still, 9.0) == (
        Interval(State.RUNNING, 0.0, 1.5),
        Interval(State.PARKED, 1.5, 9.0),
    )


def test_a_sample_whose_end_was_not_written_ends_where_the_next_begins() -> None:
    """A crash loses the last 250 ms of each table on its own."""
    samples = [sample(PARKED, 1.0, None), sample(RUNNING, 4.0, 4.0)]
    checkout = make_checkout(granted=0.0, returned=6.0, samples=samples)
    assert intervals(checkout, 9.0) == (
        Interval(State.PARKED, 0.0, 4.0),
        Interval(State.RUNNING, 4.0, 6.0),
    )


def test_a_gap_of_no_length_is_none() -> None:
    back_to_back = [op(Kind.STATEMENT, 0.0, 1.0), op(Kind.COMMIT, 1.0, 2.0)]
    checkout = make_checkout(granted=0.0, returned=2.0, operations=back_to_back)
    assert list(gaps(checkout, 9.0)) == []
    assert intervals(checkout, 9.0) == (Interval(State.BUSY, 0.0, 2.0),)
    begin = op(Kind.BEGIN, 1.0, 1.0)
    assert list(gaps(make_checkout(granted=0.0, returned=2.0, operations=[begin]), 9.0)) == [(0, 2)]
    at_once = make_checkout(granted=1.0, returned=1.0)
    assert intervals(at_once, 9.0) == (Interval(State.WAITING, 0.0, 1.0),)


def parked() -> Sample:
    return sample(PARKED, 1.0, 4.0)


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
    long = make_checkout("long", granted=0.0, returned=5.0, site=SITES[0], samples=[parked()])
    shares = Shares([short, long], 9.0)
    assert shares.of(unsampled(SITES[0])) == Share(0.0, 0.25, 0.75)
    assert intervals(unsampled(SITES[0]), 9.0, shares) == (
        Interval(State.RUNNING, 0.0, 2.0),
        Interval(State.READY, 2.0, 8.0),
    )


def test_without_short_siblings_the_long_ones_count() -> None:
    long = make_checkout("long", granted=0.0, returned=5.0, site=SITES[0], samples=[parked()])
    shares = Shares([long], 9.0)
    assert shares.of(unsampled(SITES[0])) == Share(1.0, 0.0, 0.0)
    assert account(unsampled(SITES[0]), 9.0, shares).parked == 8.0


def test_what_no_sample_tells_about_is_running() -> None:
    long = make_checkout("long", granted=0.0, returned=5.0, site=SITES[0], samples=[parked()])
    shares = Shares([long], 9.0)
    assert shares.of(unsampled(SITES[1])) == Share(0.0, 1.0, 0.0)
    assert account(unsampled(SITES[1]), 9.0, shares).running == 8.0


def test_what_is_short_depends_on_the_sampling_interval() -> None:
    """At 100 ms between looks, a gap of 150 ms is a short one."""
    pool = replace(make_pool(), process=replace(PROCESS, sampling_interval=0.1))
    short = make_checkout(
        granted=0.0, returned=0.15, site=SITES[0], samples=[sample(READY, 0.1, 0.1)], pool=pool
    )
    long = make_checkout("long", granted=0.0, returned=5.0, site=SITES[0], samples=[parked()])
    assert Shares([short, long], 9.0).of(unsampled(SITES[0])) == Share(0.0, 0.0, 1.0)


@given(traces())
def test_a_checkout_alone_is_split_like_one_among_many(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        split, rows = unlooked(ledger), worth_a_look(ledger)
        look(ledger, split, cut(ledger, rows), rows)
        until = ledger.process.written
        for row, checkout in enumerate(ledger.checkouts(np.arange(len(ledger)))):
            found = [round(seconds * 1e6) for seconds in told(checkout, until)]
            assert found == [int(column[row]) for column in split]
