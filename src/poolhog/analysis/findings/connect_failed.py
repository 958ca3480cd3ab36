"""connect-failed: a connection was asked for, and could not be opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.failures import error_of
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind, Severity
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.findings.many_pools import SEES_CONNECTS, crowds_of
from poolhog.analysis.ledger import KINDS, OUTCOMES
from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.rows import RowOperations
    from poolhog.model import Checkout


class Refusal(NamedTuple):
    """The class of the error that a connect ended with, and why if it is known; else "".

    ``None`` is a wait that timed out while its pool had no connection, and could not open any.
    """

    error: str | None


@dataclass(frozen=True, slots=True)
class FailedConnects:
    """How many connects failed, of how many at the line (``None`` if unknown), with which errors.

    ``waits`` is how many waits timed out because of that. ``crowd`` is the number of pools of one
    database in one process, if these had connects that failed; otherwise 0.
    """

    failed: int
    connects: int | None
    errors: Mapping[str, float]
    waits: int
    crowd: int


class ConnectFailed(FindingKind[FailedConnects]):
    """The line is where the connection was asked for. One occurrence is enough."""

    name = "connect-failed"
    severity = Severity.FAILURE

    def occurrences(
        self, ledger: Ledger, failed: RowOperations
    ) -> Iterator[tuple[Checkout, Occurrence]]:
        """The checkouts of a process with a connect that failed."""
        at = np.flatnonzero(failed.kind == KINDS.index(OperationKind.CONNECT))
        errors: dict[int, list[Refusal]] = {}
        for row, error in zip(failed.row[at].tolist(), failed.error[at].tolist(), strict=True):
            errors.setdefault(row, []).append(Refusal(error_of(ledger, error)))
        # Older recorders did not write what a pool raised that had not begun to connect.
        for row in np.flatnonzero(ledger.outcome == OUTCOMES.index(Outcome.ERROR)).tolist():
            errors.setdefault(row, [Refusal("")])
        rows = np.array(sorted(errors), np.int64)
        for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True):
            left = ledger.seconds(int(ledger.left[row]))
            yield checkout, _occurrence(checkout, left, tuple(errors[row]))

    def in_vain(self, checkout: Checkout, gave_up: float) -> Occurrence:
        """A wait that timed out, as the pool could not connect."""
        return _occurrence(checkout, gave_up, (Refusal(None),))

    def evidence(self, entry: Entry, totals: Totals) -> FailedConnects:
        """How many, of how many, and why."""
        errors = {note.error: weight for note, weight in entry.noted(Refusal).items()}
        waits = errors.pop(None, 0.0)
        sees_all = entry.pool.library == SEES_CONNECTS
        return FailedConnects(
            failed=round(sum(errors.values())),
            connects=totals.connects[line_of(entry.line.site)] if sees_all else None,
            errors={error: weight for error, weight in errors.items() if error is not None},
            waits=round(waits),
            crowd=max((crowd.pools for crowd in crowds_of(totals) if crowd.failed), default=0),
        )


CONNECT_FAILED = ConnectFailed()


def _occurrence(checkout: Checkout, left: float, notes: Sequence[Refusal]) -> Occurrence:
    return Occurrence(
        line=NamedLine(checkout.site or checkout.pool.made_at),
        spans=[(checkout.asked, left)],
        notes=notes,
        weight=1.0,
    )
