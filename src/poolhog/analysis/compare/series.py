"""The checkouts of a run as series, and when its requests were answered."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import NEVER, OUTCOMES
from poolhog.analysis.throughput import Answers, counted
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.measured import Measured

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """What some routes did in a run: their requests, and their checkouts in the order of asking.

    ``lasted`` is how many seconds there were from the first asking to the last return of the run.
    ``answered`` is when those of their requests were that asked for a connection, in order, and
    ``counted`` between which instants answers of the run are counted.
    """

    requests: int
    rows: Rows
    lasted: float
    answered: Floats
    counted: tuple[float, float]

    @property
    def units(self) -> int:
        """What measures are divided by: requests, or checkouts if there are no requests."""
        return self.requests or len(self.rows)

    @property
    def per_unit(self) -> float:
        """Checkouts of a request."""
        return len(self.rows) / self.units if self.units else 0.0


_TIMEOUT = OUTCOMES.index(Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Rows:
    """Checkouts, one column for each fact. Instants are on the run's clock, all else is seconds.

    ``timed_out`` is 1 for a wait that the pool ended, else 0.
    """

    asked: Floats
    wait: Floats
    use: Floats
    busy: Floats
    blocked: Floats
    parked: Floats
    timed_out: Floats

    def __len__(self) -> int:
        return len(self.asked)

    @classmethod
    def together(cls, parts: Iterable[Rows]) -> Rows:
        """Those of several parts, in the order of asking."""
        nothing = np.array([], float)
        every = [part.columns for part in parts] or [(nothing,) * 7]
        columns = [np.concatenate(column) for column in zip(*every, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return cls(*(column[order] for column in columns))

    @property
    def columns(self) -> tuple[Floats, ...]:
        """All of the columns, in their order."""
        lent = self.busy, self.blocked, self.parked
        return self.asked, self.wait, self.use, *lent, self.timed_out


class Series:
    """The checkouts of a run by route, and its ``requests``, as a companion of the report.

    ``began`` is the first time that one was asked for, ``ended`` when the last one was over.
    """

    def __init__(self) -> None:
        self.began = np.inf
        self.ended = 0.0
        self._until = 0.0
        # By route: when requests came, and were answered, on the run's clock; and of owners.
        self._requests: dict[str, list[tuple[Floats, Floats]]] = {}
        self._owners: dict[str, list[tuple[Floats, Floats]]] = {}
        self.requests: Counter[str] = Counter()
        self._routes: dict[str, list[Rows]] = {}

    def close(self, found: Measured) -> None:
        """Add the checkouts of a process, and its requests."""
        ledger, split, shares = found
        self.requests.update(ledger.request_counts())
        if not len(ledger):
            return
        self._until = max(self._until, ledger.process.written)
        self._time(ledger)
        parked = split.parked + shares[ledger.site, 0] * split.unsampled
        use = np.where(ledger.is_granted, ledger.over - ledger.left, 0)
        columns = [ledger.left - ledger.asked, use, split.busy, split.blocked, parked]
        columns = [ledger.process.began + ledger.asked / 1e6, *(c / 1e6 for c in columns)]
        columns.append((ledger.outcome == _TIMEOUT).astype(float))
        self.began = min(self.began, float(columns[0].min()))
        self.ended = max(self.ended, ledger.seconds(int(ledger.over.max())))
        for code in np.unique(ledger.route).tolist():
            own = ledger.route == code
            part = Rows(*(column[own] for column in columns))
            self._routes.setdefault(ledger.routes[code], []).append(part)

    def _time(self, ledger: Ledger) -> None:
        """Note when requests with a checkout came and were answered, and when owners did work."""
        asker, first = np.unique(ledger.asker, return_index=True)
        over = np.full(len(ledger.requests.number) + len(ledger.owners), 0)
        np.maximum.at(over, ledger.asker, ledger.over)
        came, answered = ledger.asked[first], over[asker]
        is_request = asker < len(ledger.requests.number)
        own = asker[is_request]
        came[is_request] = np.minimum(ledger.requests.started[own], came[is_request])
        answered[is_request] = ledger.requests.answered[own]
        instants = ledger.process.began + came / 1e6, ledger.process.began + answered / 1e6
        instants[1][answered >= NEVER] = np.inf
        route = ledger.route[first]
        for into, chosen in ((self._requests, is_request), (self._owners, ~is_request)):
            for code in np.unique(route[chosen]).tolist():
                some = chosen & (route == code)
                part = tuple(column[some] for column in instants)
                into.setdefault(ledger.routes[code], []).append((part[0], part[1]))

    def answered(self, routes: Iterable[str]) -> Floats:
        """When requests of these routes were answered, in order; if there are none, owners."""
        times = self._requests or self._owners
        found = [answered for name in routes for _, answered in times.get(name, ())]
        every: Floats = np.sort(np.concatenate(found)) if found else np.array([], float)
        told: Floats = every[np.isfinite(every)]
        return told

    @functools.cached_property
    def counted(self) -> tuple[float, float]:
        """Between which instants answers are counted."""
        times = [part for parts in (self._requests or self._owners).values() for part in parts]
        if not times:
            return 0.0, 0.0
        came, answered = map(np.concatenate, zip(*times, strict=True))
        is_told = np.isfinite(answered)
        answers = Answers(np.sort(came), answered[is_told], (answered - came)[is_told])
        users = answers.users() if self._requests else None
        until = self._until if not is_told.all() else np.inf
        window = answers.window(users, float(came.min()), until)
        return counted(np.sort(answers.answered), window)

    def routes(self) -> Iterable[str]:
        """Those that asked for a connection."""
        return self._routes

    def of(self, routes: Iterable[str]) -> Rows:
        """The checkouts of these routes, in the order of asking."""
        return Rows.together(part for name in routes for part in self._routes.get(name, ()))
