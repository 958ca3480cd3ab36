"""How many connections were in which state, and how many requests waited, in bins of time.

Made of checkouts that pass by once, process by process and in order of their asking, of which two
numbers are kept where they had to wait: for what is too much to be drawn one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import (
    GAPS,
    NO_SHARES,
    State,
    account,
    end_of,
    end_of_wait,
    intervals,
)
from poolhog.analysis.grants import Grants
from poolhog.analysis.lanes import ConnectionLanes
from poolhog.analysis.timeline import known_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Shares
    from poolhog.model import Checkout, Pool

LENT = (State.BUSY, *GAPS)
"""The states of a connection that is lent."""

MOST_LANES = 60
"""Connections that have a lane; more are counted in the bins only."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of time. ``lent`` and ``waiting`` are averages over it, of connections and waits.

    ``most_waiting`` is how many waited at once at the most.
    """

    started: float
    ended: float
    lent: Mapping[State, float]
    waiting: float
    most_waiting: int


@dataclass(frozen=True, slots=True)
class BinnedLane:
    """One of the connections that a pool lends at once; ``seconds`` of each state, bin by bin."""

    pool: Pool
    number: int
    seconds: tuple[Mapping[State, float], ...]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What is drawn between ``started`` and ``ended``: everything is cut to this window.

    ``connections`` is how many lanes there would be without a limit, ``capacity`` how many
    connections the pools lend at once, ``None`` if one of them has no limit.
    """

    started: float
    ended: float
    bins: tuple[Bin, ...]
    lanes: tuple[BinnedLane, ...]
    connections: int
    capacity: int | None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started

    def lent(self, *states: State) -> float:
        """Seconds that the connections were lent and in one of these states, added up."""
        return sum(b.lent[state] * (b.ended - b.started) for b in self.bins for state in states)

    def waited(self) -> float:
        """Seconds that requests waited, added up."""
        return sum(b.waiting * (b.ended - b.started) for b in self.bins)

    @property
    def states(self) -> frozenset[State]:
        """Those that occur."""
        waiting = {State.WAITING} if any(b.most_waiting for b in self.bins) else set()
        return frozenset(s for s in LENT if any(b.lent[s] > 0 for b in self.bins)) | waiting


def occupancy_of(
    checkouts: Iterable[Checkout],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    bins: int,
    shares: Shares = NO_SHARES,
) -> Occupancy:
    """The occupancy between two instants of the run's clock, the second of them later.

    ``checkouts`` come by process, and of each in order of their asking. What is still open or in
    flight lasts until ``ended``, or until the last that is known of its process. The pools that
    checkouts name count whether they are listed or not; a listed pool has lanes for all the
    connections that it keeps.
    """
    grid = _Grid(started, ended, bins)
    waits = _Waits(grid)
    total = grid.row()
    lanes = {pool.id: _Lanes(pool) for pool in pools}
    rows = 0
    for checkout in _in_order_of_grant(waits.counted(checkouts), ended):
        of_pool = lanes.get(checkout.pool.id)
        if of_pool is None:
            of_pool = lanes[checkout.pool.id] = _Lanes(checkout.pool)
        lane = of_pool.take(checkout, end_of(checkout, known_until(checkout, ended)))
        if lane not in of_pool.rows and rows < MOST_LANES:
            of_pool.rows[lane] = grid.row()
            rows += 1
        own = of_pool.rows.get(lane)
        grid.add(checkout, (total,) if own is None else (total, own), shares)
    every = [lane for of_pool in lanes.values() for lane in of_pool.binned(grid)]
    limits = [of_pool.pool.capacity for of_pool in lanes.values()]
    return Occupancy(
        started=started,
        ended=ended,
        bins=tuple(waits.bins(total)),
        lanes=tuple(every[:MOST_LANES]),
        connections=len(every),
        capacity=None if None in limits else sum(limit or 0 for limit in limits),
    )


_Row = tuple[list[float], ...]
"""Seconds bin by bin, of each state in ``LENT``: added to so often that a mapping is too slow."""


class _Grid:
    """Bins of equal time."""

    def __init__(self, started: float, ended: float, count: int) -> None:
        self.started = started
        self.ended = ended
        self.count = count
        self.width = (ended - started) / count

    def row(self) -> _Row:
        return tuple([0.0] * self.count for _ in LENT)

    def begin(self, index: int) -> float:
        return self.started + index * self.width if index < self.count else self.ended

    def bin(self, at: float) -> int:
        return min(max(int((at - self.started) / self.width), 0), self.count - 1)

    def spread(self, seconds: list[float], started: float, ended: float) -> None:
        """Add the part of the interval that lies in each bin."""
        started, ended = max(started, self.started), min(ended, self.ended)
        if ended <= started:
            return
        first = self.bin(started)
        if ended <= self.begin(first + 1):
            seconds[first] += ended - started
            return
        for index in range(first, self.bin(ended) + 1):
            overlap = min(ended, self.begin(index + 1)) - max(started, self.begin(index))
            if overlap > 0:
                seconds[index] += overlap

    def add(self, checkout: Checkout, rows: Sequence[_Row], shares: Shares) -> None:
        """Add the checkout's use. What is within one bin need not be looked at more closely."""
        until = known_until(checkout, self.ended)
        begun, end = end_of_wait(checkout, until), end_of(checkout, until)
        index = self.bin(begun)
        if begun >= self.begin(index) and end <= self.begin(index + 1):
            spent = account(checkout, until, shares)[-len(LENT) :]
            for row in rows:
                for seconds, part in zip(row, spent, strict=True):
                    seconds[index] += part
            return
        for interval in intervals(checkout, until, shares):
            if interval.state in LENT:
                for row in rows:
                    seconds = row[LENT.index(interval.state)]
                    self.spread(seconds, interval.started, interval.ended)


class _Waits:
    """Who waits, of checkouts as they come by, in whatever order."""

    def __init__(self, grid: _Grid) -> None:
        self._grid = grid
        self._seconds = [0.0] * grid.count
        self._waits: list[tuple[float, float]] = []

    def counted(self, checkouts: Iterable[Checkout]) -> Iterator[Checkout]:
        """The same checkouts."""
        grid = self._grid
        for checkout in checkouts:
            end = end_of_wait(checkout, known_until(checkout, grid.ended))
            if end > max(checkout.asked, grid.started):
                grid.spread(self._seconds, checkout.asked, end)
                self._waits.append((checkout.asked, end))
            yield checkout

    def bins(self, total: _Row) -> Iterator[Bin]:
        """All that was counted, with the uses that others counted."""
        grid = self._grid
        for index, most_waiting in enumerate(self._most()):
            yield Bin(
                started=grid.begin(index),
                ended=grid.begin(index + 1),
                lent={s: row[index] / grid.width for s, row in zip(LENT, total, strict=True)},
                waiting=self._seconds[index] / grid.width,
                most_waiting=most_waiting,
            )

    def _most(self) -> list[int]:
        """How many waited at once in each bin at the most; who waits when one begins is in it."""
        most = [0] * self._grid.count
        ends: list[float] = []
        current = 0

        def leave(at: float) -> None:
            while ends and ends[0] <= at:
                heappop(ends)

        def advance(to: int) -> None:
            nonlocal current
            while current < to:
                current += 1
                leave(self._grid.begin(current))
                most[current] = max(most[current], len(ends))

        for asked, end in sorted(self._waits):
            advance(self._grid.bin(asked))
            leave(asked)
            heappush(ends, end)
            most[current] = max(most[current], len(ends))
        advance(self._grid.count - 1)
        return most


class _Lanes:
    """A pool's lanes, and the seconds of those that have a row."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.rows: dict[int, _Row] = {}
        self._lanes = ConnectionLanes()

    def take(self, checkout: Checkout, ended: float) -> int:
        """The lane of a checkout; they come in order of their grant."""
        return self._lanes.take(checkout.connection, checkout.granted or 0.0, ended)

    def binned(self, grid: _Grid) -> Iterator[BinnedLane]:
        """Its lanes, and those of connections that it keeps and never lent."""
        for lane in range(max(len(self._lanes), self.pool.size or 0)):
            row = self.rows.get(lane) or grid.row()
            yield BinnedLane(
                self.pool,
                lane + 1,
                tuple(
                    {s: seconds[i] for s, seconds in zip(LENT, row, strict=True) if seconds[i]}
                    for i in range(grid.count)
                ),
            )


def _in_order_of_grant(checkouts: Iterable[Checkout], ended: float) -> Iterator[Checkout]:
    """Those that got a connection by then, of each process in the order of their grants."""
    for _, of_process in groupby(checkouts, key=lambda checkout: checkout.pool.process):
        grants = Grants()
        for checkout in of_process:
            yield from grants.push(checkout, ended)
        yield from grants.rest()
