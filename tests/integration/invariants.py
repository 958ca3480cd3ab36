"""What holds for every trace, whatever an application does."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from recorded_app import most_at_once
from views import gaps_of

from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import GAPS, State, end_of, end_of_wait
from poolhog.analysis.shown import shown_of

if TYPE_CHECKING:
    from poolhog import Checkout, Trace
    from poolhog.analysis.shown import Shown

A_MICROSECOND = 1e-6

NEVER_GRANTED = (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.ERROR)
ENDED = (Outcome.RETURNED, Outcome.COLLECTED, Outcome.DETACHED)


def check_trace(trace: Trace) -> None:
    """Nothing was dropped or failed, and every checkout adds up."""
    assert [(p.dropped, p.errors) for p in trace.processes] == [(0, 0)] * len(trace.processes)
    shown = shown_of(trace)
    for checkout in trace.checkouts:
        check_outcome(checkout)
        check_operations(checkout, trace.until)
        check_spans(shown[checkout.id])
        check_samples(checkout)
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


def check_spans(shown: Shown) -> None:
    """Wait and use are complete: there are no holes and no overlaps from the asking to the end."""
    checkout, _, spent = shown
    found = list(shown.spans)
    until = checkout.pool.process.written
    assert [span.started for span in found[1:]] == [span.ended for span in found[:-1]]
    assert all(span.duration > 0 for span in found)
    end = end_of(checkout, until)
    if found:
        edges = found[0].started, found[-1].ended
        assert edges == pytest.approx((checkout.asked, end), abs=A_MICROSECOND / 1_000)
    else:
        assert end == checkout.asked
    waits = [span.state is State.WAITING for span in found]
    assert waits == sorted(waits, reverse=True)
    seconds: dict[State, float] = defaultdict(float)
    for span in found:
        seconds[span.state] += span.duration
    assert spent.wait + spent.use == pytest.approx(end - checkout.asked, abs=A_MICROSECOND)
    assert spent.wait == pytest.approx(seconds[State.WAITING], abs=A_MICROSECOND)
    granted = end_of_wait(checkout, until)
    assert spent.busy + sum(spent[4:]) == pytest.approx(end - granted, abs=A_MICROSECOND)
    assert spent.gap == pytest.approx(sum(seconds[state] for state in GAPS), abs=A_MICROSECOND)
    assert min(spent) >= -A_MICROSECOND
    if checkout.granted is not None and checkout.returned is not None:
        # Beside operations, what was seen of a driver that waits for the database is busy.
        seen = [s.duration for s in found if s.state is State.BUSY and s.is_of_gap]
        whole = checkout.busy + sum(seen)
        assert spent.busy + spent.blocked == pytest.approx(whole, abs=A_MICROSECOND)


def check_samples(checkout: Checkout) -> None:
    """Each is within a gap, and they follow one another."""
    between = gaps_of(checkout)
    at = checkout.granted or checkout.asked
    for sample in checkout.samples:
        assert sample.started >= at
        at = sample.ended if sample.ended is not None else sample.started
        if at == sample.started and is_beginning(checkout, at):
            continue
        assert any(
            began - A_MICROSECOND / 2 <= sample.started and at <= ended + A_MICROSECOND
            for began, ended in between
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
