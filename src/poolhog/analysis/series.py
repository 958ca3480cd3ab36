"""Every checkout of a run by its route, in the order of asking: its wait, its use, its parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import OUTCOMES
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from poolhog.analysis.measured import Measured

    Floats = NDArray[np.float64]

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
    parked: Floats
    timed_out: Floats

    def __len__(self) -> int:
        return len(self.asked)

    @classmethod
    def together(cls, parts: Iterable[Rows]) -> Rows:
        """Those of several parts, in the order of asking."""
        nothing = np.array([], float)
        every = [part.columns for part in parts] or [(nothing,) * 6]
        columns = [np.concatenate(column) for column in zip(*every, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return cls(*(column[order] for column in columns))

    @property
    def columns(self) -> tuple[Floats, ...]:
        """All of the columns, in their order."""
        return self.asked, self.wait, self.use, self.busy, self.parked, self.timed_out


class Series:
    """The checkouts of a run by route, and its ``requests``, as a companion of the report.

    ``began`` is the first time that one was asked for, ``ended`` when the last one was over.
    """

    def __init__(self) -> None:
        self.began = np.inf
        self.ended = 0.0
        self.requests: Counter[str] = Counter()
        self._routes: dict[str, list[Rows]] = {}

    def close(self, found: Measured) -> None:
        """Add the checkouts of a process, and its requests."""
        ledger, split, shares = found
        self.requests.update(ledger.request_counts())
        if not len(ledger):
            return
        parked = split.parked + shares[ledger.site, 0] * split.unsampled
        use = np.where(ledger.is_granted, ledger.over - ledger.left, 0)
        columns = [ledger.left - ledger.asked, use, split.busy, parked]
        columns = [ledger.process.began + ledger.asked / 1e6, *(c / 1e6 for c in columns)]
        columns.append((ledger.outcome == _TIMEOUT).astype(float))
        self.began = min(self.began, float(columns[0].min()))
        self.ended = max(self.ended, ledger.seconds(int(ledger.over.max())))
        for code in np.unique(ledger.route).tolist():
            own = ledger.route == code
            part = Rows(*(column[own] for column in columns))
            self._routes.setdefault(ledger.routes[code], []).append(part)

    def routes(self) -> Iterable[str]:
        """Those that asked for a connection."""
        return self._routes

    def of(self, routes: Iterable[str]) -> Rows:
        """The checkouts of these routes, in the order of asking."""
        return Rows.together(part for name in routes for part in self._routes.get(name, ()))
