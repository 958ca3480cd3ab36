"""The writer: files that survive, that only their owner reads, and that never stop the rest."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorders import DEADLINE_S, eventually, meta, pool_record, request_record, rows, the_file

import poolhog
from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording import numbers, trace_file, writer
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.records import MOST_IN_ROW, OPERATIONS_PER_ROW, SAMPLE_BYTES, SampleRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.recording.records import CheckoutRecord


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "trace")
    yield recorder
    recorder.stop()


POOL = pool_record()


def ask(recorder: Recorder) -> CheckoutRecord:
    return recorder.ask(recorder.pool(POOL))


def outcomes(directory: Path) -> list[Outcome]:
    return [checkout.outcome for checkout in poolhog.open_trace(directory).checkouts]


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_a_trace(recorder: Recorder) -> None:
    before = os.umask(0o000)
    try:
        ask(recorder)
        file = the_file(recorder.directory)
    finally:
        os.umask(before)
    assert permissions(recorder.directory) == 0o700
    assert {permissions(path) for path in recorder.directory.iterdir()} == {0o600}
    assert file.name == f"{os.getpid()}.sqlite"


def test_the_file_is_in_wal_mode(recorder: Recorder) -> None:
    ask(recorder)
    file = the_file(recorder.directory)
    assert rows(file, "PRAGMA journal_mode") == [("wal",)]
    recorder.stop()
    assert [path.name for path in recorder.directory.iterdir()] == [file.name]


def test_waiting_and_open_checkouts_are_on_disk_while_they_last(recorder: Recorder) -> None:
    checkout = ask(recorder)
    the_file(recorder.directory)
    eventually(lambda: outcomes(recorder.directory) == [Outcome.WAITING])
    checkout.grant(1)
    recorder.operate(checkout, OperationKind.STATEMENT, "SELECT pg_sleep(60)")
    eventually(lambda: outcomes(recorder.directory) == [Outcome.OPEN])
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert [(o.kind, o.ended) for o in found.operations] == [(OperationKind.STATEMENT, None)]
    assert not poolhog.open_trace(recorder.directory).processes[0].finished
    checkout.end()
    eventually(lambda: outcomes(recorder.directory) == [Outcome.RETURNED])


def test_a_process_without_news_still_says_that_it_lives(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HEARTBEAT_NS", 0)
    ask(recorder).give_up(Outcome.ERROR)
    file = the_file(recorder.directory)
    eventually(lambda: outcomes(recorder.directory) == [Outcome.ERROR])
    written = int(meta(file)["written_ns"])
    eventually(lambda: int(meta(file)["written_ns"]) > written)


def test_what_is_written_is_never_younger_than_the_trace(recorder: Recorder) -> None:
    """Read over and over while it is written: no fact is later than ``until``."""
    ask(recorder)
    the_file(recorder.directory)
    deadline = time.monotonic() + 0.6
    while time.monotonic() < deadline:
        for _ in range(200):
            checkout = ask(recorder)
            checkout.grant(1)
            checkout.end()
        trace = poolhog.open_trace(recorder.directory)
        instants = [x for c in trace.checkouts for x in (c.asked, c.granted, c.returned) if x]
        assert max(instants, default=0.0) <= trace.until


def test_a_statement_has_one_number_and_no_literals(recorder: Recorder) -> None:
    checkout = ask(recorder)
    for n in range(50):
        for sql in (f"SELECT {n}", "SELECT $1", "COMMIT"):
            operation = recorder.operate(checkout, OperationKind.STATEMENT, sql)
            assert operation is not None
            operation.end()
    recorder.stop()
    file = the_file(recorder.directory)
    kept = rows(file, "SELECT text FROM texts WHERE text LIKE 'SELECT%' OR text = 'COMMIT'")
    assert sorted(kept) == [("COMMIT",), ("SELECT $1",), ("SELECT ?",)]
    counts = "SELECT statement, count(*) FROM operations GROUP BY 1 ORDER BY 1"
    assert rows(file, counts) == [("COMMIT", 50), ("SELECT $1", 50), ("SELECT ?", 50)]


def test_the_numbers_of_texts_hold_when_their_memory_is_full(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "MOST_TEXTS", 3)
    checkout = ask(recorder)
    for n in range(40):
        operation = recorder.operate(checkout, OperationKind.STATEMENT, f"SELECT c{n % 8}")
        assert operation is not None
        operation.end()
    recorder.stop()
    file = the_file(recorder.directory)
    kept = rows(file, "SELECT text FROM texts WHERE text LIKE 'SELECT%'")
    assert sorted(kept) == sorted((f"SELECT c{n}",) for n in range(8))
    told = rows(file, "SELECT statement FROM operations ORDER BY started_ns")
    assert told == [(f"SELECT c{n % 8}",) for n in range(40)]


def test_there_is_a_limit_to_the_characters_that_are_remembered(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "MOST_CHARACTERS", 5_000)
    checkout = ask(recorder)
    for n in range(40):
        operation = recorder.operate(checkout, OperationKind.STATEMENT, f"SELECT c{n:0>1000}")
        assert operation is not None
        operation.end()
    eventually(lambda: checkout.written is not None and len(checkout.operations) == 40)
    assert recorder._writer is not None
    file = recorder._writer._file
    assert file is not None
    recorder.stop()
    assert sum(map(len, file.numbers)) <= 5_000
    assert sum(map(len, file.statements[checkout.pool.dialect])) <= 5_000
    kept = rows(the_file(recorder.directory), "SELECT text FROM texts WHERE text LIKE 'SELECT%'")
    assert len(kept) == 40


def test_a_pid_that_is_used_again_gets_another_file(recorder: Recorder) -> None:
    for _ in range(3):
        ask(recorder).grant(1)
        recorder.stop()
        recorder.start_anew()
        recorder.journal.closed = False
    names = sorted(path.name for path in recorder.directory.iterdir())
    pid = os.getpid()
    assert names == [f"{pid}-2.sqlite", f"{pid}-3.sqlite", f"{pid}.sqlite"]
    trace = poolhog.open_trace(recorder.directory)
    assert len(trace.checkouts) == 3
    assert len({checkout.pool.id for checkout in trace.checkouts}) == 3


def test_lone_surrogates_do_not_stop_the_writer(recorder: Recorder) -> None:
    recorder.pool(pool_record())
    recorder.request(request_record("/notes/\ud800\udcff")).end()
    checkout = ask(recorder)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, 'SELECT "\udcff"')
    assert operation is not None
    operation.end()
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert trace.requests[0].path == "/notes/??"
    assert trace.checkouts[0].operations[0].statement == 'SELECT "?"'
    assert trace.processes[0].errors == 0


def test_values_that_sqlite_does_not_keep_do_not_stop_the_writer(recorder: Recorder) -> None:
    recorder.pool(pool_record())
    request = recorder.request(request_record())
    request.status = 2**80
    request.end()
    other = recorder.request(request_record())
    other.status = object()  # type: ignore[assignment] # an application may send anything
    other.end()
    ask(recorder)
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert (len(trace.requests), len(trace.checkouts)) == (2, 1)


def test_a_record_that_makes_no_row_does_not_stop_the_others(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    class Route(str):
        def encode(self, *_: object) -> bytes:
            raise RuntimeError("a route without a text")

    recorder.pool(pool_record())
    recorder.request(request_record("/broken", route=Route("/broken")))
    recorder.request(request_record("/fine")).end()
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert [request.path for request in trace.requests] == ["/fine"]
    assert trace.processes[0].errors >= 1
    assert "a route without a text" in caplog.text


def test_a_poolhog_that_is_not_installed_writes_all_the_same(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    ask(recorder)
    recorder.stop()
    (process,) = poolhog.open_trace(recorder.directory).processes
    assert process.poolhog_version == "unknown"
    assert process.versions == {"python": sys.version.split()[0]}


def test_a_folder_that_cannot_be_made_is_told_once_and_tried_again(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.directory.write_text("a file is in the way")
    checkout = ask(recorder)
    eventually(lambda: recorder.journal.errors >= 3)
    assert [(r.name, r.levelname) for r in caplog.records] == [("poolhog", "WARNING")]
    checkout.grant(1)
    recorder.directory.unlink()
    the_file(recorder.directory)
    eventually(lambda: outcomes(recorder.directory) == [Outcome.OPEN])
    recorder.stop()
    (process,) = poolhog.open_trace(recorder.directory).processes
    assert process.errors >= 3


def test_a_deleted_folder_is_told_and_made_anew(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    ask(recorder).give_up(Outcome.TIMEOUT)
    still_open = ask(recorder)
    still_open.grant(1)
    the_file(recorder.directory)
    eventually(lambda: still_open.written is not None)
    shutil.rmtree(recorder.directory)
    ask(recorder)
    eventually(recorder.directory.exists)
    the_file(recorder.directory)
    eventually(lambda: len(outcomes(recorder.directory)) == 2)
    assert outcomes(recorder.directory) == [Outcome.OPEN, Outcome.WAITING]
    # The new file knows the pool and the sites that the old one knew.
    trace = poolhog.open_trace(recorder.directory)
    assert [pool.name for pool in trace.pools] == ["main"]
    sources = [checkout.site.source for checkout in trace.checkouts if checkout.site is not None]
    assert sources == ["return recorder.ask(recorder.pool(POOL))"] * 2
    assert recorder.journal.errors == 1
    assert "the trace was deleted" in caplog.text


def test_a_commit_that_fails_loses_nothing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(file: trace_file.TraceFile, values: object, checksum: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    ask(recorder)
    the_file(recorder.directory)
    with monkeypatch.context() as patched:
        patched.setattr(trace_file.TraceFile, "_tell", fail)
        operation = recorder.operate(ask(recorder), OperationKind.STATEMENT, "SELECT lost")
        assert operation is not None
        operation.end()
        failed = recorder.journal.errors
        eventually(lambda: recorder.journal.errors >= failed + 2)
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert [len(checkout.operations) for checkout in trace.checkouts] == [0, 1]
    assert trace.checkouts[1].operations[0].statement == "SELECT lost"
    assert caplog.text.count("database or disk is full") == 2  # the message, and its traceback


def test_thousands_of_operations_are_there_once_and_in_order(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that goes on and on is not written anew each time, also if a commit fails."""

    def fail(file: trace_file.TraceFile, values: object, checksum: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def operate(count: int) -> None:
        for _ in range(count):
            statement = f"SELECT c{len(made)}"
            operation = recorder.operate(checkout, OperationKind.STATEMENT, statement)
            assert operation is not None
            operation.end()
            made.append(statement)

    made: list[str] = []
    checkout = ask(recorder)
    checkout.grant(1)
    operate(950)
    eventually(lambda: checkout.earlier > 0)
    with monkeypatch.context() as patched:
        patched.setattr(trace_file.TraceFile, "_tell", fail)
        operate(1000)
        failed = recorder.journal.errors
        eventually(lambda: recorder.journal.errors >= failed + 2)
        kept = checkout.earlier
        operate(5)
    operate(1000)
    eventually(lambda: checkout.earlier > kept)
    in_flight = recorder.operate(checkout, OperationKind.FETCH)
    assert in_flight is not None
    file = the_file(recorder.directory)
    eventually(lambda: _statements(recorder.directory) == [*made, None])
    sizes = rows(file, "SELECT json_array_length(operations) FROM packed_operations")
    assert {size for (size,) in sizes} == {OPERATIONS_PER_ROW}
    assert len(checkout.operations) <= 2 * OPERATIONS_PER_ROW
    recorder.end(checkout)
    recorder.stop()
    assert _statements(recorder.directory) == [*made, None]
    assert rows(file, "SELECT count(*), count(ended_ns) FROM operations") == [(2956, 2956)]


def _statements(directory: Path) -> list[str | None]:
    (checkout,) = poolhog.open_trace(directory).checkouts
    return [operation.statement for operation in checkout.operations]


def test_packed_parts_are_as_short_as_they_can_be(recorder: Recorder) -> None:
    """A row per checkout; what is missing at the end of an operation is left out."""
    checkout = ask(recorder)
    checkout.grant(1)
    ping = recorder.operate(checkout, OperationKind.PING)
    assert ping is not None
    ping.end()
    commit = recorder.operate(checkout, OperationKind.COMMIT)
    assert commit is not None
    commit.end(ValueError())
    recorder.operate(checkout, OperationKind.RESET)
    request = recorder.request(request_record())
    request.begin_stage("endpoint")
    recorder.stop()
    file = the_file(recorder.directory)
    ((packed,),) = rows(file, "SELECT operations FROM packed_checkouts")
    assert [len(operation) for operation in json.loads(packed)] == [3, 6, 2]
    assert rows(file, "SELECT count(*) FROM packed_operations") == [(0,)]
    ((stages,),) = rows(file, "SELECT stages FROM packed_requests")
    ((name, since, ended),) = json.loads(stages)
    assert rows(file, f"SELECT text FROM texts WHERE id = {name}") == [("endpoint",)]
    assert since >= 0
    assert ended is None


def test_the_views_say_what_the_reader_reads(recorder: Recorder) -> None:
    request = request_record(route="/notes/{id}")
    recorder.pool(pool_record())
    recorder.request(request)
    stage = request.begin_stage("endpoint")
    token = current_request.set(request)
    checkout = ask(recorder)
    current_request.reset(token)
    checkout.grant(7)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
    assert operation is not None
    operation.end(ValueError())
    sample = SampleRecord(checkout, Activity.PARKED, checkout.site, time.monotonic_ns())
    recorder.journal.put(sample, SAMPLE_BYTES)
    recorder.end(checkout)
    stage.end()
    request.end()
    recorder.stop()
    file, trace = the_file(recorder.directory), poolhog.open_trace(recorder.directory)

    def instants(sql: str) -> list[float | None]:
        (row,) = rows(file, sql)
        return [None if value is None else trace.at(value) for value in row]

    def close(*expected: float | None) -> Any:
        return pytest.approx(expected, abs=1e-9)

    (found,), (asked,) = trace.requests, trace.checkouts
    (ran,), (seen,), (part,) = asked.operations, asked.samples, found.stages
    told = "SELECT started_ns, responding_ns, responded_ns, ended_ns FROM requests"
    assert instants(told) == close(found.started, None, None, found.ended)
    told = "SELECT asked_ns, granted_ns, gave_up_ns, returned_ns FROM checkouts"
    assert instants(told) == close(asked.asked, asked.granted, None, asked.returned)
    told = "SELECT started_ns, ended_ns FROM operations"
    assert instants(told) == close(ran.started, ran.ended)
    assert instants("SELECT started_ns, ended_ns FROM samples") == close(seen.started, seen.ended)
    assert instants("SELECT started_ns, ended_ns FROM stages") == close(part.started, part.ended)
    assert rows(file, "SELECT kind, method, route, path FROM requests") == [
        ("http", "GET", "/notes/{id}", "/notes/1")
    ]
    told = "SELECT owner, connection, outcome, busy_ns FROM checkouts"
    assert rows(file, told) == [("MainThread", 7, "returned", round(asked.busy * 1e9))]
    told = "SELECT kind, statement, error, cause FROM operations"
    assert rows(file, told) == [("statement", "SELECT ?", "ValueError", None)]
    assert rows(file, "SELECT activity FROM samples") == [("parked",)]
    assert rows(file, "SELECT name FROM stages") == [("endpoint",)]
    told = "SELECT function FROM sites JOIN checkouts AS c ON c.site_id = sites.id"
    assert rows(file, told) == [("ask",)]


def test_a_close_that_fails_is_counted(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(recorder)
    the_file(recorder.directory)
    eventually(lambda: outcomes(recorder.directory) == [Outcome.WAITING])

    def fail(file: trace_file.TraceFile, values: object, checksum: int) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(trace_file.TraceFile, "_tell", fail)
        recorder.stop()
    assert recorder.journal.errors >= 1
    assert not poolhog.open_trace(recorder.directory).processes[0].finished


LOCKING = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(sys.argv[2])
database.execute("SELECT count(*) FROM meta").fetchall()
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(file: Path, begin: str) -> Iterator[None]:
    """Another process has a transaction on the file."""
    command = [sys.executable, "-c", LOCKING, str(file), begin]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


def test_what_happens_while_somebody_has_locked_the_file_is_written_later(
    recorder: Recorder,
) -> None:
    checkout = ask(recorder)
    checkout.grant(1)
    file = the_file(recorder.directory)
    eventually(lambda: checkout.written is not None)
    with locked(file, "BEGIN EXCLUSIVE"):
        failed = recorder.journal.errors
        for _ in range(150_000):
            operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
            assert operation is not None
            operation.end()
        eventually(lambda: recorder.journal.errors > failed + 1)
        assert checkout.earlier == 0
    eventually(lambda: len(checkout.operations) < MOST_IN_ROW)
    recorder.end(checkout)
    recorder.stop()
    assert recorder.journal.dropped == 0
    assert rows(file, "SELECT count(*) FROM operations") == [(150_000,)]


LONGEST_END_S = 2.0
"""Less than the five seconds that SQLite waits for a lock by itself; a busy machine needs some."""


@pytest.mark.parametrize("begin", ["BEGIN EXCLUSIVE", "BEGIN"], ids=["writer", "reader"])
def test_the_end_does_not_wait_for_whoever_has_the_file(recorder: Recorder, begin: str) -> None:
    checkout = ask(recorder)
    file = the_file(recorder.directory)
    eventually(lambda: checkout.written is not None)
    with locked(file, begin):
        recorder.end(checkout)
        began = time.monotonic()
        recorder.stop()
        assert time.monotonic() - began < LONGEST_END_S
    (process,) = poolhog.open_trace(recorder.directory).processes
    # Beside a reader, all can be written but that the log stays.
    assert process.finished is (begin == "BEGIN")


FULL_DISK = """
import logging, resource, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorders import pool_record
from poolhog.recording.recorder import Recorder

class Told(logging.Handler):
    def emit(self, record):
        print("told", record.levelname)

logging.getLogger("poolhog").addHandler(Told())
logging.getLogger("poolhog").propagate = False
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def disk(room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if room is None else room, hard))

def wait_until(condition):
    deadline = time.monotonic() + {deadline}
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)

directory = Path(sys.argv[1])
recorder = Recorder(directory)
pool = recorder.pool(pool_record())

disk(0)
first = recorder.ask(pool)
wait_until(lambda: recorder.journal.errors >= 5)
print("files", [(path.suffix, path.stat().st_size) for path in directory.iterdir()])
disk(None)
wait_until(lambda: first.written is not None)

disk(200_000)
before = recorder.journal.errors
while recorder.journal.errors < before + 3:  # the application goes on while nothing can be written
    for _ in range(50):
        recorder.ask(pool).grant(1)
    time.sleep(0.02)
made = pool.id, recorder.ask(pool).id
disk(None)
recorder.stop()
print("asked", made[1] - made[0], "dropped", recorder.journal.dropped)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_told_once_and_what_was_buffered_is_written_later(tmp_path: Path) -> None:
    directory = tmp_path / "trace"
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK.format(deadline=DEADLINE_S), str(directory), here],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told, files, asked = done.stdout.splitlines()
    assert told == "told WARNING"
    assert files == "files [('.missing', 0)]"
    trace = poolhog.open_trace(directory)
    assert asked == f"asked {len(trace.checkouts)} dropped 0"
    assert len(trace.checkouts) > 1000
    (process,) = trace.processes
    assert process.finished
    assert process.errors >= 8
