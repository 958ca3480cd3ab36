"""How many connections were in which state, and how many requests waited, in bins of time.

What is in the bins adds up to what the report says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.lanes import ConnectionLanes
from poolhog.analysis.measured import parts_of
from poolhog.analysis.spans import GAPS, STATES, UNSAMPLED, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.blame.blaming import Place
    from poolhog.analysis.blame.queue import Queue
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.spans import Cut, Spans
    from poolhog.model import Pool, Process

    Floats = NDArray[np.float64]

LENT = (State.BUSY, State.BLOCKED, State.PARKED, State.RUNNING, State.READY)
"""The states of a connection that is lent."""

MOST_BINS = 2_000


class Grid:
    """Equal bins between two instants of the run's clock, of a ``width`` in seconds."""

    def __init__(self, started: float, ended: float, count: int) -> None:
        self.started = started
        self.ended = max(ended, started + 1e-6)
        self.count = count
        self.width = (self.ended - started) / count

    def begin(self, index: int) -> float:
        """When a bin begins; the one after the last, when the last ends."""
        return self.started + index * self.width if index < self.count else self.ended

    def spread(
        self,
        began: float,
        starts: Numbers | Floats,
        ends: Numbers | Floats,
        passed: Callable[[Any], Floats] = lambda instants: instants / 1e6,
        weights: Floats | None = None,
    ) -> Floats:
        """The seconds of some intervals by the bins that they lie in, added up.

        Instants are microseconds since ``began``. ``passed`` is the clock by which seconds
        are counted; ``weights`` are factors for the intervals.
        """
        zero = (self.started - began) * 1e6
        edges = zero + np.arange(self.count + 1) * (self.width * 1e6)
        edges[-1] = (self.ended - began) * 1e6
        some = np.flatnonzero((ends > starts) & (ends > edges[0]) & (starts < edges[-1]))
        inside = [np.clip(at[some] * 1.0, edges[0], edges[-1]) for at in (starts, ends)]
        factors = np.ones(len(some)) if weights is None else weights[some]
        at_edges = passed(edges)
        first = np.clip(np.searchsorted(edges, inside[0], side="right") - 1, 0, self.count - 1)
        last = np.clip(np.searchsorted(edges, inside[1], side="left") - 1, 0, self.count - 1)
        begun, over = map(passed, inside)
        beyond = np.flatnonzero(last > first)
        seconds = np.where(last > first, at_edges[first + 1], over) - begun
        found: Floats = np.zeros(self.count)
        np.add.at(found, first, factors * seconds)
        np.add.at(found, last[beyond], factors[beyond] * (over - at_edges[last])[beyond])
        covered: Floats = np.zeros(self.count)
        np.add.at(covered, first[beyond] + 1, factors[beyond])
        np.add.at(covered, last[beyond], -factors[beyond])
        return found + np.cumsum(covered) * np.diff(at_edges)


class Bins(Grid):
    """How many connections were in which state, and how many requests waited, over a whole run.

    ``lent`` are seconds by state and bin, ``waited`` those of waits. ``peaks`` are the most
    requests that waited at one instant of each bin, once the bins are settled.
    """

    def __init__(self, started: float, ended: float, count: int = MOST_BINS) -> None:
        super().__init__(started, ended, count)
        self.lent = {state: np.zeros(count) for state in LENT}
        self.waited = np.zeros(count)
        self.peaks = [0] * count
        # Microseconds since ``started``: when each was asked for, got or given up, and over.
        self._asked: list[Numbers] = []
        self._left: list[Numbers] = []
        self._over: list[Numbers] = []

    def see(self, found: Measured, rows: Numbers, parts: Cut) -> None:
        """Add what some checkouts did while they were lent."""
        for state, seconds in seconds_of(self, found, parts.spans).items():
            self.lent[state] += seconds

    def close(self, found: Measured) -> None:
        """Add the waits of a process."""
        self.wait(found.ledger, np.arange(len(found.ledger)))

    def wait(self, ledger: Ledger, rows: Numbers) -> None:
        """Add the waits of some checkouts."""
        self.waited += self.spread(ledger.process.began, ledger.asked[rows], ledger.left[rows])
        since = round((ledger.process.began - self.started) * 1e6)
        self._asked.append(ledger.asked[rows] + since)
        self._left.append(ledger.left[rows] + since)
        self._over.append(ledger.over[rows] + since)

    def settle(self) -> None:
        """All processes were added: find the peaks, and prepare for :meth:`overlapping`."""
        asked, left, over = (
            np.concatenate(parts) if parts else np.array([], np.int64)
            for parts in (self._asked, self._left, self._over)
        )
        self.peaks = self._most_waiting(asked, left)
        self._sorted = np.sort(asked), np.sort(over)

    def overlapping(self, from_us: int, to_us: int) -> int:
        """The number of checkouts asked for before ``to_us`` that were not over at ``from_us``."""
        asked, over = self._sorted
        return int(np.searchsorted(asked, to_us) - np.searchsorted(over, from_us))

    def _most_waiting(self, asked: Numbers, left: Numbers) -> list[int]:
        waits = left > np.maximum(asked, 0)
        starts, ends = np.sort(asked[waits]), np.sort(left[waits])
        edges = np.round(np.arange(self.count) * self.width * 1e6)
        most = np.searchsorted(starts, edges) - np.searchsorted(ends, edges, side="right")
        counts = np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="right")
        at = np.clip(np.searchsorted(edges, starts, side="right") - 1, 0, self.count - 1)
        np.maximum.at(most, at, counts)
        found: list[int] = most.tolist()
        return found


def seconds_of(grid: Grid, found: Measured, spans: Spans) -> Mapping[State, Floats]:
    """The seconds of some spans by their state and bin, with unsampled gaps split by shares."""
    began = found.ledger.process.began
    seconds = {}
    for code, state in enumerate(STATES):
        if state in LENT:
            own = spans.where(spans.state == code)
            seconds[state] = grid.spread(began, own.started, own.ended)
    unsampled = spans.where(spans.state == UNSAMPLED)
    site = found.ledger.site[unsampled.row]
    for place, code in enumerate(GAPS):
        weights = found.shares[site, place]
        seconds[STATES[code]] += grid.spread(
            began, unsampled.started, unsampled.ended, weights=weights
        )
    return seconds


_LEAST_S = 1e-6


class BlameBins:
    """Observes who holds up others; ``rows`` are seconds of waiting by the bins of a run."""

    def __init__(self, grid: Grid) -> None:
        self.rows: dict[Place, NDArray[np.float64]] = {}
        self._grid = grid

    def see(
        self,
        place: Place,
        queue: Queue,
        process: Process,
        spans: tuple[Numbers, Numbers],
        sign: int,
    ) -> None:
        """Some held connections; instants are microseconds since the process began."""
        row = self.rows.setdefault(place, np.zeros(self._grid.count))
        row += sign * self._grid.spread(process.began, *spans, queue.waited_by)

    def most(self, number: int) -> list[Place]:
        """The places that others waited most for, of which each has a line."""
        whole = {place: float(row.sum()) for place, row in self.rows.items()}
        ranked = sorted(whole, key=lambda place: (-whole[place], place.route, str(place.line)))
        return [place for place in ranked if whole[place] > _LEAST_S][:number]

    def averages(self, place: Place) -> list[float]:
        """How many waited because of this on average in each bin."""
        found: list[float] = (np.maximum(self.rows[place], 0.0) / self._grid.width).tolist()
        return found


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
