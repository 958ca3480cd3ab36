"""lost-write: a write was rolled back although nobody asked for that: a commit was forgotten."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind, Severity
from poolhog.analysis.findings.lines import NamedLine
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.model import Checkout, Operation, Request

_WRITES = re.compile(r"(?:INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)
_WITH = re.compile(r"WITH\b", re.IGNORECASE)
_WRITES_WITHIN = re.compile(
    r"\b(?:INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO)\b"
    r'|(?<!\bFOR )(?<!\bKEY )\bUPDATE\s+(?:ONLY\s+)?(?:"[^"]+"|[\w$.])+\s(?:.*\s)?SET\b',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class LostWrites:
    """The statements that were rolled back, and how often each was."""

    statements: Mapping[str, float]


class LostWrite(FindingKind[LostWrites]):
    """The line is that of the write. One occurrence is enough."""

    name = "lost-write"
    severity = Severity.LOST_WRITE

    def occurrences(self, checkout: Checkout) -> Iterator[Occurrence]:
        """The writes of a checkout that were lost."""
        for write in lost_writes(checkout):
            ended = write.ended if write.ended is not None else write.started
            yield Occurrence(
                line=NamedLine(write.site or checkout.site),
                spans=[(write.started, ended)],
                notes=(write.statement or "",),
                weight=1.0,
            )

    def evidence(self, entry: Entry, totals: Totals) -> LostWrites:
        """The statements."""
        return LostWrites(entry.noted(str))


LOST_WRITE = LostWrite()


@functools.lru_cache(maxsize=10_000)
def writes(statement: str) -> bool:
    """Whether a statement changes rows, also where that is a part of a ``WITH``.

    What a function does that a ``SELECT`` calls is not known.
    """
    text = " ".join(statement.split()).lstrip("( ")
    if _WITH.match(text):
        return _WRITES_WITHIN.search(text) is not None
    return _WRITES.match(text) is not None


def may_have_lost_writes(ledger: Ledger) -> Numbers:
    """The rows in which a write was sent, and something was rolled back, without an explanation."""
    texts = ledger.facts.statements
    written = [number for number, text in texts.items() if writes(text)]
    explained = np.zeros(len(ledger), bool)
    own = np.flatnonzero(ledger.request >= 0)
    explained[own] = ledger.requests.failed[ledger.request[own]]
    has_written, is_undone = np.zeros(len(ledger), bool), np.zeros(len(ledger), bool)
    if written:
        has_written[ledger.rows_that_sent((_STATEMENT,), np.array(written))] = True
        is_undone[ledger.rows_that_sent((_ROLLBACK,), None)] = True
        is_undone[ledger.rows_that_sent((_RESET,), np.array(list(texts)))] = True
    return np.flatnonzero(has_written & is_undone & ~explained)


_STATEMENT, _ROLLBACK, _RESET = (
    *(OperationKind.STATEMENT, OperationKind.ROLLBACK, OperationKind.RESET),
)


def lost_writes(checkout: Checkout) -> Iterator[Operation]:
    """The last write of each transaction that was rolled back for no reason.

    A reason is that the application called for it, an exception, or an operation that failed. A
    request that failed or answered with an error has one as well.
    """
    if _is_explained(checkout.request):
        return
    began = failed = False
    write: Operation | None = None
    for operation in checkout.operations:
        if operation.error is not None:
            failed = True
        elif operation.kind is OperationKind.BEGIN:
            began = True
        elif operation.kind is OperationKind.STATEMENT:
            if began and operation.ended is not None and writes(operation.statement or ""):
                write = operation
        elif _ends_transaction(operation):
            if write is not None and not failed and _is_unasked(operation):
                yield write
            began, write = False, None


def _ends_transaction(operation: Operation) -> bool:
    """Of a reset only if it sent something: otherwise the transaction was over."""
    return operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK) or (
        operation.kind is OperationKind.RESET and operation.statement is not None
    )


def _is_unasked(operation: Operation) -> bool:
    return (
        operation.kind is not OperationKind.COMMIT
        and operation.statement != "COMMIT"
        and operation.cause is None
    )


def _is_explained(request: Request | None) -> bool:
    return request is not None and (
        request.error is not None or (request.status is not None and request.status >= 400)
    )
