"""many-pools: one line makes pool after pool of one database: an engine per request, or test."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.failures import error_of
from poolhog.analysis.findings.entry import Crowd, Occurrence
from poolhog.analysis.findings.finding import FindingKind, Severity
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.ledger import KINDS
from poolhog.analysis.thresholds import Threshold
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.blame.blaming import LineKey
    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.rows import RowOperations
    from poolhog.model import Checkout

MANY_POOLS_LEAST = Threshold("many_pools", 5)
"""Pools of one database that one line made in one process."""

SEES_CONNECTS = "sqlalchemy"
"""The library whose pools open every connection for somebody who asked; others open some alone."""


@dataclass(frozen=True, slots=True)
class PoolsMade:
    """How many pools there were in one process at most, and in how many processes there were many.

    ``checkouts`` and ``connects`` are those of all these pools (``None``: not all connects are
    seen), ``failed`` the connects that failed, with their ``errors``.
    """

    pools: int
    processes: int
    checkouts: int
    connects: int | None
    failed: int
    errors: Mapping[str, float]


class ManyPools(FindingKind[PoolsMade]):
    """The line is where the pools are made. Nothing is wasted that could be added up."""

    name = "many-pools"
    thresholds = (MANY_POOLS_LEAST,)

    def occurrences(
        self, ledger: Ledger, failed: RowOperations, totals: Totals
    ) -> Iterator[tuple[Checkout, Occurrence]]:
        """Each pool of a crowd, at its first checkout; the crowds are added to the totals."""
        used, first = np.unique(ledger.pool, return_index=True)
        first_row = dict(zip(used.tolist(), first.tolist(), strict=True))
        groups: dict[tuple[LineKey, int], list[int]] = {}
        for number in first_row:
            pool = ledger.pools[number]
            line = line_of(pool.made_at)
            if line is not None and pool.database:
                groups.setdefault((line, pool.database), []).append(number)
        for (line, _), numbers in groups.items():
            if len(numbers) == 1:
                continue
            totals.crowds.append(_crowd(ledger, failed, line, numbers))
            rows = np.array([first_row[number] for number in numbers], np.int64)
            rows.sort()
            for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True):
                left = ledger.seconds(int(ledger.over[row]))
                made = NamedLine(checkout.pool.made_at)
                yield checkout, Occurrence(made, [(checkout.asked, left)], weight=1.0)

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether there were many in one process."""
        return bool(self._crowds(entry, totals, easing))

    def evidence(self, entry: Entry, totals: Totals) -> PoolsMade:
        """How many, what they were used for, and what failed."""
        crowds = self._crowds(entry, totals) or self._crowds(entry, totals, 0.0)
        connects = [crowd.connects for crowd in crowds if crowd.connects is not None]
        return PoolsMade(
            pools=max(crowd.pools for crowd in crowds),
            processes=len(crowds),
            checkouts=sum(crowd.checkouts for crowd in crowds),
            connects=sum(connects) if len(connects) == len(crowds) else None,
            failed=sum(crowd.failed for crowd in crowds),
            errors=sum((Counter(crowd.errors) for crowd in crowds), Counter()),
        )

    def severity_of(self, evidence: PoolsMade) -> Severity:
        """A failure, if it is why connects failed."""
        return Severity.FAILURE if evidence.failed else self.severity

    def _crowds(self, entry: Entry, totals: Totals, easing: float = 1.0) -> Sequence[Crowd]:
        line = line_of(entry.line.site)
        return [crowd for crowd in crowds_of(totals, easing) if crowd.line == line]


MANY_POOLS = ManyPools()


def crowds_of(totals: Totals, easing: float = 1.0) -> Sequence[Crowd]:
    """The crowds that reach the threshold."""
    least = easing * totals.thresholds[MANY_POOLS_LEAST]
    return [crowd for crowd in totals.crowds if crowd.pools >= least]


def _crowd(ledger: Ledger, failed: RowOperations, line: LineKey, numbers: Sequence[int]) -> Crowd:
    """What the pools of a crowd did."""
    of_crowd = np.isin(ledger.pool, numbers)
    connects = ledger.rows_that_sent((OperationKind.CONNECT,), None)
    sees_all = all(ledger.pools[number].library == SEES_CONNECTS for number in numbers)
    is_connect = failed.kind == KINDS.index(OperationKind.CONNECT)
    errors = failed.error[is_connect & of_crowd[failed.row]].tolist()
    return Crowd(
        line=line,
        pools=len(numbers),
        checkouts=int(of_crowd.sum()),
        connects=int(of_crowd[connects].sum()) if sees_all else None,
        failed=len(errors),
        errors=Counter(error_of(ledger, error) for error in errors),
    )
