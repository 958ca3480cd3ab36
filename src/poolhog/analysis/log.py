"""The log of a request's connections: what happened to them, and where in the code.

All instants here are seconds since the request started, or since the first one asked for where
there is no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import (
    GAPS,
    NO_SHARES,
    State,
    end_of,
    end_of_wait,
    intervals,
    stretches,
)
from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.accounting import Shares
    from poolhog.model import Checkout, Operation, Request, Site

WORTH_TELLING_S = 0.01
"""A part of a gap of at least this length is an event of its own, whatever its share of the use."""

WORTH_TELLING_SHARE = 0.05
"""A shorter part is an event as well if it is at least this share of the use."""

LEAST_TOLD_S = 0.001
"""No part shorter than this is an event. A wait is one if it is at least as long."""


class EventKind(Enum):
    """The kind of an event of a log.

    ``OPERATION`` is the start of one, of which the operation says the kind; ``OPENED`` the end of
    a connect. ``SPENT`` is a wait or a part of a gap, which lasts. ``GRANTED``, ``GAVE_UP``,
    ``RETURNING`` and ``DETACHED`` are about a checkout, ``RESPONSE`` is about the request.
    """

    SPENT = auto()
    OPENED = auto()
    GRANTED = auto()
    GAVE_UP = auto()
    OPERATION = auto()
    RETURNING = auto()
    DETACHED = auto()
    RESPONSE = auto()


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something that happened to a request or one of its checkouts.

    ``duration`` is how long an operation or a part of a gap lasted, ``None`` for what takes no
    time or was not over. ``state`` is that of a wait or a part of a gap. ``site`` is the line of
    the application that asked for the operation, or that the owner was in; in a part of a gap that
    is ready, what ran instead. ``checkout`` is ``None`` for the response only, of which there is
    the ``request``.
    """

    at: float
    kind: EventKind
    checkout: Checkout | None = None
    operation: Operation | None = None
    request: Request | None = None
    duration: float | None = None
    site: Site | None = None
    state: State | None = None

    @property
    def is_response(self) -> bool:
        """Whether it is the response."""
        return self.kind is EventKind.RESPONSE

    @property
    def gives_back(self) -> bool:
        """Whether it is a part of the return of a connection, or its reason."""
        if self.operation is None:
            return self.kind in (EventKind.RETURNING, EventKind.DETACHED)
        return self.operation.kind in _ENDINGS


_ENDINGS = (OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)

_Entry = tuple[float, int, LogEvent]
"""An event of the run's clock at its instant; of equal instants, the lower number comes first."""


def log_of(request: Request | None, checkouts: Iterable[Checkout]) -> tuple[LogEvent, ...]:
    """The events, in order; of those at the same instant, the cause comes first."""
    told = [(checkout, _events(checkout)) for checkout in checkouts]
    return _since(request, _entries(request, told))


def log_with_gaps(
    request: Request | None,
    checkouts: Iterable[Checkout],
    until: float,
    shares: Shares = NO_SHARES,
) -> tuple[LogEvent, ...]:
    """The events, and among them waits and parts of gaps that are long enough to matter."""
    told = [(c, [*_events(c), *_gap_events(c, until, shares, _least(c, until))]) for c in checkouts]
    return _since(request, _entries(request, told))


def beginning_of_log(
    request: Request | None,
    checkouts: Sequence[Checkout],
    until: float,
    shares: Shares = NO_SHARES,
    *,
    most: int,
) -> tuple[Sequence[LogEvent], int, int]:
    """The first ``most`` events of the log with gaps; how many more events or operations follow.

    Of a checkout with more than ``most`` operations, no event is made after these. Then the
    remaining operations are counted instead of the remaining events.
    """
    told = []
    for checkout in checkouts:
        head, ended = _head(checkout, until, most)
        events = [*_events(head), *_gap_events(head, ended, shares, _least(checkout, until))]
        if head is not checkout:
            events = [replace(event, checkout=checkout) for event in events]
        told.append((checkout, events))
    entries = _entries(request, told)
    shown = entries[:most]
    lines = _since(request, shown)
    if all(len(checkout.operations) <= most for checkout in checkouts):
        return lines, len(entries) - len(shown), 0
    last = max((at for at, *_ in shown), default=-math.inf)
    return lines, 0, sum(o.started > last for c in checkouts for o in c.operations)


def _head(checkout: Checkout, until: float, most: int) -> tuple[Checkout, float]:
    """The checkout as if it had gone on no further than ``most`` operations, and when that was."""
    if len(checkout.operations) <= most:
        return checkout, until
    ended = checkout.operations[most].started
    head = replace(checkout, operations=checkout.operations[:most], returned=None, gave_up=None)
    return head, ended


def returned_after(checkout: Checkout, responding: float | None) -> bool:
    """Whether the response was on its way before the connection came back."""
    return responding is None or checkout.returned is None or checkout.returned > responding


def application_site(site: Site | None) -> Site | None:
    """The innermost frame of the application's, or ``None`` if there is none."""
    while site is not None and not site.is_application:
        site = site.caller
    return site


def _entries(
    request: Request | None, told: Sequence[tuple[Checkout, Iterable[LogEvent]]]
) -> list[_Entry]:
    """All events, in order."""
    responding = request.responding if request is not None else None
    entries: list[_Entry] = []
    for checkout, events in sorted(told, key=lambda one: one[0].asked):
        late = returned_after(checkout, responding)
        for event in events:
            # The response needs what was read, and starts before a late connection is given back.
            rank = 2 if late and event.gives_back and event.at == responding else 0
            entries.append((event.at, rank, event))
    if request is not None and responding is not None:
        response = LogEvent(responding, EventKind.RESPONSE, request=request)
        entries.append((responding, 1, response))
    entries.sort(key=lambda entry: entry[:2])
    return entries


def _since(request: Request | None, entries: Sequence[_Entry]) -> tuple[LogEvent, ...]:
    """The events, with seconds since the request started, or since the first of them."""
    zero = request.started if request is not None else min((at for at, *_ in entries), default=0.0)
    return tuple(replace(event, at=at - zero) for at, _, event in entries)


def _events(checkout: Checkout) -> Iterator[LogEvent]:
    """The events of a checkout, in causal order."""
    in_use = [o for o in checkout.operations if not _is_of_wait(o, checkout.granted)]
    for operation in checkout.operations:
        if _is_of_wait(operation, checkout.granted):
            yield from _told(operation, checkout)
    if checkout.gave_up is not None:
        yield LogEvent(checkout.gave_up, EventKind.GAVE_UP, checkout, site=checkout.site)
    if checkout.granted is not None:
        yield LogEvent(checkout.granted, EventKind.GRANTED, checkout, site=checkout.site)
    for operation in in_use:
        yield from _told(operation, checkout)
    if checkout.returned is None:
        return
    if checkout.outcome is Outcome.DETACHED:
        yield LogEvent(checkout.returned, EventKind.DETACHED, checkout)
    elif not any(operation.kind is OperationKind.RESET for operation in in_use):
        yield LogEvent(checkout.returned, EventKind.RETURNING, checkout)


def _is_of_wait(operation: Operation, granted: float | None) -> bool:
    """Whether a connection was opened or pinged for the wait: before, or when, it was granted."""
    waits = operation.kind in (OperationKind.CONNECT, OperationKind.PING)
    return waits and (granted is None or operation.started <= granted)


def _told(operation: Operation, checkout: Checkout) -> Iterator[LogEvent]:
    """The events of an operation: a connect is told by its end, the others by their start."""
    kind, at = EventKind.OPERATION, operation.started
    if operation.kind is OperationKind.CONNECT:
        if operation.ended is None:
            return
        kind, at = EventKind.OPENED, operation.ended
    if operation.kind is OperationKind.RESET:
        yield LogEvent(at, EventKind.RETURNING, checkout)
    ended = operation.ended if at == operation.started else None
    lasted = None if ended is None else ended - at
    yield LogEvent(at, kind, checkout, operation, duration=lasted, site=operation.site)


def _least(checkout: Checkout, until: float) -> float:
    """The least length in seconds of a part of a gap that is an event."""
    use = end_of(checkout, until) - end_of_wait(checkout, until)
    return min(WORTH_TELLING_S, max(WORTH_TELLING_SHARE * use, LEAST_TOLD_S))


def _gap_events(
    checkout: Checkout, until: float, shares: Shares, least: float
) -> Iterator[LogEvent]:
    """The wait, and the parts of gaps that are worth a line: not shorter than ``least`` seconds.

    Parts that follow one another on the same line of code are one.
    """
    waited = end_of_wait(checkout, until) - checkout.asked
    if waited >= LEAST_TOLD_S:
        yield _spent(checkout, checkout.asked, waited, State.WAITING, checkout.site)
    if checkout.granted is None:
        return
    for part in _joined(_parts(checkout, until, shares)):
        if part.ended - part.started >= least:
            lasted = part.ended - part.started
            yield _spent(checkout, part.started, lasted, part.state, part.site)


def _spent(
    checkout: Checkout, at: float, duration: float, state: State, site: Site | None
) -> LogEvent:
    return LogEvent(at, EventKind.SPENT, checkout, duration=duration, site=site, state=state)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a gap, and where the owner was, as far as it was looked at."""

    state: State
    started: float
    ended: float
    site: Site | None = None


def _parts(checkout: Checkout, until: float, shares: Shares) -> Iterator[_Part]:
    """All parts of the gaps, in order."""
    sampled = [
        _Part(s.state, s.started, s.ended, application_site(s.sample.site))
        for s in stretches(checkout, until)
    ]
    begun = {part.started for part in sampled}
    # An interval that samples tell about begins with the first of their stretches.
    others = [
        _Part(i.state, i.started, i.ended)
        for i in intervals(checkout, until, shares)
        if i.state in GAPS and i.started not in begun
    ]
    yield from sorted(sampled + others, key=lambda part: part.started)


def _joined(parts: Iterable[_Part]) -> Iterator[_Part]:
    """Parts that follow one another on the same line as one."""
    last: _Part | None = None
    for part in parts:
        if last is None:
            last = part
        elif (last.state, last.site, last.ended) == (part.state, part.site, part.started):
            last = _Part(last.state, last.started, part.ended, last.site)
        else:
            yield last
            last = part
    if last is not None:
        yield last
