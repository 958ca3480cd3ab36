"""The reader: files into one model, and one line that says what to do where that fails."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from recorders import pool_record, request_record

import poolhog
from poolhog.model import OperationKind
from poolhog.recording.recorder import Recorder, current_request
from poolhog.trace.reader import EMPTY, stream_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A finished trace of one process with one checkout of one request."""
    recorder = Recorder(tmp_path / "trace")
    request = recorder.request(request_record())
    token = current_request.set(request)
    checkout = recorder.ask(recorder.pool(pool_record()))
    current_request.reset(token)
    checkout.grant(1)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT $1")
    assert operation is not None
    operation.end()
    checkout.end()
    request.end()
    recorder.stop()
    return recorder.directory


@pytest.fixture
def file(directory: Path) -> Path:
    (file,) = directory.glob("*.sqlite")
    return file


def execute(file: Path, sql: str, *arguments: object) -> None:
    """Change a file, and take its checksum away, which would tell of any change."""
    with sqlite3.connect(file) as database:
        database.execute(sql, arguments)
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            database.execute("DELETE FROM meta WHERE key = 'checksum'")
    database.close()


def refused(directory: Path) -> str:
    """The text of the error, which is one line."""
    with pytest.raises(poolhog.TraceError) as raised:
        poolhog.open_trace(directory)
    text = str(raised.value)
    assert len(text.splitlines()) == 1
    assert raised.value.exit_code == 2
    return text


def test_a_trace_is_named_by_text_or_path(directory: Path) -> None:
    by_text, by_path = poolhog.open_trace(str(directory)), poolhog.open_trace(directory)
    assert by_text.requests == by_path.requests
    assert [c.id for c in by_text.checkouts] == [c.id for c in by_path.checkouts]


def test_instants_are_on_the_clock_of_the_run(directory: Path) -> None:
    trace = poolhog.open_trace(directory)
    (request,), (checkout,) = trace.requests, trace.checkouts
    assert checkout.request is request
    assert checkout.granted is not None
    assert checkout.returned is not None
    assert request.ended is not None
    order = [0.0, request.started, checkout.asked, checkout.granted, checkout.returned]
    assert [*order, request.ended] == sorted([*order, request.ended])
    assert request.ended <= trace.until
    assert trace.at(trace.clock_origin_ns) == trace.processes[0].began == 0.0


def test_processes_are_merged_and_their_ids_kept_apart(directory: Path, file: Path) -> None:
    other = directory / "77.sqlite"
    shutil.copy(file, other)
    shutil.copy(file, directory / f"{file.stem}-2.sqlite")
    second = 1_000_000_000
    execute(other, "UPDATE meta SET value = value - ? WHERE key = 'monotonic_ns'", second)
    trace = poolhog.open_trace(directory)
    assert len(trace.processes) == 3
    assert len({checkout.id for checkout in trace.checkouts}) == 3
    assert len({request.id for request in trace.requests}) == 3
    assert trace.checkouts[0].pool.id.startswith("77.")
    assert sorted(process.began for process in trace.processes) == [0.0, 1.0, 1.0]


def test_a_trace_without_its_requests_has_checkouts_of_nobody(directory: Path, file: Path) -> None:
    execute(file, "DELETE FROM packed_requests")
    assert poolhog.open_trace(directory).checkouts[0].request is None


def test_a_file_in_which_nothing_was_said_is_left_out(directory: Path) -> None:
    (directory / "78.sqlite").touch()
    trace = poolhog.open_trace(directory)
    assert len(trace.processes) == 1
    assert [one.reason for one in trace.unreadable] == [EMPTY]


def test_a_directory_that_is_missing_or_empty_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("missing", "empty", "file"):
        assert refused(tmp_path / name) == (
            f"no trace in {tmp_path / name}: name a directory that a run was recorded into"
        )


def test_a_trace_in_which_nothing_was_said(tmp_path: Path) -> None:
    (tmp_path / "1.sqlite").touch()
    assert "ended before it recorded" in refused(tmp_path)


def test_garbage(tmp_path: Path) -> None:
    (tmp_path / "1.sqlite").write_bytes(os.urandom(8192))
    assert "damaged or no poolhog trace" in refused(tmp_path)


def test_a_truncated_file(directory: Path, file: Path) -> None:
    content = file.read_bytes()
    for size in (100, 4096, len(content) // 2, len(content) - 4096):
        file.write_bytes(content[:size])
        assert "record again" in refused(directory)


def test_another_programs_database(directory: Path, file: Path) -> None:
    for table in ("packed_operations", "texts", "meta"):
        execute(file, f"ALTER TABLE {table} RENAME TO lost")
        execute(file, f"CREATE TABLE {table} (key TEXT, value TEXT)")
        assert "damaged or no poolhog trace" in refused(directory)
        execute(file, f"DROP TABLE {table}")
        execute(file, f"ALTER TABLE lost RENAME TO {table}")


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema_version", "new"), ("monotonic_ns", ""), ("argv", "[not json"), ("argv", "5")],
)
def test_damaged_metadata(directory: Path, file: Path, key: str, value: str) -> None:
    execute(file, "UPDATE meta SET value = ? WHERE key = ?", value, key)
    assert "damaged or no poolhog trace" in refused(directory)


@pytest.mark.parametrize("key", ["schema_version", "monotonic_ns", "pid", "versions"])
def test_missing_metadata(directory: Path, file: Path, key: str) -> None:
    execute(file, "DELETE FROM meta WHERE key = ?", key)
    assert "damaged or no poolhog trace" in refused(directory)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE texts SET text = 'vanished' WHERE text = 'returned'",
        "UPDATE packed_checkouts SET pool_id = -1",
        "UPDATE packed_checkouts SET asked = 'noon'",
        "UPDATE packed_requests SET kind = -1",
    ],
)
def test_rows_that_no_poolhog_wrote(directory: Path, file: Path, sql: str) -> None:
    execute(file, sql)
    assert "damaged or no poolhog trace" in refused(directory)


def test_a_newer_schema_says_to_upgrade(directory: Path, file: Path) -> None:
    execute(file, "UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    execute(file, "UPDATE meta SET value = '9.9' WHERE key = 'poolhog_version'")
    text = refused(directory)
    assert "newer poolhog (9.9)" in text
    assert text.endswith("upgrade poolhog")


def test_a_file_that_is_a_folder(directory: Path) -> None:
    (directory / "1.sqlite").mkdir()
    (one,) = poolhog.open_trace(directory).unreadable
    assert "not a regular file" in one.reason


def test_of_several_files_none_of_which_can_be_read_the_first_is_named(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / f"{name}.sqlite").write_bytes(os.urandom(8192))
    text = refused(tmp_path)
    assert "1.sqlite is damaged" in text
    assert text.endswith("; 2 other files cannot be read either")


def test_what_a_check_has_read_is_kept_until_it_is_forgotten(directory: Path) -> None:
    (reader,) = stream_trace(directory)
    reader.check()
    with reader.snapshot() as first, reader.snapshot() as second:
        assert first.columns() is second.columns()
    reader.forget()
    with reader.snapshot() as later:
        assert later.columns() is not first.columns()
        assert later.columns().checkouts.id.tolist() == first.columns().checkouts.id.tolist()


def test_nothing_loads_numpy_before_it_reads_columns() -> None:
    """`--help`, and a dump of a process that still runs, start without it."""
    script = "import sys, poolhog.cli, poolhog.trace.reader; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
