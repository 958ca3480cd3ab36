"""Every checkout of a run by its route, in the order of asking: its wait, its use, what that was.

Filled as a companion of the report, so it takes no reading of its own; 48 bytes of memory are kept
of a checkout. Of quiet ones the busy part is told by their sum: it is divided by their use.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from itertools import repeat
from operator import add, sub
from typing import TYPE_CHECKING

from poolhog.analysis.routes import route_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.analysis.accounting import Gap, Shares, Told
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Process, Site


def _numbers() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Rows:
    """Checkouts, one column for each fact. Instants are on the run's clock, all else is seconds.

    ``timed_out`` is 1 for a wait that the pool ended, else 0.
    """

    asked: array[float] = field(default_factory=_numbers)
    wait: array[float] = field(default_factory=_numbers)
    use: array[float] = field(default_factory=_numbers)
    busy: array[float] = field(default_factory=_numbers)
    parked: array[float] = field(default_factory=_numbers)
    timed_out: array[float] = field(default_factory=_numbers)

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def ended(self) -> float:
        """When the last of them was over."""
        rows = zip(self.asked, self.wait, self.use, strict=True)
        return max((sum(row) for row in rows), default=0.0)

    def extend(self, other: Rows) -> None:
        """Add others."""
        for own, more in zip(self._columns(), other._columns(), strict=True):
            own.extend(more)

    def in_order(self) -> Rows:
        """The same, in the order of asking."""
        order = sorted(range(len(self)), key=self.asked.__getitem__)
        return Rows(*(array("d", map(column.__getitem__, order)) for column in self._columns()))

    def _columns(self) -> tuple[array[float], ...]:
        return self.asked, self.wait, self.use, self.busy, self.parked, self.timed_out


class _Open(Rows):
    """Rows of a process that is not counted to its end; ``untold`` as in ``Told``."""

    __slots__ = ("untold",)

    def __init__(self) -> None:
        super().__init__()
        self.untold = _numbers()


class Series:
    """The checkouts of a run by route.

    ``began`` is the first time that one was asked for, ``ended`` when the last one was over.
    """

    def __init__(self) -> None:
        self.began = math.inf
        self.ended = 0.0
        self._routes: dict[str, Rows] = {}
        self._open: dict[tuple[str, Site | None], _Open] = {}

    def add(self, checkout: Checkout, told: Told, gaps: Sequence[Gap] | None) -> None:
        """Add a checkout."""
        rows = self._opened(route_of(checkout), checkout.site)
        rows.asked.append(checkout.asked)
        rows.wait.append(told.queueing + told.connecting + told.pinging)
        rows.use.append(told.busy + told.parked + told.running + told.ready + told.untold)
        rows.busy.append(told.busy)
        rows.parked.append(told.parked)
        rows.untold.append(told.untold)
        rows.timed_out.append(checkout.outcome is Outcome.TIMEOUT)

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Add quiet checkouts."""
        rows = self._opened(quiet.route, quiet.site)
        began = quiet.pool.process.began
        used = told.busy + told.untold
        share = told.busy / used if used else 0.0
        waits = map(sub, quiet.granted, quiet.asked)
        uses = array("d", map(_seconds, map(sub, quiet.returned, quiet.granted)))
        rows.asked.extend(map(add, repeat(began), map(_seconds, quiet.asked)))
        rows.wait.extend(map(_seconds, waits))
        rows.use.extend(uses)
        rows.busy.extend(use * share for use in uses)
        rows.parked.extend(repeat(0.0, len(quiet)))
        rows.untold.extend(use * (1.0 - share) for use in uses)
        rows.timed_out.extend(repeat(0.0, len(quiet)))

    def close(self, process: Process, shares: Shares) -> None:
        """All checkouts of the process were added."""
        for (route, site), rows in self._open.items():
            parked = shares.at(site).parked
            if parked:
                seconds = zip(rows.parked, rows.untold, strict=True)
                rows.parked = array("d", (told + parked * untold for told, untold in seconds))
            self.began = min(self.began, min(rows.asked))
            self.ended = max(self.ended, rows.ended)
            self._routes.setdefault(route, Rows()).extend(rows)
        self._open = {}

    def routes(self) -> Iterable[str]:
        """Those that asked for a connection."""
        return self._routes

    def of(self, routes: Iterable[str]) -> Rows:
        """The checkouts of these routes, in the order of asking."""
        found = Rows()
        for route in routes:
            found.extend(self._routes.get(route, Rows()))
        return found.in_order()

    def _opened(self, route: str, site: Site | None) -> _Open:
        found = self._open.get((route, site))
        if found is None:
            found = self._open[route, site] = _Open()
        return found


def _seconds(microseconds: int) -> float:
    return microseconds / 1e6
