"""How many connections were in which state, and how many requests waited, in bins of time.

Made of the columns of ledgers, one process after the other: for what is too much to be drawn one by
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.bins import LENT, Bins, seconds_of
from poolhog.analysis.lanes import ConnectionLanes
from poolhog.analysis.measured import parts_of
from poolhog.analysis.spans import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.bins import Floats
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.model import Pool

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
    processes: Iterable[tuple[Measured, Numbers]],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    bins: int,
) -> Occupancy:
    """The occupancy between two instants of the run's clock, the second of them later.

    Of each process, some rows of its ledger count, which are in order. What is still open or in
    flight lasts until ``ended``, or until the last that is known of its process. The pools of
    these rows count whether they are listed or not; a listed pool has lanes for all the
    connections that it keeps.
    """
    grid = Bins(started, ended, bins)
    lanes = {pool.id: _Lanes(pool) for pool in pools}
    drawn: list[_Seconds] = []
    for found, rows in processes:
        grid.wait(found.ledger, rows)
        lane_of = _lanes_of(found.ledger, rows, lanes, ended, drawn)
        for part in parts_of(rows):
            parts = cut(found.ledger, part)
            grid.see(found, part, parts)
            of_spans = lane_of[parts.spans.row]
            for lane in np.unique(of_spans[of_spans >= 0]).tolist():
                _add(drawn[lane], seconds_of(grid, found, parts.spans.where(of_spans == lane)))
    grid.settle()
    every = [lane for of_pool in lanes.values() for lane in of_pool.binned(drawn, bins)]
    limits = [of_pool.pool.capacity for of_pool in lanes.values()]
    return Occupancy(
        started=started,
        ended=ended,
        bins=tuple(_bins(grid)),
        lanes=tuple(every[:MOST_LANES]),
        connections=len(every),
        capacity=None if None in limits else sum(limit or 0 for limit in limits),
    )


_Seconds = dict[State, "Floats"]
"""Of one lane, by state and bin."""


def _add(seconds: _Seconds, more: Mapping[State, Floats]) -> None:
    for state, row in more.items():
        seconds[state] = seconds[state] + row if state in seconds else row


def _lanes_of(
    ledger: Ledger, rows: Numbers, lanes: dict[str, _Lanes], ended: float, drawn: list[_Seconds]
) -> Numbers:
    """By row of the ledger, which of the ``drawn`` lanes it lies on, negative if on none.

    Rows that got a connection by then lie on a lane; lanes are drawn as long as there is room.
    """
    found = np.full(len(ledger), -1)
    granted = rows[ledger.is_granted[rows] & (ledger.left[rows] < ledger.microseconds(ended))]
    granted = granted[np.lexsort((granted, ledger.left[granted]))]
    columns = (ledger.pool, ledger.connection, ledger.left, ledger.over)
    for row, place, connection, left, over in zip(
        granted.tolist(), *(column[granted].tolist() for column in columns), strict=True
    ):
        pool = ledger.pools[place]
        of_pool = lanes.get(pool.id)
        if of_pool is None:
            of_pool = lanes[pool.id] = _Lanes(pool)
        lane = of_pool.lanes.take(connection if connection >= 0 else None, left, over)
        if lane not in of_pool.drawn and len(drawn) < MOST_LANES:
            of_pool.drawn[lane] = len(drawn)
            drawn.append({})
        found[row] = of_pool.drawn.get(lane, -1)
    return found


def _bins(grid: Bins) -> Iterator[Bin]:
    for index, most_waiting in enumerate(grid.peaks):
        yield Bin(
            started=grid.begin(index),
            ended=grid.begin(index + 1),
            lent={state: float(row[index]) / grid.width for state, row in grid.lent.items()},
            waiting=float(grid.waited[index]) / grid.width,
            most_waiting=most_waiting,
        )


class _Lanes:
    """A pool's lanes; ``drawn`` are those that are drawn, by their places among all of these."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.lanes = ConnectionLanes()
        self.drawn: dict[int, int] = {}

    def binned(self, drawn: Sequence[_Seconds], bins: int) -> Iterator[BinnedLane]:
        """Its lanes, and those of connections that it keeps and never lent."""
        for lane in range(max(len(self.lanes), self.pool.size or 0)):
            own = drawn[self.drawn[lane]] if lane in self.drawn else {}
            seconds = {state: row.tolist() for state, row in own.items()}
            yield BinnedLane(
                self.pool,
                lane + 1,
                tuple(
                    {state: row[index] for state, row in seconds.items() if row[index] > 0}
                    for index in range(bins)
                ),
            )
