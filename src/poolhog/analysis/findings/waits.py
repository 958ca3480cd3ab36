"""Who waited while a connection was wasted: waits as sums that answer for any interval."""

from __future__ import annotations

import functools
from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.analysis.findings.tally import Wasted


class _Waits:
    """The waits of one route for one pool."""

    def __init__(self) -> None:
        self.started = array("d")
        self.ended = array("d")

    def within(self, spans: Sequence[tuple[float, float]]) -> float:
        """Seconds that were waited in the intervals, added up over the waits."""
        begun, over = self._passed
        return sum(
            begun.since(ended) - over.since(ended) - begun.since(started) + over.since(started)
            for started, ended in spans
        )

    @functools.cached_property
    def _passed(self) -> tuple[_Passed, _Passed]:
        return _Passed(self.started), _Passed(self.ended)


class _Passed:
    """How long ago a number of instants were, added up, at any other."""

    def __init__(self, instants: Iterable[float]) -> None:
        self._instants = sorted(instants)
        self._sums = list(accumulate(self._instants, initial=0.0))

    def since(self, instant: float) -> float:
        """Seconds passed since each of those that were before."""
        number = bisect_right(self._instants, instant)
        return number * instant - self._sums[number]


class Waits:
    """All waits of a run, by pool and route."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[str, _Waits]] = {}

    def add(self, pool: str, route: str, started: float, ended: float) -> None:
        """A request queued for a connection of the pool."""
        routes = self._pools.setdefault(pool, {})
        waits = routes.get(route)
        if waits is None:
            waits = routes[route] = _Waits()
        waits.started.append(started)
        waits.ended.append(ended)

    def during(self, wasted: Mapping[str, Wasted]) -> dict[str, float]:
        """Seconds by route, waited while at least one connection of the pool was wasted so."""
        found: dict[str, float] = {}
        for pool, intervals in wasted.items():
            routes = self._pools.get(pool)
            if not routes:
                continue
            merged = list(intervals.merged())
            for route, waits in routes.items():
                seconds = waits.within(merged)
                if seconds > _LEAST_S:
                    found[route] = found.get(route, 0.0) + seconds
        return found


_LEAST_S = 1e-3
"""Less is nothing to tell, and may be an error of large sums."""
