"""What is known of operations without making objects of them is what the objects show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn import traces
from hypothesis import given
from recorders import pool_record

from poolhog import open_trace
from poolhog.analysis.findings.lost_write import lost_writes, may_have_lost_writes, writes
from poolhog.analysis.ledger import Ledger
from poolhog.analysis.memory import ledgers_of
from poolhog.model import Cause, OperationKind
from poolhog.recording.recorder import Recorder
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.model import Trace

SELECT, UPDATE = "SELECT data FROM notes", "UPDATE notes SET data = $1"
ENDS = {
    "commit": (OperationKind.COMMIT, None, None),
    "rollback": (OperationKind.ROLLBACK, None, None),
    "asked": (OperationKind.ROLLBACK, None, Cause.ASKED),
    "reset": (OperationKind.RESET, "ROLLBACK", None),
    "nothing": (OperationKind.RESET, None, None),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each statement and each end, a checkout; the last has so many that they take two rows."""
    recorder = Recorder(tmp_path_factory.mktemp("packed") / "trace")
    pool = recorder.pool(pool_record())
    for statement in (SELECT, UPDATE):
        for end in ENDS:
            record(recorder, pool, [statement], end)
    record(recorder, pool, [UPDATE] + [SELECT] * 500, "rollback")
    recorder.stop()
    return recorder.directory


def record(recorder: Recorder, pool: object, statements: list[str], end: str) -> None:
    checkout = recorder.ask(pool)  # type: ignore[arg-type]
    recorder.grant(checkout, 1)
    for kind, text, cause in (
        (OperationKind.BEGIN, None, None),
        *((OperationKind.STATEMENT, statement, None) for statement in statements),
        ENDS[end],
    ):
        operation = recorder.operate(checkout, kind, text)
        assert operation is not None
        operation.cause = cause
        operation.end()
    recorder.end(checkout)


def test_what_was_sent_is_known_by_row(directory: Path) -> None:
    (reader,) = stream_trace(directory)
    checkouts = open_trace(directory).checkouts
    with reader.snapshot() as snapshot:
        ledger = Ledger(snapshot)
        written = [number for number, text in snapshot.statements.items() if writes(text)]
        for kind in OperationKind:
            for numbers in (None, np.array(written)):
                rows = ledger.rows_that_sent([kind], numbers).tolist()
                assert Counter(rows) == Counter(
                    row
                    for row, checkout in enumerate(checkouts)
                    for operation in checkout.operations
                    if operation.kind is kind
                    and (numbers is None or writes(operation.statement or ""))
                )
        many = ledger.rows_with_more_operations(10).tolist()
    assert many == [row for row, c in enumerate(checkouts) if len(c.operations) > 10]
    assert many


def test_no_lost_write_is_overlooked(directory: Path) -> None:
    (reader,) = stream_trace(directory)
    with reader.snapshot() as snapshot:
        ledger = Ledger(snapshot)
        lost = [bool(list(lost_writes(c))) for c in ledger.checkouts(np.arange(len(ledger)))]
        found = may_have_lost_writes(ledger).tolist()
    assert lost.count(True) == 3
    assert {row for row, is_lost in enumerate(lost) if is_lost} <= set(found)
    # Reads and commits are told apart without a look.
    assert not set(found) & set(range(6))


@given(traces())
def test_nor_in_whatever_happened(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        every = list(ledger.checkouts(np.arange(len(ledger))))
        lost = {row for row, checkout in enumerate(every) if list(lost_writes(checkout))}
        assert lost <= set(may_have_lost_writes(ledger).tolist())


@given(traces())
def test_what_was_sent_is_that_of_all_operations(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        every = list(enumerate(ledger.checkouts(np.arange(len(ledger)))))
        for kind in OperationKind:
            assert Counter(ledger.rows_that_sent([kind], None).tolist()) == Counter(
                row for row, c in every for operation in c.operations if operation.kind is kind
            )
