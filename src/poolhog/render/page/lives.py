"""Single requests for a page: their stages, what was open meanwhile, and their log."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import Interval, account, end_of, total
from poolhog.analysis.bins import LENT
from poolhog.analysis.course import Part
from poolhog.analysis.downsampling import downsampled
from poolhog.analysis.lifecycle import LifeSpan, lifecycle_of
from poolhog.analysis.log import beginning_of_log
from poolhog.render.lifecycle import LIFE_WORDS, verdict
from poolhog.render.page.columns import STATES
from poolhog.render.page.interning import NONE
from poolhog.render.request_log import event_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.log import LogEvent
    from poolhog.analysis.owned import Owned
    from poolhog.analysis.whole import Detail, Whole
    from poolhog.model import Checkout
    from poolhog.render.page.columns import Columns
    from poolhog.render.page.interning import Interned

MOST_BARS = 300
"""In one row of the picture of a life: more could not be told apart."""

_LEAST_BARS = 20


def lives_json(
    whole: Whole, detail: Detail, columns: Columns, interned: Interned, lines: int
) -> list[dict[str, Any]]:
    """The requests that are told step by step; instants are microseconds since they started.

    Of each log there are the first ``lines``; of the others it is told how many there are.
    """
    return [
        _life(whole, owned, columns, interned, lines)
        for owned in detail.lives
        if owned.key in columns.index_of
    ]


def _life(
    whole: Whole, owned: Owned, columns: Columns, interned: Interned, most: int
) -> dict[str, Any]:
    checkouts, until = owned.checkouts, owned.until
    shares = whole.shares_of(checkouts[0].pool.process)
    lines, more_lines, more = beginning_of_log(owned.request, checkouts, until, shares, most=most)
    spent = total(account(checkout, until, shares) for checkout in checkouts)
    life = None
    if owned.request is not None:
        holding = _holding(checkouts, columns, until)
        life = lifecycle_of(owned.request, checkouts, until, shares, holding=holding)
    return {
        "request": columns.index_of[owned.key],
        "ended_us": _us(owned.ended - owned.started),
        "responding_us": NONE if life is None or life.responding is None else _us(life.responding),
        "verdict": interned.text("" if life is None else verdict(life)),
        "stages": _spans(life.stages if life else (), interned),
        "sessions": _lengths(life.sessions if life else ()),
        "holding": [_bar(part) for part in life.holding] if life else [],
        "transactions": _lengths(life.transactions if life else ()),
        "spent": [_us(spent.wait), *map(_us, spent[-len(LENT) :])],
        "checkouts": owned.total,
        "log": [_line(line, interned) for line in lines],
        "lines_left_out": more_lines,
        "operations_left_out": more,
    }


def _line(line: LogEvent, interned: Interned) -> list[int]:
    """Instant, text, whether it is the response, state, duration, site."""
    state = NONE if line.state is None else STATES.index(line.state)
    lasted = NONE if line.duration is None else _us(line.duration)
    told = [_us(line.at), interned.text(event_text(line)), int(line.is_response)]
    return [*told, state, lasted, interned.site(line.site)]


def _spans(spans: Sequence[LifeSpan], interned: Interned) -> list[list[int]]:
    return [[interned.text(LIFE_WORDS[s.part]), _us(s.started), _us(s.duration)] for s in spans]


def _lengths(spans: Sequence[LifeSpan]) -> list[list[int]]:
    return [[_us(span.started), _us(span.duration)] for span in _seen_apart(spans)]


def _seen_apart(spans: Sequence[LifeSpan]) -> Sequence[LifeSpan]:
    """The spans, in order; of too many, those that no eye could tell apart are one."""
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


def _holding(checkouts: Sequence[Checkout], columns: Columns, until: float) -> Iterator[Interval]:
    """The states of the checkouts, as many as a picture has room for."""
    most = max(MOST_BARS // len(checkouts), _LEAST_BARS)
    for checkout in checkouts:
        parts = _of_states(columns.course_of(checkout))
        for part in downsampled(parts, checkout.asked, end_of(checkout, until), most):
            yield Interval(part.state, part.started, part.ended)


def _of_states(parts: Sequence[Part]) -> Iterator[Part]:
    """Neighbours in one state as one part."""
    for state, group in groupby(parts, key=lambda part: part.state):
        same = list(group)
        yield Part(state, same[0].started, same[-1].ended, state)


def _bar(part: Interval) -> list[int]:
    """State, start and length."""
    return [STATES.index(part.state), _us(part.started), _us(part.duration)]


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
