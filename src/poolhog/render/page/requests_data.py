"""Single requests as data for the page: their stages, what was open meanwhile, and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import end_of, total
from poolhog.analysis.downsampling import downsampled
from poolhog.analysis.lifecycle import LifeSpan, lifecycle_of
from poolhog.analysis.request_log import beginning_of_log
from poolhog.analysis.shown import of_state, states_of
from poolhog.render.lifecycle import LIFE_WORDS, verdict
from poolhog.render.page.texts import NONE
from poolhog.render.palette import LENT, STATES
from poolhog.render.request_log import event_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.owners import Owner
    from poolhog.analysis.request_log import LogEvent
    from poolhog.analysis.shown import Span
    from poolhog.model import Checkout
    from poolhog.render.page.run import PageRun
    from poolhog.render.page.texts import Interned

MOST_BARS = 300
"""Bars in one row of the picture of a request: more could not be told apart."""

_LEAST_BARS = 20


def requests_data(run: PageRun, interned: Interned, lines: int) -> list[dict[str, Any]]:
    """Return the requests that are told step by step; instants are microseconds since they started.

    Each log has its first ``lines`` lines, and the number of the others.
    """
    return [_request(run, owned, interned, lines) for owned in run.told]


def _request(run: PageRun, owned: Owner, interned: Interned, most: int) -> dict[str, Any]:
    checkouts, until = owned.checkouts, owned.until
    shown = [run.shown[checkout.id] for checkout in checkouts]
    lines, more_lines, more = beginning_of_log(owned.request, shown, most=most)
    spent = total(one.spent for one in shown)
    life = None
    if owned.request is not None:
        holding = _holding(checkouts, run, until)
        life = lifecycle_of(owned.request, shown, until, holding=holding)
    return {
        "request": run.index_of[owned.key],
        "ended_us": _us(owned.ended - owned.started),
        "responding_us": NONE if life is None or life.responding is None else _us(life.responding),
        "verdict": interned.text("" if life is None else verdict(life)),
        "stages": _spans(life.stages if life else (), interned),
        "sessions": _lengths(life.sessions if life else ()),
        "holding": [_bar(part) for part in life.holding] if life else [],
        "transactions": _lengths(life.transactions if life else ()),
        "spent": [_us(spent.wait), *(_us(getattr(spent, state.value)) for state in LENT)],
        "checkouts": owned.total,
        "log": [_line(line, interned) for line in lines],
        "lines_left_out": more_lines,
        "operations_left_out": more,
    }


def _line(line: LogEvent, interned: Interned) -> list[int]:
    """Return instant, text, whether it is the response, state, duration, and site."""
    state = NONE if line.state is None else STATES.index(line.state)
    lasted = NONE if line.duration is None else _us(line.duration)
    told = [_us(line.at), interned.text(event_text(line)), int(line.is_response)]
    return [*told, state, lasted, interned.site(line.site)]


def _spans(spans: Sequence[LifeSpan], interned: Interned) -> list[list[int]]:
    return [[interned.text(LIFE_WORDS[s.part]), _us(s.started), _us(s.duration)] for s in spans]


def _lengths(spans: Sequence[LifeSpan]) -> list[list[int]]:
    return [[_us(span.started), _us(span.duration)] for span in _seen_apart(spans)]


def _seen_apart(spans: Sequence[LifeSpan]) -> Sequence[LifeSpan]:
    """Return the spans in order; of too many, join those that no eye could tell apart."""
    if len(spans) <= MOST_BARS:
        return spans
    between = (spans[-1].ended - spans[0].started) / MOST_BARS
    found: list[LifeSpan] = []
    for span in spans:
        if found and span.started - found[-1].ended < between:
            ended = max(found[-1].ended, span.ended)
            found[-1] = LifeSpan(span.part, found[-1].started, ended)
        else:
            found.append(span)
    return found


def _holding(checkouts: Sequence[Checkout], run: PageRun, until: float) -> Iterator[Span]:
    """Yield the states of the checkouts, as many as a picture has room for."""
    most = max(MOST_BARS // len(checkouts), _LEAST_BARS)
    for checkout in checkouts:
        parts = states_of(run.spans[checkout.id])
        for part in downsampled(parts, checkout.asked, end_of(checkout, until), most):
            yield of_state(part.state, part.started, part.ended)


def _bar(part: Span) -> list[int]:
    """Return state, start and length."""
    return [STATES.index(part.state), _us(part.started), _us(part.duration)]


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
