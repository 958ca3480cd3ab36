"""The door into a trace: it refuses what no recorder writes, and nothing that one does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from recorders import pool_record, request_record

import poolhog
from poolhog.model import OperationKind, Outcome
from poolhog.recording.pools import PoolRecord
from poolhog.recording.recorder import Recorder, current_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with all that a process can record, part of which goes on."""
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    request = recorder.request(request_record())
    token = current_request.set(request)
    request.begin_stage("endpoint").end()
    request.begin_stage("background")
    for outcome in (Outcome.RETURNED, Outcome.OPEN, Outcome.WAITING, Outcome.TIMEOUT):
        checkout = recorder.ask(pool)
        if outcome is Outcome.TIMEOUT:
            recorder.give_up(checkout, outcome, TimeoutError())
        elif outcome is not Outcome.WAITING:
            recorder.grant(checkout, 1)
            for kind in (OperationKind.BEGIN, OperationKind.STATEMENT, OperationKind.ROLLBACK):
                operation = recorder.operate(checkout, kind, "SELECT 1")
                assert operation is not None
                if kind is not OperationKind.ROLLBACK or outcome is Outcome.RETURNED:
                    operation.end(ValueError() if kind is OperationKind.STATEMENT else None)
        if outcome is Outcome.RETURNED:
            recorder.end(checkout)
    current_request.reset(token)
    recorder.stop()
    (found,) = recorder.directory.glob("*.sqlite")
    assert not poolhog.open_trace(recorder.directory).unreadable
    return found


def change(file: Path, sql: str, *values: object) -> None:
    """Change it as somebody would who knows of the checksum."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(sql, values)
        database.execute("DELETE FROM meta WHERE key = 'checksum'")


REFUSED: tuple[tuple[str, object], ...] = (
    ("UPDATE packed_checkouts SET asked = ?", "noon"),
    ("UPDATE packed_checkouts SET asked = ?", 0.5),
    ("UPDATE packed_checkouts SET asked = ?", 2**62),
    ("UPDATE packed_checkouts SET granted = ?", -1),
    ("UPDATE packed_checkouts SET granted = 9, returned = ?", 8),
    ("UPDATE packed_checkouts SET gave_up = ?", 8),
    ("UPDATE packed_checkouts SET pool_id = ?", 10**6),
    ("UPDATE packed_checkouts SET outcome = (SELECT id FROM texts WHERE text = ?)", "SELECT ?"),
    ("UPDATE packed_checkouts SET owner = ?", b"\xff"),
    ("UPDATE packed_checkouts SET owner = CAST(? AS TEXT)", b"\xff\xfe"),
    ("UPDATE packed_checkouts SET asked = asked + ?", 10**12),
    ("UPDATE packed_requests SET path = ?", "x" * 1_000_001),
    ("UPDATE packed_requests SET status = ?", 10**12),
    ("UPDATE packed_requests SET route = ?", 10**6),
    ("UPDATE packed_requests SET stages = ?", "[[1]]"),
    ("UPDATE packed_requests SET stages = ?", "[[99999,1,2]]"),
    ("UPDATE sites SET caller_id = ?", 10**6),
    ("UPDATE sites SET line = ?", "x"),
    ("UPDATE pools SET size = ?", "five"),
    ("UPDATE pools SET timeout_s = ?", 1e308 * 10),
    ("UPDATE meta SET value = ? WHERE key = 'wall_ns'", "9" * 30),
    ("UPDATE meta SET value = ? WHERE key = 'argv'", "[" * 100_000),
    ("UPDATE meta SET value = ? WHERE key = 'versions'", "[1]"),
    ("UPDATE meta SET value = ? WHERE key = 'sampling_interval_s'", "nan"),
    ("DELETE FROM meta WHERE key = ?", "pid"),
    *(
        ("INSERT INTO meta VALUES ('pool.1', ?)", origin)
        for origin in (
            *("", "[1]", "5", "[" * 100_000, '{"made_at": "1"}', '{"made_at": 1.5}'),
            *('{"database": true}', '{"inherited": -1}', '{"inherited": null}', '{"url": 1}'),
            '{"database": 100000000000000000000}',
        )
    ),
    ("CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT ?1; END", None),
    *(
        ("UPDATE packed_checkouts SET operations = ?", packed)
        for packed in (
            *("", "[", "[]", "[[]]", "[[1,2,3],[4]", "[[1,2,3]]]", "[[[1,2,3]]]", "[[1,2,3],]"),
            *("[[1,2.5,3]]", "[[1,2,true]]", '[["1",2,3]]', "[[1, 2, 3]]", "[[1,2e3,3]]"),
            *("[[01,2,3]]", "[[1,-02,3]]", "[[1,--2,3]]", "[[1,2,-3]]", "[[1,2,nul]]"),
            *("[[1,2,3,4,5,6,7,8]]", "[[1,10000000000000000000,3]]", "[[99999,2,3]]"),
            *("[[1,2,3,null,99999]]", "null", "{}", "[" * 100_000, b"[[1,2,3]]"),
        )
    ),
)


@pytest.mark.parametrize(("sql", "value"), REFUSED, ids=range(len(REFUSED)))
def test_what_no_recorder_writes_is_refused(file: Path, sql: str, value: object) -> None:
    """By its own check: the checksum would tell of it, too, if it were there."""
    if sql.startswith("CREATE"):
        change(file, sql.replace("?1", "1"))
    else:
        change(file, sql, value)
    with pytest.raises(poolhog.TraceError) as raised:
        poolhog.open_trace(file.parent)
    assert "is damaged or no poolhog trace" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


KEPT: tuple[tuple[str, object], ...] = (
    # What was dropped, or was not written before the process was killed.
    ("DELETE FROM sites WHERE id > ?", 0),
    ("DELETE FROM packed_requests WHERE id > ?", 0),
    ("UPDATE packed_checkouts SET operations = NULL WHERE id > ?", 0),
    ("UPDATE packed_requests SET stages = NULL WHERE id > ?", 0),
    ("UPDATE packed_requests SET status = NULL WHERE id > ?", 0),
)


@pytest.mark.parametrize(("sql", "value"), KEPT, ids=range(len(KEPT)))
def test_what_may_be_missing_is_no_damage(file: Path, sql: str, value: object) -> None:
    change(file, sql, value)
    trace = poolhog.open_trace(file.parent)
    assert len(trace.checkouts) == 4
    assert [list(checkout.operations) for checkout in trace.checkouts]


def test_whatever_an_application_gives_can_be_read(tmp_path: Path) -> None:
    """No value of an application's makes its own trace look damaged."""
    recorder = Recorder(tmp_path / "trace")
    pool = PoolRecord(
        library="sqlalchemy",
        kind="QueuePool",
        name="\ud800\0[it's]",
        size=5.0,  # type: ignore[arg-type] # as an application may configure it
        max_overflow=True,
        timeout_s=30,
    )
    recorder.pool(pool)
    request = recorder.request(request_record("/\0\udcff" + "ä" * 5_000))
    request.status = True
    token = current_request.set(request)
    checkout = recorder.ask(pool)
    recorder.grant(checkout, 1)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT '\ud800\0'" * 9_999)
    assert operation is not None
    operation.end()
    recorder.end(checkout)
    recorder.end(checkout)
    recorder.give_up(checkout, Outcome.ERROR, ValueError())
    current_request.reset(token)
    request.end()
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert (len(trace.checkouts), trace.unreadable, recorder.journal.errors) == (1, (), 0)
    assert trace.pools[0].size == 5
