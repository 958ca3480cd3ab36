"""What was sent to the database, statement by statement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import KINDS, NEVER
from poolhog.analysis.measured import percentile
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.spans import Cut

_SENT_NOTHING = np.isin(np.array(KINDS), (OperationKind.BEGIN, OperationKind.RESET))
"""Without a statement, these are no round trip."""


@dataclass(slots=True)
class StatementUse:
    """One statement, or a kind of operation that has none.

    ``count`` is how often it was sent, ``errors`` how often it failed, ``durations`` the
    microseconds of those that are over, sorted. ``routes`` are the names of the requests that sent
    it, the one that did most often first.
    """

    kind: OperationKind
    statement: str | None
    count: int = 0
    errors: int = 0
    durations: Numbers = field(default_factory=lambda: np.array([], np.int64))
    routes: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds in flight."""
        return float(self.durations.sum()) / 1e6

    def at(self, share: float) -> float:
        """The seconds that so large a share of them does not exceed."""
        return percentile(self.durations, share) / 1e6 if len(self.durations) else 0.0


class Statements:
    """Counts what was sent, as a companion of the report."""

    def __init__(self) -> None:
        self._uses: dict[tuple[OperationKind, str | None], StatementUse] = {}
        self._durations: dict[tuple[OperationKind, str | None], list[Numbers]] = {}

    def see(self, found: Measured, rows: Numbers, parts: Cut) -> None:
        """Count the operations of some checkouts."""
        operations, ledger = parts.operations, found.ledger
        statement = np.maximum(operations.statement, -1)
        is_sent = np.flatnonzero(~(_SENT_NOTHING[operations.kind] & (statement < 0)))
        kind, statement = operations.kind[is_sent], statement[is_sent]
        duration = (operations.ended - operations.started)[is_sent]
        is_over, has_failed = operations.ended[is_sent] < NEVER, operations.error[is_sent] >= 0
        route = ledger.route[operations.row[is_sent]]
        known, places = np.unique(statement * len(KINDS) + kind, return_inverse=True)
        for place, code in enumerate(known.tolist()):
            own = places == place
            text, number = divmod(code, len(KINDS))
            key = KINDS[number], ledger.facts.statements.get(text)
            use = self._uses.setdefault(key, StatementUse(*key))
            use.count += int(own.sum())
            use.errors += int((own & has_failed).sum())
            self._durations.setdefault(key, []).append(duration[own & is_over])
            times = Counter(use.routes)
            for at, number in enumerate(np.bincount(route[own]).tolist()):
                if number:
                    times[ledger.routes[at]] += number
            use.routes = dict(times)

    def close(self, found: Measured) -> None:
        """Nothing is known better at the end of a process."""

    def uses(self) -> tuple[StatementUse, ...]:
        """All that was sent, the one with the most seconds in flight first."""
        for key, use in self._uses.items():
            use.durations = np.sort(np.concatenate(self._durations[key]))
            use.routes = dict(sorted(use.routes.items(), key=lambda item: (-item[1], item[0])))
        return tuple(
            sorted(self._uses.values(), key=lambda use: (-use.total, -use.count, use.kind))
        )
