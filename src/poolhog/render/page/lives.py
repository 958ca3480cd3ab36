"""Single requests for a page: their stages, what was open meanwhile, and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import account
from poolhog.analysis.bins import LENT
from poolhog.analysis.cells import total
from poolhog.analysis.lifecycle import Lifecycle, Span, lifecycle_of
from poolhog.analysis.log import log_with_gaps
from poolhog.render.lifecycle import verdict
from poolhog.render.page.columns import STATES
from poolhog.render.page.interning import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.log import LogLine
    from poolhog.analysis.owned import Owned
    from poolhog.analysis.whole import Detail, Whole
    from poolhog.render.page.columns import Columns
    from poolhog.render.page.interning import Interned

MOST_LINES = 200
"""Of a log: the first ones; of the others it is told how many there are."""


def lives_json(
    whole: Whole, detail: Detail, columns: Columns, interned: Interned
) -> list[dict[str, Any]]:
    """The requests that are told step by step; instants are microseconds since they started."""
    return [
        _life(whole, owned, columns.index_of[owned.key], interned)
        for owned in detail.lives
        if owned.key in columns.index_of
    ]


def _life(whole: Whole, owned: Owned, index: int, interned: Interned) -> dict[str, Any]:
    checkouts, until = owned.checkouts, owned.until
    shares = whole.shares_of(checkouts[0].pool.process)
    lines = log_with_gaps(owned.request, checkouts, until, shares)
    spent = total(account(checkout, until, shares) for checkout in checkouts)
    life = None
    if owned.request is not None:
        life = lifecycle_of(owned.request, checkouts, until, shares)
    return {
        "request": index,
        "ended_us": _us(owned.ended - owned.started),
        "responding_us": NONE if life is None or life.responding is None else _us(life.responding),
        "verdict": interned.text("" if life is None else verdict(life)),
        "stages": _spans(life.stages if life else (), interned),
        "sessions": _lengths(life.sessions if life else ()),
        "holding": list(_holding(life)) if life else [],
        "transactions": _lengths(life.transactions if life else ()),
        "spent": [_us(spent.wait), *map(_us, spent[-len(LENT) :])],
        "checkouts": owned.total,
        "log": [_line(line, interned) for line in lines[:MOST_LINES]],
        "lines_left_out": max(len(lines) - MOST_LINES, 0),
    }


def _line(line: LogLine, interned: Interned) -> list[int]:
    """Instant, text, whether it is the response, state, duration, site."""
    state = NONE if line.state is None else STATES.index(line.state)
    lasted = NONE if line.duration is None else _us(line.duration)
    told = [_us(line.at), interned.text(str(line.what)), int(line.is_response)]
    return [*told, state, lasted, interned.site(line.site)]


def _spans(spans: Sequence[Span], interned: Interned) -> list[list[int]]:
    return [[interned.text(s.name), _us(s.started), _us(s.duration)] for s in spans]


def _lengths(spans: Sequence[Span]) -> list[list[int]]:
    return [[_us(span.started), _us(span.duration)] for span in spans]


def _holding(life: Lifecycle) -> Iterator[list[int]]:
    """State, start and length of each part of the checkouts."""
    for part in life.holding:
        yield [STATES.index(part.state), _us(part.started), _us(part.duration)]


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
