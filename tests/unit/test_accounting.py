"""Where the time of a checkout goes, on checkouts made by hand and at random."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from factories import make_checkout, op
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.accounting import (
    Interval,
    State,
    Transaction,
    account,
    end_of,
    end_of_wait,
    idle_in_transaction,
    intervals,
    transactions,
)
from poolhog.model import OperationKind as Kind
from poolhog.model import Outcome

if TYPE_CHECKING:
    from poolhog.model import Checkout, Operation

WAIT_KINDS = (Kind.CONNECT, Kind.PING)
USE_KINDS = tuple(kind for kind in Kind if kind not in WAIT_KINDS)
MICROSECOND = 1e-6


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
    checkout = make_checkout(
        asked=asked,
        granted=seen(granted),
        gave_up=seen(gave_up),
        returned=seen(returned),
        operations=written,
    )
    return checkout, until


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
    for seconds in (found.queueing, found.connecting, found.pinging, found.busy, found.gap):
        assert seconds >= -MICROSECOND


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
        Interval(State.GAP, 1.0, 2.0),
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
    assert [i.state for i in intervals(checkout, 9.0)] == [State.GAP, State.BUSY]
    assert account(checkout, 9.0).use == 2.0


def test_operations_that_overlap_count_once() -> None:
    overlapping = [op(Kind.STATEMENT, 1.0, 3.0), op(Kind.FETCH, 2.0, 4.0)]
    checkout = make_checkout(granted=0.0, returned=5.0, operations=overlapping)
    found = account(checkout, 9.0)
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
