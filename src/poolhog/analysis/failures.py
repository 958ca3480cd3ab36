"""What failed: operations that an exception ended, by its class and the line that asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.ledger import KINDS, OUTCOMES
from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from poolhog.analysis.blame.blaming import LineKey
    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.rows import RowOperations
    from poolhog.model import Site

CANCELLATIONS = frozenset(["CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"])
"""What ends an operation because nobody wants its answer any more: no failure. Nor is a private
exception of a driver, such as the one that ends psycopg's wait for notifications."""

_OF_CONNECTIONS = (OperationKind.CONNECT, OperationKind.PING)


@dataclass(frozen=True, slots=True)
class Failure:
    """Operations that failed in the same way: ``error`` is the class of the exception.

    ``site`` is the line that asked for them, ``None`` if it was not seen.
    """

    error: str
    site: Site | None
    count: int


def failed_operations(ledger: Ledger) -> RowOperations:
    """The operations of a process that an exception ended, but for those that were cancelled.

    A connect that was cancelled because the wait timed out is one that failed: see ``error_of``.
    """
    texts = ledger.facts.texts
    rows = np.unique(ledger.rows_of(ledger.facts.columns().failed))
    found = ledger.operations(rows[rows >= 0])
    cancelled = [number for number, text in texts.items() if _is_no_failure(text)]
    is_late = ledger.outcome[found.row] == OUTCOMES.index(Outcome.TIMEOUT)
    is_late &= found.kind == KINDS.index(OperationKind.CONNECT)
    is_failed = (found.error >= 0) & (is_late | ~np.isin(found.error, cancelled))
    return type(found)(*(column[is_failed] for column in found))


def error_of(ledger: Ledger, number: int) -> str:
    """The name of the exception that ended a failed connect, by the number of its text."""
    text = ledger.facts.texts[number]
    return "TimeoutError: timed out" if text in CANCELLATIONS else text


def _is_no_failure(error: str) -> bool:
    return error in CANCELLATIONS or error.startswith("_")


class FailureTally:
    """Adds up the failures of a run, but for those of connects, which are findings.

    A ping that fails is no failure: the pool opens another connection.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, LineKey | None]] = Counter()
        self._sites: dict[LineKey | None, Site | None] = {}

    def add(self, ledger: Ledger, failed: RowOperations) -> None:
        """Add those of a process."""
        of_connections = [KINDS.index(kind) for kind in _OF_CONNECTIONS]
        for at in np.flatnonzero(~np.isin(failed.kind, of_connections)).tolist():
            code = failed.site[at] if failed.site[at] > 0 else ledger.site[failed.row[at]]
            site = ledger.sites[int(code)]
            self._sites.setdefault(line_of(site), site)
            self._counts[ledger.facts.texts[int(failed.error[at])], line_of(site)] += 1

    def failures(self) -> tuple[Failure, ...]:
        """All of them, the most frequent first."""
        found = (Failure(e, self._sites[line], n) for (e, line), n in self._counts.items())
        return tuple(sorted(found, key=_most_first))


def _most_first(failure: Failure) -> tuple[int, str, LineKey]:
    return -failure.count, failure.error, line_of(failure.site) or ("", 0, "")
