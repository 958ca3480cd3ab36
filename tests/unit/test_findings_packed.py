"""What is known of packed operations without unpacking them is what unpacking them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from recorders import pool_record

from poolhog import open_trace
from poolhog.analysis.findings.lost_write import lost_writes, may_have_lost_writes, writes
from poolhog.model import Cause, OperationKind
from poolhog.recording.recorder import Recorder
from poolhog.trace.unpacking import PackedOperations

if TYPE_CHECKING:
    from poolhog.model import Checkout

SELECT, UPDATE = "SELECT data FROM notes", "UPDATE notes SET data = $1"
ENDS = {
    "commit": (OperationKind.COMMIT, None, None),
    "rollback": (OperationKind.ROLLBACK, None, None),
    "asked": (OperationKind.ROLLBACK, None, Cause.ASKED),
    "reset": (OperationKind.RESET, "ROLLBACK", None),
    "nothing": (OperationKind.RESET, None, None),
}


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, ...]:
    """For each statement and each end, a checkout; the last has so many that they take two rows."""
    recorder = Recorder(tmp_path_factory.mktemp("packed") / "trace")
    pool = recorder.pool(pool_record())
    for statement in (SELECT, UPDATE):
        for end in ENDS:
            record(recorder, pool, [statement], end)
    record(recorder, pool, [UPDATE] + [SELECT] * 500, "rollback")
    recorder.stop()
    return open_trace(recorder.directory).checkouts


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


def test_kinds_and_statements(checkouts: tuple[Checkout, ...]) -> None:
    for checkout in checkouts:
        packed = checkout.operations
        assert isinstance(packed, PackedOperations)
        for kind in OperationKind:
            of_kind = [operation for operation in packed if operation.kind is kind]
            assert packed.has(kind) is bool(of_kind)
            for test in (writes, is_text):
                sent = any(o.statement is not None and test(o.statement) for o in of_kind)
                assert packed.has_sent(kind, test) is sent


def test_no_lost_write_is_overlooked(checkouts: tuple[Checkout, ...]) -> None:
    lost = [bool(list(lost_writes(checkout))) for checkout in checkouts]
    assert lost.count(True) == 3
    for checkout, is_lost in zip(checkouts, lost, strict=True):
        assert may_have_lost_writes(checkout) or not is_lost
    # Reads and commits are told apart without a look.
    assert not any(may_have_lost_writes(checkout) for checkout in checkouts[:6])


def is_text(_: str) -> bool:
    return True
