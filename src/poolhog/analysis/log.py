"""The log of a request's connections: what happened to them, and where in the code.

All instants here are seconds since the request started, or since the first one asked for where
there is no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from http import HTTPStatus
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
"""A part of a gap that is as long as this has a line of its own, whatever its part of the use."""

WORTH_TELLING_SHARE = 0.05
"""One that is this share of the use has as well."""

LEAST_TOLD_S = 0.001
"""But none that is shorter than this; and a wait has one if it is not."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """What happened, in the words of a log; ``is_response`` marks the line of the response.

    ``duration`` is how long an operation or a part of a gap lasted, ``None`` for what takes no
    time or was not over. ``state`` is that of a wait or a part of a gap. ``site`` is the line of
    the application that asked for the operation, or that the owner was in; in a part of a gap that
    is ready, what ran instead.
    """

    at: float
    what: str
    is_response: bool = False
    duration: float | None = None
    site: Site | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class _Event:
    """A line at an instant of the run's clock; ``gives_back``: it is part of the return."""

    at: float
    what: str
    gives_back: bool = False
    ended: float | None = None
    site: Site | None = None
    state: State | None = None


_Entry = tuple[float, int, _Event]
"""An event at its instant; where instants are equal, the lower number comes first."""


def log_of(request: Request | None, checkouts: Iterable[Checkout]) -> tuple[LogLine, ...]:
    """The log, in order; of what happened at the same instant, the cause comes first."""
    told = [(checkout, _events(checkout)) for checkout in checkouts]
    return _lines(request, _entries(request, told))


def log_with_gaps(
    request: Request | None,
    checkouts: Iterable[Checkout],
    until: float,
    shares: Shares = NO_SHARES,
) -> tuple[LogLine, ...]:
    """The log, and in it waits, and where the gaps went, if they are long enough to matter."""
    told = [(c, [*_events(c), *_gap_events(c, until, shares, _least(c, until))]) for c in checkouts]
    return _lines(request, _entries(request, told))


def beginning_of_log(
    request: Request | None,
    checkouts: Sequence[Checkout],
    until: float,
    shares: Shares = NO_SHARES,
    *,
    most: int,
) -> tuple[Sequence[LogLine], int, int]:
    """The first lines of the log with gaps; how many more there are, or more operations.

    Of a checkout with more operations than ``most``, no line after these is made: then it is
    operations that are counted.
    """
    told = []
    for checkout in checkouts:
        head, ended = _head(checkout, until, most)
        gaps = _gap_events(head, ended, shares, _least(checkout, until))
        told.append((checkout, [*_events(head), *gaps]))
    entries = _entries(request, told)
    shown = entries[:most]
    lines = _lines(request, shown)
    if all(len(checkout.operations) <= most for checkout in checkouts):
        return lines, len(entries) - len(shown), 0
    last = max((at for at, *_ in shown), default=-math.inf)
    return lines, 0, sum(o.started > last for c in checkouts for o in c.operations)


def _head(checkout: Checkout, until: float, most: int) -> tuple[Checkout, float]:
    """The checkout as if it had not gone on after so many operations, and when that was."""
    if len(checkout.operations) <= most:
        return checkout, until
    ended = checkout.operations[most].started
    head = replace(checkout, operations=checkout.operations[:most], returned=None, gave_up=None)
    return head, ended


def response_line(request: Request) -> str:
    """The response as servers log it, such as ``"GET /notes/1 HTTP/1.1" 200 OK``."""
    return f'"{request.method} {request.path} HTTP/1.1" {status_text(request)}'.rstrip()


def status_text(request: Request) -> str:
    """Such as ``200 OK``; "" if there was no response."""
    if request.status is None:
        return ""
    known = {status.value: status.phrase for status in HTTPStatus}
    return f"{request.status} {known.get(request.status, '')}".rstrip()


def returned_after(checkout: Checkout, responding: float | None) -> bool:
    """Whether the response was on its way before the connection came back."""
    return responding is None or checkout.returned is None or checkout.returned > responding


def application_site(site: Site | None) -> Site | None:
    """The innermost frame of the application's, or ``None`` if there is none."""
    while site is not None and not site.is_application:
        site = site.caller
    return site


def _entries(
    request: Request | None, told: Sequence[tuple[Checkout, Iterable[_Event]]]
) -> list[_Entry]:
    """What happened, in order."""
    responding = request.responding if request is not None else None
    entries: list[_Entry] = []
    for checkout, events in sorted(told, key=lambda one: one[0].asked):
        late = returned_after(checkout, responding)
        for event in events:
            # The response needs what was read, and starts before a late connection is given back.
            rank = 2 if late and event.gives_back and event.at == responding else 0
            entries.append((event.at, rank, event))
    if request is not None and responding is not None:
        entries.append((responding, 1, _Event(responding, response_line(request))))
    entries.sort(key=lambda entry: entry[:2])
    return entries


def _lines(request: Request | None, entries: Sequence[_Entry]) -> tuple[LogLine, ...]:
    zero = request.started if request is not None else min((at for at, *_ in entries), default=0.0)
    return tuple(
        LogLine(
            at - zero,
            event.what,
            is_response=rank == 1,
            duration=None if event.ended is None else event.ended - at,
            site=event.site,
            state=event.state,
        )
        for at, rank, event in entries
    )


def _events(checkout: Checkout) -> Iterator[_Event]:
    """What happened to the checkout, in causal order."""
    in_use = [o for o in checkout.operations if not _is_of_wait(o, checkout.granted)]
    for operation in checkout.operations:
        if _is_of_wait(operation, checkout.granted):
            yield from _told(operation, checkout)
    if checkout.gave_up is not None:
        what = f"No connection from pool: {checkout.outcome}"
        yield _Event(checkout.gave_up, what, site=checkout.site)
    if checkout.granted is not None:
        yield _Event(checkout.granted, "Connection checked out from pool", site=checkout.site)
    for operation in in_use:
        yield from _told(operation, checkout)
    if checkout.returned is None:
        return
    if checkout.outcome is Outcome.DETACHED:
        yield _Event(checkout.returned, "Connection detached from pool", gives_back=True)
    elif not any(operation.kind is OperationKind.RESET for operation in in_use):
        yield _Event(checkout.returned, "Connection being returned to pool", gives_back=True)


def _is_of_wait(operation: Operation, granted: float | None) -> bool:
    """Opening and pinging a connection come before it is granted, be it by nothing."""
    waits = operation.kind in (OperationKind.CONNECT, OperationKind.PING)
    return waits and (granted is None or operation.started <= granted)


def _told(operation: Operation, checkout: Checkout) -> Iterator[_Event]:
    failed = f" (failed: {operation.error})" if operation.error else ""
    statement = " ".join((operation.statement or "").split())

    def event(what: str, *, at: float = operation.started, gives_back: bool = False) -> _Event:
        ended = operation.ended if at == operation.started else None
        return _Event(at, f"{what}{failed}", gives_back, ended, operation.site)

    match operation.kind:
        case OperationKind.CONNECT:
            if operation.ended is not None:
                yield event("Connection opened", at=operation.ended)
        case OperationKind.PING:
            yield event("Connection pinged")
        case OperationKind.BEGIN:
            yield event(statement or "BEGIN (implicit)")
        case OperationKind.RESET:
            yield _Event(operation.started, "Connection being returned to pool", gives_back=True)
            asyncpg = checkout.pool.library == "asyncpg"
            what = "Connection reset on return" if asyncpg else "Connection rollback-on-return"
            nothing = "" if operation.statement else " (already reset, nothing to do)"
            yield event(f"{what}{nothing}", gives_back=True)
        case OperationKind.COMMIT | OperationKind.ROLLBACK:
            yield event(operation.kind.name, gives_back=True)
        case OperationKind.STATEMENT | OperationKind.FETCH:
            yield event(statement or operation.kind.name)


def _least(checkout: Checkout, until: float) -> float:
    """The seconds from which on a part of a gap is worth a line."""
    use = end_of(checkout, until) - end_of_wait(checkout, until)
    return min(WORTH_TELLING_S, max(WORTH_TELLING_SHARE * use, LEAST_TOLD_S))


def _gap_events(checkout: Checkout, until: float, shares: Shares, least: float) -> Iterator[_Event]:
    """The wait, and the parts of gaps that are worth a line: not shorter than ``least`` seconds.

    Parts that follow one another on the same line of code are one.
    """
    waited_until = end_of_wait(checkout, until)
    if waited_until - checkout.asked >= LEAST_TOLD_S:
        state = State.WAITING
        yield _Event(checkout.asked, state, False, waited_until, checkout.site, state)
    if checkout.granted is None:
        return
    for part in _joined(_parts(checkout, until, shares)):
        if part.ended - part.started >= least:
            yield _Event(
                part.started, part.state, ended=part.ended, site=part.site, state=part.state
            )


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
