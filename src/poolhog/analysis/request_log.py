"""The log of a request: what happened to its connections, where in the code, and the time spent.

Instants of events are seconds since the request started, or since the first one asked for where
there is no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import Account, State, end_of, end_of_wait, returned_after, total
from poolhog.analysis.lifecycle import Lifecycle, lifecycle_of
from poolhog.analysis.measured import measured
from poolhog.analysis.owners import owner_of
from poolhog.analysis.selection import ledger_of
from poolhog.analysis.shown import application_site, joined, shown, within
from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.shown import Shown, Span
    from poolhog.model import Checkout, Operation, Process, Request, Site
    from poolhog.trace.lookup import Found

LONG_S = 0.01
"""A part of a gap of at least this length is an event of its own, whatever its share of the use."""

SHARE_OF_USE = 0.05
"""A shorter part is an event as well if it is at least this share of the use."""

SHORTEST_S = 0.001
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
    return _since(request, _entries(request, [(c, _events(c, c.operations)) for c in checkouts]))


def log_with_gaps(request: Request | None, shown: Iterable[Shown]) -> tuple[LogEvent, ...]:
    """The events, and among them waits and parts of gaps that are long enough to matter."""
    found = [
        (one.checkout, [*_events(one.checkout, one.checkout.operations), *_gap_events(one)])
        for one in shown
    ]
    return _since(request, _entries(request, found))


def beginning_of_log(
    request: Request | None, shown: Sequence[Shown], *, most: int
) -> tuple[Sequence[LogEvent], int, int]:
    """The first ``most`` events of the log with gaps; how many more events or operations follow.

    Of a checkout with more than ``most`` operations, no event is made after these. Then the
    remaining operations are counted instead of the remaining events.
    """
    found = [(one.checkout, _first_events(one, most)) for one in shown]
    entries = _entries(request, found)
    lines = _since(request, entries[:most])
    if all(len(one.checkout.operations) <= most for one in shown):
        return lines, len(entries) - len(lines), 0
    last = max((at for at, *_ in entries[:most]), default=-math.inf)
    return lines, 0, sum(o.started > last for one in shown for o in one.checkout.operations)


def _first_events(shown: Shown, most: int) -> list[LogEvent]:
    """The events of a checkout as if it had gone on no further than ``most`` operations."""
    checkout = shown.checkout
    operations = checkout.operations
    if len(operations) <= most:
        return [*_events(checkout, operations), *_gap_events(shown)]
    ended = operations[most].started
    return [
        *_events(checkout, operations[:most], is_whole=False),
        *_gap_events(shown, before=ended),
    ]


def _entries(
    request: Request | None, found: Sequence[tuple[Checkout, Iterable[LogEvent]]]
) -> list[_Entry]:
    """All events, in order."""
    responding = request.responding if request is not None else None
    entries: list[_Entry] = []
    for checkout, events in sorted(found, key=lambda one: one[0].asked):
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


def _events(
    checkout: Checkout, operations: Sequence[Operation], *, is_whole: bool = True
) -> Iterator[LogEvent]:
    """The events of a checkout, in causal order; if it is not whole, without its end."""
    in_use = [o for o in operations if not _is_of_wait(o, checkout.granted)]
    for operation in operations:
        if _is_of_wait(operation, checkout.granted):
            yield from _of_operation(operation, checkout)
    if is_whole and checkout.gave_up is not None:
        yield LogEvent(checkout.gave_up, EventKind.GAVE_UP, checkout, site=checkout.site)
    if checkout.granted is not None:
        yield LogEvent(checkout.granted, EventKind.GRANTED, checkout, site=checkout.site)
    for operation in in_use:
        yield from _of_operation(operation, checkout)
    if checkout.returned is None or not is_whole:
        return
    if checkout.outcome is Outcome.DETACHED:
        yield LogEvent(checkout.returned, EventKind.DETACHED, checkout)
    elif not any(operation.kind is OperationKind.RESET for operation in in_use):
        yield LogEvent(checkout.returned, EventKind.RETURNING, checkout)


def _is_of_wait(operation: Operation, granted: float | None) -> bool:
    """Whether a connection was opened or pinged for the wait: before, or when, it was granted."""
    waits = operation.kind in (OperationKind.CONNECT, OperationKind.PING)
    return waits and (granted is None or operation.started <= granted)


def _of_operation(operation: Operation, checkout: Checkout) -> Iterator[LogEvent]:
    """The events of an operation: the end of a connect, the start of any other."""
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


def _gap_events(shown: Shown, before: float = math.inf) -> Iterator[LogEvent]:
    """The wait, and the parts of gaps up to an instant that are long enough to matter.

    Parts that follow one another on the same line of code are one.
    """
    checkout = shown.checkout
    until = checkout.pool.process.written
    granted, ended = end_of_wait(checkout, until), end_of(checkout, until)
    least = min(LONG_S, max(SHARE_OF_USE * (ended - granted), SHORTEST_S))
    waited = min(granted, before) - checkout.asked
    if waited >= SHORTEST_S:
        yield _spent(checkout, checkout.asked, waited, State.WAITING, checkout.site)
    early = takewhile(lambda span: span.started < before, shown.spans)
    at_lines = (span._replace(site=application_site(span.site)) for span in early if span.is_of_gap)
    for span in within(joined(at_lines, _state_and_line), -math.inf, before):
        if span.duration >= least:
            yield _spent(checkout, span.started, span.duration, span.state, span.site)


def _state_and_line(span: Span) -> tuple[State, Site | None]:
    return span.state, span.site


def _spent(
    checkout: Checkout, at: float, duration: float, state: State, site: Site | None
) -> LogEvent:
    return LogEvent(at, EventKind.SPENT, checkout, duration=duration, site=site, state=state)


@dataclass(frozen=True, slots=True)
class RequestLog:
    """A request, or an owner without one; ``request`` and ``life`` are ``None`` for the latter.

    ``checkouts`` are those that were read, of ``total``; ``accounts`` are theirs. Instants are on
    the run's clock; ``ended`` is ``until`` for what goes on. Lines count from ``started``.
    """

    id: str
    name: str
    process: Process
    request: Request | None
    life: Lifecycle | None
    checkouts: Sequence[Checkout]
    accounts: Sequence[Account]
    total: int
    started: float
    ended: float
    until: float
    lines: tuple[LogEvent, ...]

    @property
    def spent(self) -> Account:
        """The seconds of all its checkouts."""
        return total(self.accounts)

    @property
    def is_open(self) -> bool:
        """Whether it went on, or held a connection, when the trace was last written."""
        going_on = self.request is not None and self.request.ended is None
        return going_on or any(c.returned is None and c.gave_up is None for c in self.checkouts)


def request_log(found: Found) -> RequestLog:
    """Read a request, or an owner, and say what happened.

    Gaps without a sample are split as those of checkouts that were asked for at the same sites.
    """
    with found.reader.frozen():
        request, own = found.request(), found.numbers()
        with ledger_of(found.reader, [*own, *found.siblings()]) as (ledger, _):
            rows = np.sort(ledger.rows_of(np.array(own, np.int64)))
            every = list(shown(measured(ledger), rows))
        owner = owner_of(request, [one.checkout for one in every], found.total())
    until = owner.until
    return RequestLog(
        id=found.id,
        name=found.name,
        process=found.reader.process,
        request=request,
        life=None if request is None else lifecycle_of(request, every, until),
        checkouts=owner.checkouts,
        accounts=[one.spent for one in every],
        total=owner.total,
        started=owner.started,
        ended=owner.ended,
        until=until,
        lines=log_with_gaps(request, every),
    )
