"""The life of a request: the stages it went through, and what was open meanwhile.

All instants here are seconds since the request started.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import end_of, end_of_wait, returned_after, transactions
from poolhog.analysis.shown import states_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.shown import Shown, Span
    from poolhog.model import Request, Stage


class LifePart(Enum):
    """A stage of a request's life, or something that was open while the stages ran.

    Stages stand in the order in which a request can go through them; no request has all of them.
    ``RUN`` is the only stage of what no server answers, such as a task or a test.
    ``UNDIVIDED`` is a stage in which routing, dependencies and execution could not be told apart.
    ``EARLY_EXIT`` is the exit of dependencies before the response, ``EXIT`` the one after it.
    ``EXCEPTION_HANDLING`` lasts from the search for an exception's handler to the response.
    """

    RUN = auto()
    UNDIVIDED = auto()
    ROUTING = auto()
    DEPENDENCIES = auto()
    EXECUTION = auto()
    SERIALIZATION = auto()
    EARLY_EXIT = auto()
    EXCEPTION_HANDLING = auto()
    MIDDLEWARE = auto()
    RESPONSE = auto()
    BACKGROUND = auto()
    EXIT = auto()
    SESSION = auto()
    CHECKOUT = auto()
    TRANSACTION = auto()


_ANSWERED = ("http", "websocket")
_SESSION = "session"
_EXIT_STACK = "exit stack"
_BACKGROUND = "background"
_EXCEPTION_HANDLING = "exception handling"
_RECORDED = {
    "dependencies": LifePart.DEPENDENCIES,
    "endpoint": LifePart.EXECUTION,
    "serialization": LifePart.SERIALIZATION,
}


@dataclass(frozen=True, slots=True)
class LifeSpan:
    """A stretch of a request's life: a stage, or the time that something was open."""

    part: LifePart
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
    responded: float | None
    stages: tuple[LifeSpan, ...]
    sessions: tuple[LifeSpan, ...]
    checkouts: tuple[LifeSpan, ...]
    transactions: tuple[LifeSpan, ...]
    holding: tuple[Span, ...]
    returned: float | None
    returned_before_response: bool
    ended_with: str | None


def lifecycle_of(
    request: Request,
    shown: Iterable[Shown],
    until: float,
    *,
    holding: Iterable[Span] | None = None,
) -> Lifecycle:
    """The life of a request up to ``until``, an instant of the run's clock.

    ``holding`` are the states of its checkouts, on this clock, if they are known already.
    """
    every = sorted(shown, key=lambda one: one.checkout.asked)
    owned = [one.checkout for one in every]
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
        holding = (span for one in every for span in states_of(one.spans))
    return Lifecycle(
        request=request,
        ended=since(until if request.ended is None else request.ended),
        responding=None if request.responding is None else since(request.responding),
        responded=None if request.responded is None else since(request.responded),
        stages=since.spans(_stages(request, until)),
        sessions=since.spans(_sessions(request, until)),
        checkouts=since.spans(
            LifeSpan(LifePart.CHECKOUT, end_of_wait(c, until), end_of(c, until)) for c in lent
        ),
        transactions=since.spans(LifeSpan(LifePart.TRANSACTION, t.started, t.ended) for t in found),
        holding=since.of(holding),
        returned=None if returned is None else since(returned),
        returned_before_response=bool(lent)
        and not any(returned_after(checkout, request.responding) for checkout in lent),
        ended_with=None if last is None else last.name,
    )


def _sessions(request: Request, until: float) -> Iterator[LifeSpan]:
    for stage in request.stages:
        if stage.name == _SESSION:
            yield LifeSpan(LifePart.SESSION, stage.started, _end(stage, until))


@dataclass(frozen=True, slots=True)
class _Since:
    """Turns instants of the run's clock into seconds since ``zero``."""

    zero: float

    def __call__(self, at: float) -> float:
        return at - self.zero

    def spans(self, spans: Iterable[LifeSpan]) -> tuple[LifeSpan, ...]:
        return tuple(LifeSpan(s.part, self(s.started), self(s.ended)) for s in spans)

    def of(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        return tuple(
            span._replace(started=self(span.started), ended=self(span.ended)) for span in spans
        )


def _stages(request: Request, until: float) -> Iterator[LifeSpan]:
    """The recorded stages by their names here, and between them what the ASGI layer knows."""
    ended = until if request.ended is None else request.ended
    if request.kind not in _ANSWERED:
        return iter([LifeSpan(LifePart.RUN, request.started, ended)])
    responding = ended if request.responding is None else request.responding
    recorded = sorted(
        (stage for stage in request.stages if stage.name in (*_RECORDED, _EXIT_STACK)),
        key=lambda stage: stage.started,
    )
    early = [s for s in recorded if s.name in _RECORDED or s.started < responding]
    spans = [
        LifeSpan(_RECORDED.get(s.name, LifePart.EARLY_EXIT), s.started, _end(s, until))
        for s in early
    ]
    handled = min(
        (s.started for s in request.stages if s.name == _EXCEPTION_HANDLING), default=responding
    )
    if spans or handled < responding:
        first = LifePart.ROUTING if spans else LifePart.UNDIVIDED
        spans.insert(0, LifeSpan(first, request.started, spans[0].started if spans else handled))
    if handled < responding:
        spans.append(LifeSpan(LifePart.EXCEPTION_HANDLING, handled, responding))
    if spans:
        spans.append(LifeSpan(LifePart.MIDDLEWARE, spans[-1].ended, responding))
    else:
        spans.append(LifeSpan(LifePart.UNDIVIDED, request.started, responding))
    if request.responding is not None:
        responded = ended if request.responded is None else request.responded
        spans.append(LifeSpan(LifePart.RESPONSE, responding, responded))
        late = [
            LifeSpan(LifePart.EXIT, s.started, _end(s, until)) for s in recorded if s not in early
        ]
        tasks = [
            LifeSpan(LifePart.BACKGROUND, s.started, _end(s, until))
            for s in request.stages
            if s.name == _BACKGROUND and s.started >= responding
        ]
        over = max([responded, *(task.ended for task in tasks)])
        late = late or [LifeSpan(LifePart.EXIT, over, ended)]
        spans += sorted((*tasks, *late), key=lambda span: span.started)
    return (span for span in _joined(spans) if span.ended > span.started)


def _joined(spans: Iterable[LifeSpan]) -> Iterator[LifeSpan]:
    """Neighbours of one part as one: a failed request unwinds two exit stacks in a row."""
    for _, group in groupby(spans, key=lambda span: span.part):
        same = list(group)
        yield LifeSpan(same[0].part, same[0].started, same[-1].ended)


def _end(stage: Stage, until: float) -> float:
    return until if stage.ended is None else stage.ended
