"""Checkouts that are shown one by one: each with its spans as values, and what its time went into.

The columns of :mod:`poolhog.analysis.spans` are cut; here their rows become objects, and a gap
without a sample becomes up to three spans, split by the shares of its checkout's site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.ledger import KINDS
from poolhog.analysis.measured import accounts_of, measured
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.spans import GAPS, STATES, UNSAMPLED, WAITING, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.spans import Cut
    from poolhog.model import Checkout, Site, Trace

QUEUEING = "queueing"
"""The kind of a span of a wait in which no operation was in flight."""

_AT_ONCE = 1_000
"""Checkouts that are cut at once, and spans that are made at once."""


_MOST_LISTED = 100_000


class Span(NamedTuple):
    """A stretch in which a checkout was in one state, in seconds on the run's clock.

    ``kind`` is that of the operation in flight; ``queueing``, in a wait without one; in a gap, the
    state. ``site`` is where the operation or the connection was asked for; in a gap, where the
    owner was seen, or what ran instead of one that was ready, and ``None`` where it was not looked
    at. ``statement``, ``error`` and ``cause`` are the operation's. A tuple, as there may be many.

    Of several that are added up, ``number`` is how many, and ``kind`` the state.
    """

    state: State
    started: float
    ended: float
    kind: str
    statement: str | None = None
    site: Site | None = None
    number: int = 1
    error: str | None = None
    cause: str | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started

    @property
    def is_of_gap(self) -> bool:
        """Whether no operation was in flight, and the connection was lent."""
        return self.kind == self.state

    @property
    def line(self) -> Site | None:
        """The innermost frame of the application's, or else of all."""
        return application_site(self.site) or self.site


def application_site(site: Site | None) -> Site | None:
    """The innermost frame of the application's, or ``None`` if there is none."""
    while site is not None and not site.is_application:
        site = site.caller
    return site


class Shown(NamedTuple):
    """A checkout with its spans, in order, without holes or overlaps, and its seconds by state.

    ``spans`` can be iterated again and again: each time, the objects are made anew.
    """

    checkout: Checkout
    spans: Iterable[Span]
    spent: Account


def shown(found: Measured, rows: Numbers) -> Iterator[Shown]:
    """The checkouts of some rows of a ledger, in the order of ``rows``.

    The ledger's facts must be at hand until the last one was handed out.
    """
    ledger = found.ledger
    for first in range(0, len(rows), _AT_ONCE):
        block = rows[first : first + _AT_ONCE]
        ordered = np.unique(block)
        spans = _CutSpans(ledger, cut(ledger, ordered), found)
        parts = zip(
            ordered.tolist(),
            ledger.checkouts(ordered),
            accounts_of(found, ordered),
            strict=True,
        )
        made = {row: Shown(c, _RowSpans(spans, row), spent) for row, c, spent in parts}
        yield from (made[row] for row in block.tolist())


def shown_of(trace: Trace) -> dict[str, Shown]:
    """All checkouts of a trace in memory, by their ids, in the order of their asking."""
    every = (
        one
        for ledger in ledgers_of(trace)
        for one in shown(measured(ledger), np.arange(len(ledger)))
    )
    return {
        one.checkout.id: one
        for one in sorted(every, key=lambda one: (one.checkout.asked, one.checkout.id))
    }


def of_state(state: State, started: float, ended: float) -> Span:
    """A span of which only the state is of interest."""
    return Span(state, started, ended, state)


def joined(spans: Iterable[Span], key: Callable[[Span], object]) -> Iterator[Span]:
    """The spans, of which neighbours with equal keys are one, which is like the first of them."""
    last: Span | None = None
    for span in spans:
        if last is not None and last.ended == span.started and key(last) == key(span):
            last = last._replace(ended=span.ended)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def states_of(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans as states only: neighbours of one state are one."""
    for span in joined(spans, lambda span: span.state):
        yield of_state(span.state, span.started, span.ended)


def by_line(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans, each at its line; neighbours that do the same there are one."""
    at_lines = (span._replace(site=span.line, error=None, cause=None) for span in spans)
    return joined(at_lines, lambda span: (span.state, *span[3:6]))


def at_places(shown: Shown) -> Iterator[Span]:
    """The spans of a use: operation by operation, and in gaps, those at one place as one.

    An owner that was not looked at is where it asked for the connection.
    """
    asked_at = shown.checkout.site
    lent = (span for span in shown.spans if span.state is not State.WAITING)
    placed = (
        span._replace(site=span.site or asked_at) if span.is_of_gap else span for span in lent
    )
    # No operation is like another.
    return joined(placed, lambda span: span[:1] + span[5:6] if span.is_of_gap else object())


def within(spans: Iterable[Span], started: float, ended: float) -> Iterator[Span]:
    """The parts of the spans that lie between two instants."""
    for span in spans:
        first, last = max(span.started, started), min(span.ended, ended)
        if last > first:
            yield span._replace(started=first, ended=last)


class _CutSpans:
    """Some checkouts of a ledger that were cut, of which spans are made."""

    def __init__(self, ledger: Ledger, parts: Cut, found: Measured) -> None:
        self._ledger = ledger
        self._shares = found.shares
        self._texts = ledger.facts.texts
        self._statements = ledger.facts.statements
        spans, operations = parts.spans, parts.operations
        sampled_at = _picked(parts.samples.site, spans.sample)
        self._row = spans.row
        self._spans = _Lists((*spans[1:5], sampled_at))
        self._operations = _Lists(operations[1:2] + operations[4:])

    def of(self, row: int) -> Iterator[Span]:
        """The spans of a row."""
        first, last = np.searchsorted(self._row, (row, row + 1)).tolist()
        at_site = int(self._ledger.site[row])
        asked_at = self._ledger.sites[at_site]
        shares = self._shares[at_site].tolist()
        for begin in range(first, last, _AT_ONCE):
            yield from self._some(begin, min(begin + _AT_ONCE, last), asked_at, shares)

    def _some(
        self, first: int, last: int, asked_at: Site | None, shares: Sequence[float]
    ) -> Iterator[Span]:
        began, sites = self._ledger.process.began, self._ledger.sites
        for state, start, end, operation, sampled_at in zip(
            *self._spans.between(first, last), strict=True
        ):
            started, ended = began + start / 1e6, began + end / 1e6
            if operation >= 0:
                kind, site, statement, error, cause = self._operations.at(operation)
                yield Span(
                    *(STATES[state], started, ended, KINDS[kind]),
                    *(self._statements.get(statement), sites[site], 1),
                    *(self._texts.get(error), self._texts.get(cause)),
                )
            elif state == WAITING:
                yield Span(STATES[state], started, ended, QUEUEING, None, asked_at)
            elif state == UNSAMPLED:
                yield from _split(started, ended, shares)
            else:
                yield Span(STATES[state], started, ended, STATES[state], None, sites[sampled_at])


class _Lists:
    """Columns as lists, which is faster one by one; of long ones, part by part: they are larger."""

    def __init__(self, columns: Sequence[Numbers]) -> None:
        self._columns = columns
        is_short = not columns or len(columns[0]) <= _MOST_LISTED
        self._lists = [column.tolist() for column in columns] if is_short else None

    def between(self, first: int, last: int) -> list[list[int]]:
        if self._lists is not None:
            return [values[first:last] for values in self._lists]
        return [column[first:last].tolist() for column in self._columns]

    def at(self, place: int) -> list[int]:
        if self._lists is not None:
            return [values[place] for values in self._lists]
        return [int(column[place]) for column in self._columns]


def _picked(column: Numbers, places: Numbers) -> Numbers:
    """The values at some places, 0 where the place is negative."""
    return np.where(places >= 0, column[places], 0) if len(column) else np.zeros_like(places)


class _RowSpans:
    """The spans of one row."""

    __slots__ = ("_row", "_spans")

    def __init__(self, spans: _CutSpans, row: int) -> None:
        self._spans = spans
        self._row = row

    def __iter__(self) -> Iterator[Span]:
        return self._spans.of(self._row)


def _split(started: float, ended: float, shares: Sequence[float]) -> Iterator[Span]:
    """A gap without a sample: parked, running and ready, as far as it is so."""
    at = started
    present = [(code, share) for code, share in zip(GAPS, shares, strict=True) if share]
    for place, (code, share) in enumerate(present, 1):
        is_last = place == len(present)
        change = ended if is_last else min(at + share * (ended - started), ended)
        if change > at:
            yield of_state(STATES[code], at, change)
            at = change
