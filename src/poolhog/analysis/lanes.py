"""Lanes of a picture, as few as hold intervals that do not overlap, and the uses that lie on them.

A use is a checkout on its connection. Uses come in the order of their grants, while checkouts are
read in the order of their asking; no more are kept back than wait at once.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import end_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.shown import Shown


class ConnectionLanes:
    """The lanes of a pool's checkouts, a connection on its former lane where it can be."""

    def __init__(self) -> None:
        self._connections: list[int | None] = []
        self._lane_of: dict[int | None, int] = {}  # and nothing for ``None``
        self._ends: list[float] = []
        self._lent: list[tuple[float, int]] = []
        self._free: set[int] = set()

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, connection: int | None, granted: float, ended: float) -> int:
        """The lane of a checkout; they come in order of their grant."""
        while self._lent and self._lent[0][0] <= granted:
            lane = heappop(self._lent)[1]
            if self._ends[lane] <= granted:
                self._free.add(lane)
        # Lent once at a time: if its return is stamped after its next grant, it is free even so.
        former = self._lane_of.get(connection)
        lane = self._any_free() if former is None else former
        if former is None and connection is not None:
            self._lane_of.pop(self._connections[lane], None)
            self._connections[lane] = connection
            self._lane_of[connection] = lane
        self._free.discard(lane)
        self._ends[lane] = ended
        heappush(self._lent, (ended, lane))
        return lane

    def _any_free(self) -> int:
        if self._free:
            return min(self._free)
        self._ends.append(0.0)
        self._connections.append(None)
        return len(self._ends) - 1


def packed(spans: Iterable[tuple[float, float]]) -> list[int]:
    """A lane for each of some intervals, which come in order of their start."""
    found: list[int] = []
    taken: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = 0
    for started, ended in spans:
        while taken and taken[0][0] <= started:
            heappush(free, heappop(taken)[1])
        if free:
            lane = heappop(free)
        else:
            lane = lanes
            lanes += 1
        heappush(taken, (ended, lane))
        found.append(lane)
    return found


class Use(NamedTuple):
    """A checkout on its connection, up to its return or the next use of the connection."""

    shown: Shown
    started: float
    ended: float


class Uses:
    """The uses of a process's connections: those of one follow one another, in order.

    A connection is lent once at a time. The next checkout may be stamped a moment before the last
    one's return, when the return is what woke it: then the earlier use ends there.
    """

    def __init__(self) -> None:
        self._granted: list[tuple[float, int, Shown]] = []
        self._number = 0
        self._last: dict[tuple[str, int], Use] = {}

    def push(self, shown: Shown) -> Iterator[Use]:
        """Add the next checkout that was asked for; the uses of which the end is known now."""
        checkout = shown.checkout
        while self._granted and self._granted[0][0] <= checkout.asked:
            yield from self._follow(*heappop(self._granted))
        if checkout.granted is not None:
            self._number += 1
            heappush(self._granted, (checkout.granted, self._number, shown))

    def rest(self) -> Iterator[Use]:
        """All that were kept back."""
        while self._granted:
            yield from self._follow(*heappop(self._granted))
        yield from self._last.values()
        self._last.clear()

    def _follow(self, started: float, _: int, shown: Shown) -> Iterator[Use]:
        checkout = shown.checkout
        use = Use(shown, started, end_of(checkout, checkout.pool.process.written))
        if checkout.connection is None:
            yield use
            return
        connection = checkout.pool.id, checkout.connection
        last = self._last.get(connection)
        if last is not None:
            yield last._replace(ended=min(last.ended, started))
        self._last[connection] = use


def uses_of(every: Iterable[Shown]) -> list[Use]:
    """The uses of some checkouts, which come in the order of their asking, by their start."""
    uses = Uses()
    found = [use for shown in every for use in uses.push(shown)]
    found += uses.rest()
    return sorted(found, key=lambda use: (use.started, use.shown.checkout.id))
