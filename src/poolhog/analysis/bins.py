"""Bins: what happened to connections and requests in equal stretches of a run.

What is in the bins adds up to what the report says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.spans import GAPS, STATES, UNSAMPLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from poolhog.analysis.blame.charges import Place
    from poolhog.analysis.blame.queue import Queue
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.spans import Cut, Spans
    from poolhog.model import Process

    Floats = NDArray[np.float64]

LENT = (State.BUSY, State.PARKED, State.RUNNING, State.READY)
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
