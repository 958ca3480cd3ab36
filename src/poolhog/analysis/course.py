"""The course of a checkout: every moment from its asking to its end, with what was being done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import (
    GAPS,
    NO_SHARES,
    State,
    end_of,
    end_of_wait,
    told_gaps,
)
from poolhog.analysis.log import application_site
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.accounting import Gap, Shares
    from poolhog.model import Checkout, Operation, Site


class Part(NamedTuple):
    """A stretch in which a checkout was in one state, for one reason.

    ``kind`` is that of the operation in flight; ``queueing``, in a wait without one; in a gap, the
    state. ``site`` is the line of the application that asked for the operation, or that the owner
    was seen at; in a gap that is ready, what ran instead. A tuple, as there may be many.

    Of a sum of several parts, ``number`` is how many, and ``kind`` the state.
    """

    state: State
    started: float
    ended: float
    kind: str
    statement: str | None = None
    site: Site | None = None
    number: int = 1

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started


QUEUEING = "queueing"
"""The kind of a part of a wait in which no operation was in flight."""

_OF_WAIT = (OperationKind.CONNECT, OperationKind.PING)


def course(checkout: Checkout, until: float, shares: Shares = NO_SHARES) -> Iterator[Part]:
    """The parts of a checkout, in order, without holes or overlaps; neighbours differ."""
    last: Part | None = None
    for part in _parts(checkout, until, shares):
        if part.ended <= part.started:
            continue
        if last is not None and _alike(last, part):
            last = last._replace(ended=part.ended)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def busy_parts(
    checkout: Checkout, started: float, ended: float, first: int = 0
) -> Iterator[tuple[Part, int]]:
    """A stretch without a gap, operation by operation, each with the index after its operation.

    Where operations overlap, the earlier one counts; what none covers belongs to where the
    connection was asked for. Operations before index ``first`` are over by then.
    """
    at, index = started, first
    for index in range(first, len(checkout.operations)):
        operation = checkout.operations[index]
        if operation.started >= ended:
            break
        end = ended if operation.ended is None else min(operation.ended, ended)
        if end <= at or end <= operation.started:
            continue
        if operation.started > at:
            yield Part(State.BUSY, at, operation.started, "busy", None, checkout.site), index
        yield _of(operation, State.BUSY, max(at, operation.started), end), index + 1
        at = end
    if ended > at:
        yield Part(State.BUSY, at, ended, "busy", None, checkout.site), index


def _parts(checkout: Checkout, until: float, shares: Shares) -> Iterator[Part]:
    yield from _wait(checkout, end_of_wait(checkout, until))
    if checkout.granted is None:
        return
    at, index = checkout.granted, 0
    for gap in told_gaps(checkout, until):
        for part, after in busy_parts(checkout, at, gap.started, index):
            yield part
            index = after
        yield from _gap(checkout, gap, shares)
        at = gap.ended
    for part, _ in busy_parts(checkout, at, end_of(checkout, until), index):
        yield part


def _wait(checkout: Checkout, granted: float) -> Iterator[Part]:
    at = checkout.asked
    for operation in checkout.operations:
        if operation.started >= granted:
            break
        if operation.kind not in _OF_WAIT:
            continue
        begun = max(operation.started, at)
        end = granted if operation.ended is None else min(operation.ended, granted)
        if end <= begun:
            continue
        if begun > at:
            yield Part(State.WAITING, at, begun, QUEUEING, None, checkout.site)
        yield _of(operation, State.WAITING, begun, end)
        at = end
    yield Part(State.WAITING, at, granted, QUEUEING, None, checkout.site)


def _gap(checkout: Checkout, gap: Gap, shares: Shares) -> Iterator[Part]:
    """As its samples tell it, or else split as its siblings' do."""
    if gap.stretches:
        for stretch in gap.stretches:
            seen = stretch.sample.site
            site = application_site(seen) or seen
            yield Part(stretch.state, stretch.started, stretch.ended, stretch.state, None, site)
        return
    at = gap.started
    present = [(state, part) for state, part in zip(GAPS, shares.of(checkout), strict=True) if part]
    for state, share in present[:-1]:
        change = min(at + share * gap.duration, gap.ended)
        yield Part(state, at, change, state)
        at = change
    yield Part(present[-1][0], at, gap.ended, present[-1][0])


def _of(operation: Operation, state: State, started: float, ended: float) -> Part:
    return Part(state, started, ended, operation.kind, operation.statement, operation.site)


def _alike(one: Part, other: Part) -> bool:
    return (one.state, one.kind, one.statement, one.site) == (
        *(other.state, other.kind, other.statement, other.site),
    )
