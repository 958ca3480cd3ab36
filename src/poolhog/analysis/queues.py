"""Who waited for a pool's connections while none was free, and what that comes to for a holder.

At an instant at which ``h`` checkouts have a connection of a pool of ``c``, the first ``c - h`` in
the queue only wait to be handed one: nobody keeps it from them. Each of the others is charged to
the ``h`` holders in equal parts. A connection that is being opened or pinged for a checkout has
left the pool: that checkout is a holder as well.

All of it is in whole numbers. Instants are microseconds since the process began, and charges are
counted in parts of a microsecond that every ``h`` divides, so they add up exactly.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_FINENESS = 2**20
"""Into so many parts a charge can be divided further, by whoever knows what the holder did."""

_ASKED, _GOT, _OVER = range(3)


class Turns:
    """Checkouts of one route: when each asked, when it left the queue, and when it was over.

    What left the queue without a connection was over then. ``contended`` are the indexes of those
    during which more wanted a connection than there were, once a queue was made of them.
    """

    __slots__ = ("asked", "contended", "got", "over", "route")

    def __init__(self, route: str) -> None:
        self.route = route
        self.asked = array("q")
        self.got = array("q")
        self.over = array("q")
        self.contended: Sequence[int] = ()

    @property
    def queued(self) -> int:
        """Microseconds that they queued."""
        return sum(self.got) - sum(self.asked)


class _Turn(NamedTuple):
    asked: int
    got: int
    over: int
    route: str


class Queue:
    """The queue of one pool, which lends ``capacity`` connections at once; ``None``: no limit."""

    def __init__(self, capacity: int | None, turns: Sequence[Turns]) -> None:
        self.scale = 1
        self._begins: list[int] = []
        self._ends: list[int] = []
        # From times[i] on, the clock of a holder goes at rates[i].
        self._times: list[int] = []
        self._rates: list[int] = []
        self._clock: list[int] = []
        self._crowds: dict[str, _Crowd] = {}
        # Of each spell, who had to wait in it.
        self._crowded: list[dict[str, _Crowd]] = []
        if capacity is not None:
            for begin, end in _contended(capacity, turns):
                self._begins.append(begin)
                self._ends.append(end)
        if capacity is not None and self._begins:
            self._sweep(capacity, sorted(self._contenders(turns)))

    def concerned(self, starts: Iterable[int], ends: Iterable[int]) -> Iterator[int]:
        """The indexes of those stretches in which more wanted a connection than there are.

        They are in the order of their starts, or nearly, so most cost two comparisons.
        """
        if not self._begins:
            return
        before, begin = -math.inf, -math.inf
        for index, (started, ended) in enumerate(zip(starts, ends, strict=True)):
            if ended <= begin and before <= started:
                continue
            at = bisect_right(self._ends, started)
            before = self._ends[at - 1] if at else -math.inf
            begin = self._begins[at] if at < len(self._begins) else math.inf
            if begin < ended:
                yield index

    def charge(self, started: int, ended: int) -> Iterator[tuple[str, int]]:
        """What is charged to one who held a connection between two instants, by who waited.

        In parts of a microsecond, ``scale`` of which are one.
        """
        at = bisect_right(self._ends, started)
        if at == len(self._begins) or ended <= self._begins[at]:
            return
        first, last = self._at(started), self._at(ended)
        if first == last:
            return
        is_one = at + 1 == len(self._begins) or ended <= self._begins[at + 1]
        crowds = self._crowded[at] if is_one else self._crowds
        for route, crowd in crowds.items():
            units = crowd.passed(last) - crowd.passed(first)
            if units:
                yield route, units

    def spells(self, started: int, ended: int) -> Iterator[tuple[int, int]]:
        """The parts of a stretch in which somebody may have had to wait."""
        at = bisect_right(self._ends, started)
        while at < len(self._begins) and self._begins[at] < ended:
            yield max(started, self._begins[at]), min(ended, self._ends[at])
            at += 1

    def _contenders(self, turns: Iterable[Turns]) -> Iterator[_Turn]:
        for some in turns:
            asked, got, over = some.asked, some.got, some.over
            some.contended = list(self.concerned(asked, over))
            for index in some.contended:
                yield _Turn(asked[index], got[index], over[index], some.route)

    def _sweep(self, capacity: int, turns: Sequence[_Turn]) -> None:
        line = _Line(capacity, turns)
        steps: list[tuple[int, int]] = []
        changes: dict[str, list[tuple[int, int]]] = {}
        for at, here in groupby(sorted(_events(turns)), key=itemgetter(0)):
            for _, what, number in here:
                line.happen(what, number)
            for route in line.settle():
                changes.setdefault(route, []).append((at, line.crowd[route]))
            holders = line.held if line.waiting else 0
            if not steps or steps[-1][1] != holders:
                steps.append((at, holders))
        self._crowded = [{} for _ in self._begins]
        self.scale = math.lcm(*{holders for _, holders in steps if holders}) * _FINENESS
        self._times = [at for at, _ in steps]
        self._rates = [self.scale // holders if holders else 0 for _, holders in steps]
        self._clock = [0]
        for (at, following), rate in zip(pairwise(self._times), self._rates, strict=False):
            self._clock.append(self._clock[-1] + (following - at) * rate)
        for route, changed in changes.items():
            crowd = _Crowd([(self._at(at), count) for at, count in changed])
            self._crowds[route] = crowd
            for at, _ in changed:
                self._crowded[bisect_right(self._begins, at) - 1][route] = crowd

    def _at(self, instant: int) -> int:
        """What one request that waited all the time would have been charged a holder by then."""
        index = bisect_right(self._times, instant) - 1
        if index < 0:
            return 0
        return self._clock[index] + (instant - self._times[index]) * self._rates[index]


class _Crowd:
    """How many of a route had to wait, on the clock of a holder, and the integral of that."""

    def __init__(self, changes: Sequence[tuple[int, int]]) -> None:
        self._instants = [at for at, _ in changes]
        self._counts = [count for _, count in changes]
        self._sums = [0]
        for (at, count), (following, _) in pairwise(changes):
            self._sums.append(self._sums[-1] + count * (following - at))

    def passed(self, instant: int) -> int:
        index = bisect_right(self._instants, instant) - 1
        if index < 0:
            return 0
        return self._sums[index] + self._counts[index] * (instant - self._instants[index])


class _Line:
    """Who waits at an instant, in the order of asking; for the first ones a connection is free."""

    def __init__(self, capacity: int, turns: Sequence[_Turn]) -> None:
        self.held = 0
        self.crowd: Counter[str] = Counter()
        self._capacity = capacity
        self._turns = turns
        self._next: OrderedDict[int, None] = OrderedDict()
        self._others: OrderedDict[int, None] = OrderedDict()
        self._known: Counter[str] = Counter()
        self._touched: set[str] = set()

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

    def settle(self) -> Iterator[str]:
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


def _contended(capacity: int, turns: Sequence[Turns]) -> Iterator[tuple[int, int]]:
    """When more checkouts waited or were lent than there are connections."""
    asked = sorted(chain.from_iterable(some.asked for some in turns))
    over = sorted(chain.from_iterable(some.over for some in turns))
    # From one end to the next the count only grows: see ``cells.time_of``.
    reached = islice(asked, capacity, None)
    current: tuple[int, int] | None = None
    for end, last, start in zip(over, chain(asked[:1], over), reached, strict=False):
        if last < end and start < end:
            begin = max(last, start)
            if current is None or begin > current[1]:
                if current is not None:
                    yield current
                current = begin, end
            else:
                current = current[0], end
    if current is not None:
        yield current


def _events(turns: Sequence[_Turn]) -> Iterator[tuple[int, int, int]]:
    for number, (asked, got, over, _) in enumerate(turns):
        if got > asked:
            yield asked, _ASKED, number
        if got > asked or over > got:
            yield got, _GOT, number
        if over > got:
            yield over, _OVER, number
