"""What holds for every trace, whatever an application does."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from recorded_app import most_at_once

from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import (
    GAPS,
    Shares,
    State,
    account,
    end_of,
    end_of_wait,
    gaps,
    intervals,
    stretches,
)

if TYPE_CHECKING:
    from poolhog import Checkout, Trace

A_MICROSECOND = 1e-6

NEVER_GRANTED = (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.ERROR)
ENDED = (Outcome.RETURNED, Outcome.COLLECTED, Outcome.DETACHED)


def check_trace(trace: Trace) -> None:
    """Nothing was dropped or failed, and every checkout adds up."""
    assert [(p.dropped, p.errors) for p in trace.processes] == [(0, 0)] * len(trace.processes)
    shares = Shares(trace.checkouts, trace.until)
    for checkout in trace.checkouts:
        check_outcome(checkout)
        check_operations(checkout, trace.until)
        check_intervals(checkout, trace.until, shares)
        check_samples(checkout, trace.until)
    check_pools(trace)


def check_outcome(checkout: Checkout) -> None:
    """The instants that are known are those of the outcome."""
    known = tuple(
        instant is not None for instant in (checkout.granted, checkout.gave_up, checkout.returned)
    )
    expected = {
        Outcome.WAITING: (False, False, False),
        Outcome.OPEN: (True, False, False),
        **dict.fromkeys(NEVER_GRANTED, (False, True, False)),
        **dict.fromkeys(ENDED, (True, False, True)),
    }
    assert known == expected[checkout.outcome], checkout
    assert (checkout.connection is not None) == known[0]


def check_operations(checkout: Checkout, until: float) -> None:
    """They follow one another, within the checkout, and add up to what the recorder says."""
    at = checkout.asked
    for operation in checkout.operations:
        assert operation.started >= at - A_MICROSECOND
        at = operation.ended if operation.ended is not None else until
        assert at >= operation.started
    assert at <= end_of(checkout, until) + A_MICROSECOND
    for operation, _ in pairwise(checkout.operations):
        assert operation.ended is not None  # only the last may be in flight
    granted = end_of_wait(checkout, until)
    over = [(o, o.ended - o.started) for o in checkout.operations if o.ended is not None]
    busy = sum(seconds for o, seconds in over if o.started >= granted - A_MICROSECOND / 2)
    waited = [(o.kind, seconds) for o, seconds in over if o.started < granted - A_MICROSECOND / 2]
    connecting = sum(seconds for kind, seconds in waited if kind is OperationKind.CONNECT)
    pinging = sum(seconds for kind, seconds in waited if kind is OperationKind.PING)
    assert [busy, connecting, pinging] == pytest.approx(
        [checkout.busy, checkout.connecting, checkout.pinging], abs=A_MICROSECOND
    )


def check_intervals(checkout: Checkout, until: float, shares: Shares) -> None:
    """Wait and use are complete: there are no holes and no overlaps from the asking to the end."""
    found = intervals(checkout, until, shares)
    assert [i.started for i in found[1:]] == [i.ended for i in found[:-1]]
    assert all(interval.duration > 0 for interval in found)
    end = end_of(checkout, until)
    if found:
        assert (found[0].started, found[-1].ended) == (checkout.asked, end)
    else:
        assert end == checkout.asked
    assert all(interval.state is not State.WAITING for interval in found[1:])
    spent: dict[State, float] = defaultdict(float)
    for interval in found:
        spent[interval.state] += interval.duration
    told = account(checkout, until, shares)
    assert told.wait + told.use == pytest.approx(end - checkout.asked, abs=A_MICROSECOND)
    assert told.wait == pytest.approx(spent[State.WAITING], abs=A_MICROSECOND)
    granted = end_of_wait(checkout, until)
    assert told.busy + sum(told[4:]) == pytest.approx(end - granted, abs=A_MICROSECOND)
    assert told.gap == pytest.approx(sum(spent[state] for state in GAPS), abs=A_MICROSECOND)
    assert min(told) >= -A_MICROSECOND
    if checkout.granted is not None and checkout.returned is not None:
        # Beside operations, what was seen of a driver that waits for the database is busy.
        seen = [s.duration for s in stretches(checkout, until) if s.state is State.BUSY]
        assert told.busy == pytest.approx(checkout.busy + sum(seen), abs=A_MICROSECOND)


def check_samples(checkout: Checkout, until: float) -> None:
    """Each is within a gap, and they follow one another."""
    between = list(gaps(checkout, until))
    at = checkout.granted or checkout.asked
    for sample in checkout.samples:
        assert sample.started >= at
        at = sample.ended if sample.ended is not None else sample.started
        if at == sample.started and is_beginning(checkout, at):
            continue
        assert any(
            began <= sample.started and at <= ended + A_MICROSECOND for began, ended in between
        ), (sample, between)


def is_beginning(checkout: Checkout, at: float) -> bool:
    """Whether an operation is in flight, or the checkout over, of which nobody could know yet.

    A thread may lose the interpreter between looking at the clock and saying what it begins.
    """
    return any(o.started <= at < (o.ended or at + 1) for o in checkout.operations)


def check_pools(trace: Trace) -> None:
    """No pool lends more than it has, and none lends a connection twice at once."""
    of_pool: dict[str, list[Checkout]] = defaultdict(list)
    of_connection: dict[tuple[str, int], list[Checkout]] = defaultdict(list)
    for checkout in trace.checkouts:
        of_pool[checkout.pool.id].append(checkout)
        if checkout.connection is not None:
            of_connection[checkout.pool.id, checkout.connection].append(checkout)
    for checkouts in of_pool.values():
        capacity = checkouts[0].pool.capacity
        if capacity is not None:
            assert most_at_once(tuple(checkouts)) <= capacity
    for checkouts in of_connection.values():
        assert most_at_once(tuple(checkouts)) == 1
