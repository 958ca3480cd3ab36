"""Who waited for a pool's connections while none was free, and what that comes to for a holder.

At an instant at which ``h`` checkouts have a connection of a pool of ``c``, the first ``c - h`` in
the queue only wait to be handed one: nobody keeps it from them. Each of the others is charged to
the ``h`` holders in equal parts. A connection that is being opened or pinged for a checkout has
left the pool: that checkout is a holder as well.

Everything is in whole numbers. Instants are microseconds since the process began, and charges are
counted in parts of a microsecond that every ``h`` divides, so they add up exactly.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Numbers

    Units = NDArray[Any]
    """Parts of a microsecond: of ``int64``, or Python's integers where these would not do."""

_ASKED, _GOT, _OVER = range(3)
_MOST = 2**62


class Turns(NamedTuple):
    """Checkouts as columns: when each asked, when it left the queue, when it was over; its route.

    One that left the queue without a connection was over then.
    """

    asked: Numbers
    got: Numbers
    over: Numbers
    route: Numbers


class _Turn(NamedTuple):
    asked: int
    got: int
    over: int
    route: int


class Queue:
    """The queue of one pool, which lends ``capacity`` connections at once; ``None``: no limit.

    ``contended`` are the indexes of the turns during which more wanted a connection than there are.
    ``scale`` units of a charge are a microsecond. ``routes`` names the routes of the turns.
    """

    def __init__(self, capacity: int | None, turns: Turns, routes: Sequence[str]) -> None:
        self.scale = 1
        self.routes = routes
        nothing = np.array([], np.int64)
        self._begins, self._ends = nothing, nothing
        self._crowds: dict[int, _Crowd] = {}
        # From times[i] on, the clock of a holder goes at rates[i].
        self._times, self._rates, self._clock = nothing, nothing, nothing
        if capacity is not None:
            self._begins, self._ends = _contended(capacity, turns)
        self.contended = self.concerned(turns.asked, turns.over)
        if capacity is not None and len(self.contended):
            columns = (column[self.contended].tolist() for column in turns)
            self._sweep(capacity, sorted(_Turn(*turn) for turn in zip(*columns, strict=True)))

    def concerned(self, starts: Numbers, ends: Numbers) -> Numbers:
        """The indexes of those stretches in which more wanted a connection than there are."""
        if not len(self._begins):
            return np.array([], np.int64)
        at = np.searchsorted(self._ends, starts, side="right")
        begins = np.append(self._begins, _MOST)
        return np.flatnonzero(begins[at] < ends)

    def charges(self, starts: Numbers, ends: Numbers) -> Iterator[tuple[int, Units]]:
        """What is charged to whoever held a connection in some stretches, by the waiting route.

        In parts of a microsecond, ``scale`` of which are one.
        """
        first, last = self._at(starts), self._at(ends)
        for route, crowd in self._crowds.items():
            yield route, crowd.passed(last) - crowd.passed(first)

    def charged(self, starts: Numbers, ends: Numbers) -> Mapping[str, float]:
        """The seconds that each route waited for whoever held connections in some stretches."""
        chosen = self.concerned(starts, ends)
        if not len(chosen):
            return {}
        found = self.charges(starts[chosen], ends[chosen])
        totals = {self.routes[route]: int(units.sum()) for route, units in found}
        parts = self.scale * 1_000_000
        return {route: units / parts for route, units in totals.items() if units}

    def waited_by(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """The seconds charged by each instant to somebody who held a connection all the time."""
        at = self._at(instants)
        units = sum((crowd.passed(at) for crowd in self._crowds.values()), np.zeros(len(at)))
        found: NDArray[np.float64] = units.astype(float) / (self.scale * 1e6)
        return found

    def _sweep(self, capacity: int, turns: Sequence[_Turn]) -> None:
        line = _Line(capacity, turns)
        steps: list[tuple[int, int]] = []
        changes: dict[int, list[tuple[int, int]]] = {}
        for at, here in groupby(sorted(_events(turns)), key=itemgetter(0)):
            for _, what, number in here:
                line.happen(what, number)
            for route in line.settle():
                changes.setdefault(route, []).append((at, line.crowd[route]))
            holders = line.held if line.waiting else 0
            if not steps or steps[-1][1] != holders:
                steps.append((at, holders))
        self.scale = math.lcm(*{holders for _, holders in steps if holders})
        span = steps[-1][0] - steps[0][0] + 1
        most = max((count for changed in changes.values() for _, count in changed), default=1)
        kind = np.int64 if self.scale * span * max(most, 1) < _MOST else object
        self._times = np.array([at for at, _ in steps])
        rates = [self.scale // holders if holders else 0 for _, holders in steps]
        self._rates = np.array(rates, kind)
        passed = np.diff(self._times).astype(kind) * self._rates[:-1]
        self._clock = np.concatenate((np.zeros(1, kind), np.cumsum(passed)))
        for route, changed in changes.items():
            instants = self._at(np.array([at for at, _ in changed]))
            self._crowds[route] = _Crowd(instants, np.array([count for _, count in changed], kind))

    def _at(self, instants: Units) -> Units:
        """What one request that waited all the time would have been charged a holder by then."""
        if not len(self._times):
            return np.zeros(len(instants), np.int64)
        index = np.searchsorted(self._times, instants, side="right") - 1
        since = (instants - self._times[index]) * self._rates[index]
        return np.where(index >= 0, self._clock[index] + since, 0)


class _Crowd:
    """How many of a route had to wait, on the clock of a holder, and the integral of that."""

    def __init__(self, instants: Units, counts: Units) -> None:
        self._instants = instants
        self._counts = counts
        lasted = np.diff(instants) * counts[:-1]
        self._sums = np.concatenate((np.zeros(1, counts.dtype), np.cumsum(lasted)))

    def passed(self, instants: Units) -> Units:
        """The integral from the beginning to some instants."""
        index = np.searchsorted(self._instants, instants, side="right") - 1
        since = self._counts[index] * (instants - self._instants[index])
        return np.where(index >= 0, self._sums[index] + since, 0)


class _Line:
    """Who waits at an instant, in the order of asking; for the first ones a connection is free."""

    def __init__(self, capacity: int, turns: Sequence[_Turn]) -> None:
        self.held = 0
        self.crowd: Counter[int] = Counter()
        self._capacity = capacity
        self._turns = turns
        self._next: OrderedDict[int, None] = OrderedDict()
        self._others: OrderedDict[int, None] = OrderedDict()
        self._known: Counter[int] = Counter()
        self._touched: set[int] = set()

    @property
    def waiting(self) -> bool:
        """Whether somebody has to wait because no connection is free."""
        return bool(self._others)

    def happen(self, what: int, number: int) -> None:
        """One asked, left the queue, or was over."""
        if what == _ASKED:
            self._others[number] = None
            self._count(number, 1)
            return
        turn = self._turns[number]
        if what == _OVER:
            self.held -= 1
            return
        self.held += turn.over > turn.got
        if number in self._others:
            del self._others[number]
            self._count(number, -1)
        else:
            self._next.pop(number, None)

    def settle(self) -> Iterator[int]:
        """All of an instant has happened: the routes of which more or fewer have to wait now."""
        free = max(self._capacity - self.held, 0)
        while len(self._next) > free:
            number, _ = self._next.popitem()
            self._others[number] = None
            self._others.move_to_end(number, last=False)
            self._count(number, 1)
        while len(self._next) < free and self._others:
            number, _ = self._others.popitem(last=False)
            self._next[number] = None
            self._count(number, -1)
        for route in self._touched:
            if self.crowd[route] != self._known[route]:
                self._known[route] = self.crowd[route]
                yield route
        self._touched.clear()

    def _count(self, number: int, change: int) -> None:
        route = self._turns[number].route
        self.crowd[route] += change
        self._touched.add(route)


def _contended(capacity: int, turns: Turns) -> tuple[Numbers, Numbers]:
    """When more checkouts waited or were lent than there are connections: starts and ends.

    From one end of a checkout to the next, their number only grows. It exceeds the capacity with
    the start that follows after so many, counted from as many starts as there were ends.
    """
    asked, over = np.sort(turns.asked), np.sort(turns.over)
    reached = asked[capacity:]
    number = len(reached)
    before = np.concatenate((asked[:1], over))[:number]
    begin, end = np.maximum(before, reached), over[:number]
    is_contended = begin < end
    begin, end = begin[is_contended], end[is_contended]
    if not len(begin):
        return begin, end
    is_new = np.concatenate(([True], begin[1:] > end[:-1]))
    is_last = np.concatenate((is_new[1:], [True]))
    return begin[is_new], end[is_last]


def _events(turns: Sequence[_Turn]) -> Iterator[tuple[int, int, int]]:
    for number, (asked, got, over, _) in enumerate(turns):
        if got > asked:
            yield asked, _ASKED, number
        if got > asked or over > got:
            yield got, _GOT, number
        if over > got:
            yield over, _OVER, number
