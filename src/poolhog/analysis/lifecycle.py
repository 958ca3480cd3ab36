"""One request's life: the log of what happened to its connections, and the stages it went through.

All instants here are seconds since the request started.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Interval, end_of, end_of_wait, intervals, transactions
from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.model import Checkout, Operation, Request, Stage

ROUTING = "middleware, routing"
UNTOLD = "middleware, routing, request execution"
DEPENDENCIES = "dependency injection, validation"
EXECUTION = "request execution"
SERIALIZATION = "response validation, serialization"
EARLY_EXIT = "async exit stack before the response"
MIDDLEWARE = "middleware"
RESPONSE = "return response"
EXIT = "async exit stack"

# The order in which a request can go through them; none has all.
STAGE_ORDER = (
    UNTOLD,
    ROUTING,
    DEPENDENCIES,
    EXECUTION,
    SERIALIZATION,
    EARLY_EXIT,
    MIDDLEWARE,
    RESPONSE,
    EXIT,
)

_SESSION = "session"
_EXIT_STACK = "exit stack"
_RECORDED = {
    "dependencies": DEPENDENCIES,
    "endpoint": EXECUTION,
    "serialization": SERIALIZATION,
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """What happened, in the words of a log; ``is_response`` marks the line of the response."""

    at: float
    what: str
    is_response: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A named stretch of a request's life."""

    name: str
    started: float
    ended: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The stages of a request, in order, and what was open meanwhile.

    Stages may leave holes where no one knows what ran. ``holding`` are the states of the
    checkouts, waits included. ``returned`` is when the last connection came back, ``None`` if
    there was none, or one is open; then ``returned_before_response`` is false. ``ended_with`` is
    ``COMMIT``, ``ROLLBACK``, or ``None`` if it saw no end of a transaction.
    """

    request: Request
    ended: float
    responding: float | None
    stages: tuple[Span, ...]
    sessions: tuple[Span, ...]
    checkouts: tuple[Span, ...]
    transactions: tuple[Span, ...]
    holding: tuple[Interval, ...]
    returned: float | None
    returned_before_response: bool
    ended_with: str | None


def log_of(request: Request, checkouts: Iterable[Checkout]) -> tuple[LogLine, ...]:
    """The request's log, in order; of what happened at the same instant, the cause comes first."""
    responding = request.responding
    entries: list[tuple[float, int, str]] = []
    for checkout in sorted(checkouts, key=lambda checkout: checkout.asked):
        late = _returned_after(checkout, responding)
        for at, what, gives_back in _told(checkout):
            # The response needs what was read, and starts before a late connection is given back.
            entries.append((at, 2 if late and gives_back and at == responding else 0, what))
    if responding is not None:
        entries.append((responding, 1, response_line(request)))
    entries.sort(key=lambda entry: entry[:2])
    return tuple(
        LogLine(at - request.started, what, is_response=rank == 1) for at, rank, what in entries
    )


def response_line(request: Request) -> str:
    """The response as servers log it, such as ``"GET /notes/1 HTTP/1.1" 200 OK``."""
    line = f'"{request.method} {request.path} HTTP/1.1"'
    if request.status is None:
        return line
    known = {status.value: status.phrase for status in HTTPStatus}
    return f"{line} {request.status} {known.get(request.status, '')}".rstrip()


def lifecycle_of(request: Request, checkouts: Iterable[Checkout], until: float) -> Lifecycle:
    """The life of a request up to ``until``, an instant of the run's clock."""
    owned = sorted(checkouts, key=lambda checkout: checkout.asked)
    lent = [checkout for checkout in owned if checkout.granted is not None]
    returns = [c.returned for c in lent if c.returned is not None]
    returned = max(returns) if lent and len(returns) == len(lent) else None
    found = sorted(
        (transaction for checkout in owned for transaction in transactions(checkout, until)),
        key=lambda transaction: transaction.started,
    )
    last = found[-1].ended_with if found else None
    since = _Since(request.started)
    return Lifecycle(
        request=request,
        ended=since(until if request.ended is None else request.ended),
        responding=None if request.responding is None else since(request.responding),
        stages=since.spans(_stages(request, until)),
        sessions=since.spans(
            Span("session open", stage.started, _end(stage, until))
            for stage in request.stages
            if stage.name == _SESSION
        ),
        checkouts=since.spans(
            Span("connection checked out", end_of_wait(c, until), end_of(c, until)) for c in lent
        ),
        transactions=since.spans(Span("transaction open", t.started, t.ended) for t in found),
        holding=since.intervals(i for c in owned for i in intervals(c, until)),
        returned=None if returned is None else since(returned),
        returned_before_response=bool(lent)
        and not any(_returned_after(checkout, request.responding) for checkout in lent),
        ended_with=None if last is None else last.name,
    )


@dataclass(frozen=True, slots=True)
class _Since:
    """Turns instants of the run's clock into seconds since ``zero``."""

    zero: float

    def __call__(self, at: float) -> float:
        return at - self.zero

    def spans(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        return tuple(Span(s.name, self(s.started), self(s.ended)) for s in spans)

    def intervals(self, parts: Iterable[Interval]) -> tuple[Interval, ...]:
        return tuple(Interval(p.state, self(p.started), self(p.ended)) for p in parts)


def _returned_after(checkout: Checkout, responding: float | None) -> bool:
    """Whether the response was on its way before the connection came back."""
    return responding is None or checkout.returned is None or checkout.returned > responding


def _told(checkout: Checkout) -> Iterator[tuple[float, str, bool]]:
    """The checkout's lines in causal order, and whether each is part of giving it back."""
    in_use = [o for o in checkout.operations if not _is_of_wait(o, checkout.granted)]
    for operation in checkout.operations:
        if operation not in in_use:
            yield from _lines(operation, checkout)
    if checkout.gave_up is not None:
        yield checkout.gave_up, f"No connection from pool: {checkout.outcome}", False
    if checkout.granted is not None:
        yield checkout.granted, "Connection checked out from pool", False
    for operation in in_use:
        yield from _lines(operation, checkout)
    if checkout.returned is None:
        return
    if checkout.outcome is Outcome.DETACHED:
        yield checkout.returned, "Connection detached from pool", True
    elif not any(operation.kind is OperationKind.RESET for operation in in_use):
        yield checkout.returned, "Connection being returned to pool", True


def _is_of_wait(operation: Operation, granted: float | None) -> bool:
    """Opening and pinging a connection come before it is granted, be it by nothing."""
    waits = operation.kind in (OperationKind.CONNECT, OperationKind.PING)
    return waits and (granted is None or operation.started <= granted)


def _lines(operation: Operation, checkout: Checkout) -> Iterator[tuple[float, str, bool]]:
    failed = f" (failed: {operation.error})" if operation.error else ""
    statement = " ".join((operation.statement or "").split())
    at = operation.started
    match operation.kind:
        case OperationKind.CONNECT:
            if operation.ended is not None:
                yield operation.ended, f"Connection opened{failed}", False
        case OperationKind.PING:
            yield at, f"Connection pinged{failed}", False
        case OperationKind.BEGIN:
            yield at, f"{statement or 'BEGIN (implicit)'}{failed}", False
        case OperationKind.RESET:
            yield at, "Connection being returned to pool", True
            asyncpg = checkout.pool.library == "asyncpg"
            what = "Connection reset on return" if asyncpg else "Connection rollback-on-return"
            nothing = "" if operation.statement else " (already reset, nothing to do)"
            yield at, f"{what}{nothing}{failed}", True
        case OperationKind.COMMIT | OperationKind.ROLLBACK:
            yield at, f"{operation.kind.name}{failed}", True
        case OperationKind.STATEMENT | OperationKind.FETCH:
            yield at, f"{statement or operation.kind.name}{failed}", False


def _stages(request: Request, until: float) -> Iterator[Span]:
    """The recorded stages by their names here, and between them what the ASGI layer knows."""
    ended = until if request.ended is None else request.ended
    responding = ended if request.responding is None else request.responding
    recorded = sorted(
        (stage for stage in request.stages if stage.name in (*_RECORDED, _EXIT_STACK)),
        key=lambda stage: stage.started,
    )
    early = [s for s in recorded if s.name in _RECORDED or s.started < responding]
    spans = [Span(_RECORDED.get(s.name, EARLY_EXIT), s.started, _end(s, until)) for s in early]
    if spans:
        spans.insert(0, Span(ROUTING, request.started, spans[0].started))
        spans.append(Span(MIDDLEWARE, spans[-1].ended, responding))
    else:
        spans.append(Span(UNTOLD, request.started, responding))
    if request.responding is not None:
        responded = ended if request.responded is None else request.responded
        spans.append(Span(RESPONSE, responding, responded))
        late = [Span(EXIT, s.started, _end(s, until)) for s in recorded if s not in early]
        spans += late or [Span(EXIT, responded, ended)]
    return (span for span in _joined(spans) if span.ended > span.started)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours of one name as one: a failed request unwinds two exit stacks in a row."""
    for _, group in groupby(spans, key=lambda span: span.name):
        same = list(group)
        yield Span(same[0].name, same[0].started, same[-1].ended)


def _end(stage: Stage, until: float) -> float:
    return until if stage.ended is None else stage.ended
