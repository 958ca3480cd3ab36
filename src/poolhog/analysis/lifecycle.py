"""One request's life: the stages it went through, and what was open meanwhile.

All instants here are seconds since the request started.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import (
    NO_SHARES,
    Interval,
    end_of,
    end_of_wait,
    intervals,
    transactions,
)
from poolhog.analysis.log import returned_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.accounting import Shares
    from poolhog.model import Checkout, Request, Stage

ROUTING = "middleware, routing"
UNTOLD = "middleware, routing, request execution"
DEPENDENCIES = "dependency injection, validation"
EXECUTION = "request execution"
SERIALIZATION = "response validation, serialization"
EARLY_EXIT = "async exit stack before the response"
MIDDLEWARE = "middleware"
RESPONSE = "return response"
BACKGROUND = "background tasks"
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
    BACKGROUND,
    EXIT,
)

_SESSION = "session"
_EXIT_STACK = "exit stack"
_BACKGROUND = "background"
_RECORDED = {
    "dependencies": DEPENDENCIES,
    "endpoint": EXECUTION,
    "serialization": SERIALIZATION,
}


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


def lifecycle_of(
    request: Request,
    checkouts: Iterable[Checkout],
    until: float,
    shares: Shares = NO_SHARES,
    *,
    holding: Iterable[Interval] | None = None,
) -> Lifecycle:
    """The life of a request up to ``until``, an instant of the run's clock.

    ``holding`` are the states of its checkouts, on this clock, if they are known already.
    """
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
    if holding is None:
        holding = (i for c in owned for i in intervals(c, until, shares))
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
        holding=since.intervals(holding),
        returned=None if returned is None else since(returned),
        returned_before_response=bool(lent)
        and not any(returned_after(checkout, request.responding) for checkout in lent),
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
        tasks = [
            Span(BACKGROUND, s.started, _end(s, until))
            for s in request.stages
            if s.name == _BACKGROUND and s.started >= responding
        ]
        over = max([responded, *(task.ended for task in tasks)])
        late = late or [Span(EXIT, over, ended)]
        spans += sorted((*tasks, *late), key=lambda span: span.started)
    return (span for span in _joined(spans) if span.ended > span.started)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours of one name as one: a failed request unwinds two exit stacks in a row."""
    for _, group in groupby(spans, key=lambda span: span.name):
        same = list(group)
        yield Span(same[0].name, same[0].started, same[-1].ended)


def _end(stage: Stage, until: float) -> float:
    return until if stage.ended is None else stage.ended
