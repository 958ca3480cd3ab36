"""Tracks of the Trace Event Format: spans that nest, and counters, in whole microseconds."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import end_of, end_of_wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.model import Checkout

    Span = tuple[str, int, int, dict[str, Any]]
    """A name, from when to when, and what else is said of it."""


def microseconds(instant: float) -> int:
    """Of the run's clock."""
    return round(instant * 1e6)


def nesting(spans: Iterable[Span]) -> list[list[Span]]:
    """The spans on as few tracks as it takes for them to nest, each in order of its starts."""
    tracks: list[tuple[list[Span], list[int]]] = []
    for span in sorted(spans, key=lambda span: (span[1], -span[2])):
        _, started, ended, _ = span
        for nested, open_until in tracks:
            while open_until and open_until[-1] <= started:
                open_until.pop()
            if not open_until or ended <= open_until[-1]:
                nested.append(span)
                open_until.append(ended)
                break
        else:
            tracks.append(([span], [ended]))
    return [track for track, _ in tracks]


class Counter:
    """How many connections of a pool are lent, and how many checkouts wait, at each change."""

    def __init__(self) -> None:
        self._changes: list[tuple[int, int, int]] = []
        self._lent = self._waiting = 0

    def push(self, checkout: Checkout) -> Iterator[tuple[int, int, int]]:
        """The next checkout in the order of asking; the steps up to then."""
        until = checkout.pool.process.written
        asked, waited = microseconds(checkout.asked), microseconds(end_of_wait(checkout, until))
        is_over = checkout.granted is not None or checkout.gave_up is not None
        if waited > asked:
            heappush(self._changes, (asked, 0, 1))
            if is_over:
                heappush(self._changes, (waited, 0, -1))
        if checkout.granted is not None:
            heappush(self._changes, (waited, 1, 0))
            if checkout.returned is not None:
                heappush(self._changes, (microseconds(end_of(checkout, until)), -1, 0))
        yield from self._steps(asked)

    def rest(self) -> Iterator[tuple[int, int, int]]:
        """The steps after the last."""
        yield from self._steps(None)

    def _steps(self, before: int | None) -> Iterator[tuple[int, int, int]]:
        while self._changes and (before is None or self._changes[0][0] < before):
            at = self._changes[0][0]
            known = self._lent, self._waiting
            while self._changes and self._changes[0][0] == at:
                _, lent, waiting = heappop(self._changes)
                self._lent += lent
                self._waiting += waiting
            if known != (self._lent, self._waiting):
                yield at, self._lent, self._waiting
