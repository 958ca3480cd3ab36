"""The recorder: what it hands to the writer, and what it does when it cannot."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from recorders import eventually, meta, pool_record, request_record, rows, the_file

import poolhog
from poolhog.model import Cause, OperationKind, Outcome
from poolhog.recording import sites, writer
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.records import (
    CHECKOUT_BYTES,
    FIRST_ROOM,
    OPERATION_BYTES,
    OPERATIONS_PER_ROW,
)
from poolhog.recording.requests import RequestRecord
from poolhog.recording.secrets.arguments import kept_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.recording.records import CheckoutRecord


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "trace")
    yield recorder
    recorder.stop()


def run(code: str, *arguments: object) -> str:
    """What a Python process with this code prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def test_nothing_is_created_before_the_first_fact(recorder: Recorder) -> None:
    threads = threading.active_count()
    pool = recorder.pool(pool_record())
    assert not recorder.directory.exists()
    assert threading.active_count() == threads
    recorder.ask(pool)
    the_file(recorder.directory)


def test_without_a_pool_requests_are_nothing_to_write(recorder: Recorder) -> None:
    """The one that then asks for a connection is written, with all that it did before."""
    for n in range(3):
        recorder.request(request_record(f"/static/{n}")).end()
    request = recorder.request(request_record("/notes/1"))
    request.begin_stage("dependencies").end()
    assert not recorder.journal.queue
    assert not recorder.directory.exists()
    token = current_request.set(request)
    pool = recorder.pool(pool_record())
    for _ in range(2):
        recorder.ask(pool)
    current_request.reset(token)
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    (found,) = trace.requests
    assert (found.path, [stage.name for stage in found.stages]) == ("/notes/1", ["dependencies"])
    assert [checkout.request for checkout in trace.checkouts] == [found, found]


def test_a_recorder_that_saw_nothing_leaves_nothing(recorder: Recorder) -> None:
    recorder.stop()
    assert not recorder.directory.exists()


def test_a_whole_request_is_read_back(recorder: Recorder) -> None:
    request = request_record(route="/notes/{id}")
    token = current_request.set(request)
    stage = request.begin_stage("endpoint")
    checkout = recorder.ask(recorder.pool(pool_record()))
    recorder.request(request_record("/healthz")).end()
    current_request.reset(token)
    connect = recorder.operate(checkout, OperationKind.CONNECT)
    assert connect is not None
    connect.end()
    checkout.grant(1)
    statement = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 'secret'")
    assert statement is not None
    statement.end(ValueError("no"))
    checkout.end()
    stage.end()
    request.status = 200
    request.end()
    recorder.stop()

    trace = poolhog.open_trace(recorder.directory)
    assert [r.name for r in trace.requests] == ["GET /notes/{id}", "GET /healthz"]
    (found,) = trace.checkouts
    assert (found.outcome, found.connection, found.pool.name) == (Outcome.RETURNED, 1, "main")
    assert found.request is not None
    assert (found.request.name, found.request.status) == ("GET /notes/{id}", 200)
    assert [(o.kind, o.statement, o.error) for o in found.operations] == [
        (OperationKind.CONNECT, None, None),
        (OperationKind.STATEMENT, "SELECT ?", "ValueError"),
    ]
    assert [stage.name for stage in found.request.stages] == ["endpoint"]
    assert trace.processes[0].finished
    assert (trace.processes[0].dropped, trace.processes[0].errors) == (0, 0)


def test_an_operation_inside_another_is_part_of_it(recorder: Recorder) -> None:
    checkout = recorder.ask(recorder.pool(pool_record()))
    outer = recorder.operate(checkout, OperationKind.RESET)
    assert outer is not None
    assert recorder.operate(checkout, OperationKind.STATEMENT, "ROLLBACK") is None
    outer.end()
    assert recorder.operate(checkout, OperationKind.STATEMENT, "SELECT") is not None


def test_what_was_spent_is_added_up_as_it_ends(recorder: Recorder) -> None:
    checkout = recorder.ask(recorder.pool(pool_record()))
    for kind in (OperationKind.CONNECT, OperationKind.PING):
        operation = recorder.operate(checkout, kind)
        assert operation is not None
        time.sleep(0.002)
        operation.end()
    checkout.grant(1)
    for _ in range(2):
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT")
        assert operation is not None
        time.sleep(0.002)
        operation.end()
    recorder.end(checkout)
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    spent = [(o.ended or 0.0) - o.started for o in found.operations]
    assert [found.connecting, found.pinging] == pytest.approx(spent[:2], abs=2e-6)
    assert found.busy == pytest.approx(sum(spent[2:]), abs=4e-6)
    assert min(spent) >= 0.002


def test_an_operation_in_flight_ends_with_its_checkout(recorder: Recorder) -> None:
    checkout = recorder.ask(recorder.pool(pool_record()))
    checkout.grant(1)
    recorder.operate(checkout, OperationKind.STATEMENT, "SELECT")
    recorder.end(checkout)
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    (operation,) = found.operations
    assert operation.ended is not None
    assert found.returned is not None
    assert operation.ended <= found.returned


def test_a_site_is_taken_where_the_application_asks_in_so_many_words(recorder: Recorder) -> None:
    def ask_for_one() -> CheckoutRecord:
        return recorder.ask(pool)

    pool = recorder.pool(pool_record())
    checkout = ask_for_one()
    for kind in OperationKind:
        operation = recorder.operate(checkout, kind)
        assert operation is not None
        operation.end()
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert found.site is not None
    names = [site.function.rpartition(".")[2] for site in found.site.stack]
    here = "test_a_site_is_taken_where_the_application_asks_in_so_many_words"
    assert names == ["ask_for_one", here]
    assert found.site.source == "return recorder.ask(pool)"
    assert found.site.file == __file__
    sited = {operation.kind for operation in found.operations if operation.site is not None}
    assert sited == {"statement", "fetch", "commit"}


def test_a_rollback_has_a_site_if_the_application_asked_for_it(recorder: Recorder) -> None:
    checkout = recorder.ask(recorder.pool(pool_record()))
    for cause in (None, Cause.EXCEPTION, Cause.ASKED):
        operation = recorder.operate(checkout, OperationKind.ROLLBACK, cause=cause)
        assert operation is not None
        operation.end()
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert [o.cause for o in found.operations] == [None, Cause.EXCEPTION, Cause.ASKED]
    assert [o.site is not None for o in found.operations] == [False, False, True]


def test_the_first_end_counts(recorder: Recorder) -> None:
    checkout = recorder.ask(recorder.pool(pool_record()))
    checkout.grant(1)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT")
    stage = recorder.request(request_record()).begin_stage("session")
    assert operation is not None
    for record in (operation, stage, checkout):
        record.end()
    ended = (operation.ended_ns, stage.ended_ns, checkout.returned_ns)
    operation.end(ValueError())
    stage.end()
    checkout.end(Outcome.DETACHED)
    assert (operation.ended_ns, stage.ended_ns, checkout.returned_ns) == ended
    assert (operation.error, checkout.outcome) == (None, Outcome.RETURNED)


def test_the_owner_is_the_task_or_else_the_thread(recorder: Recorder) -> None:
    async def ask() -> str:
        asyncio.current_task().set_name("Task-notes")  # type: ignore[union-attr] # runs in one
        return recorder.ask(pool).owner

    pool = recorder.pool(pool_record())
    assert asyncio.run(ask()) == "Task-notes"
    assert recorder.ask(pool).owner == "MainThread"


def test_nothing_is_recorded_after_the_stop(recorder: Recorder) -> None:
    pool = recorder.pool(pool_record())
    recorder.ask(pool)
    recorder.stop()
    recorder.ask(pool)
    recorder.stop()
    assert len(poolhog.open_trace(recorder.directory).checkouts) == 1


def test_a_full_buffer_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "COMMIT_INTERVAL_S", 3600)
    recorder = Recorder(tmp_path / "trace", most_waiting=10 * CHECKOUT_BYTES)
    pool = recorder.pool(pool_record())
    for _ in range(30):
        recorder.end(recorder.ask(pool))
    assert recorder.journal.dropped == 20
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert len(trace.checkouts) == 10
    assert all(checkout.site is not None for checkout in trace.checkouts)
    assert trace.processes[0].dropped == recorder.journal.dropped


def test_there_is_room_again_for_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not over takes room as long as it lasts."""
    monkeypatch.setattr(writer, "HEARTBEAT_NS", 0)
    recorder = Recorder(tmp_path / "trace", most_waiting=4 * CHECKOUT_BYTES)
    pool = recorder.pool(pool_record())
    kept = [recorder.ask(pool) for _ in range(3)]
    for _ in range(10):
        # The writer may have looked a moment before the last one was handed over.
        eventually(lambda: recorder.journal._limit - recorder.journal.taken >= CHECKOUT_BYTES)
        recorder.end(recorder.ask(pool))
    assert recorder.journal.dropped == 0
    for checkout in kept:
        recorder.end(checkout)
    eventually(lambda: recorder.journal._limit - recorder.journal.taken >= 4 * CHECKOUT_BYTES)
    recorder.stop()
    assert len(poolhog.open_trace(recorder.directory).checkouts) == 13


def test_a_dropped_checkout_takes_its_operations_and_samples_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_INTERVAL_S", 3600)
    recorder = Recorder(tmp_path / "trace", most_waiting=CHECKOUT_BYTES)
    pool = recorder.pool(pool_record())
    kept, dropped = recorder.ask(pool), recorder.ask(pool)
    for checkout in (kept, dropped):
        recorder.grant(checkout, 1)
    assert recorder.operate(dropped, OperationKind.STATEMENT, "SELECT 1") is None
    assert recorder.operate(kept, OperationKind.STATEMENT, "SELECT 1") is not None
    time.sleep(0.1)
    assert dropped.sample is None
    assert not dropped.operations
    recorder.stop()
    assert len(poolhog.open_trace(recorder.directory).checkouts) == 1


def test_a_statement_that_many_send_takes_room_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_INTERVAL_S", 3600)
    recorder = Recorder(tmp_path / "trace", most_waiting=100_000)
    pool = recorder.pool(pool_record())

    def send(text: str) -> None:
        checkout = recorder.ask(pool)
        operation = recorder.operate(checkout, OperationKind.STATEMENT, text)
        if operation is not None:
            operation.end()
        recorder.end(checkout)

    for _ in range(20):
        # A driver makes a new object of it each time.
        send("SELECT " + "long_name, " * 2_000)
    assert recorder.journal.dropped == 0
    for n in range(10):
        send(f"SELECT c{n}, " + "long_name, " * 2_000)
    assert 0 < recorder.journal.dropped < 10
    recorder.stop()
    statements = [o.statement for o in _operations(recorder.directory)]
    assert len(statements) == 30 - recorder.journal.dropped
    assert statements[0] is not None
    assert len(statements[0]) <= 10_002
    assert statements[0].endswith(" …")


def _operations(directory: Path) -> list[poolhog.Operation]:
    return [o for c in poolhog.open_trace(directory).checkouts for o in c.operations]


def test_texts_of_any_length_are_cut(recorder: Recorder) -> None:
    long = "x" * 100_000
    pool = recorder.pool(pool_record(long))
    request = recorder.request(RequestRecord("http", long, "/" + long))
    request.route = "/" + long
    token = current_request.set(request)
    threading.current_thread().name, before = long, threading.current_thread().name
    checkout = recorder.ask(pool)
    threading.current_thread().name = before
    current_request.reset(token)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT " + long)
    assert operation is not None
    error = type(long, (Exception,), {})()
    operation.end(error)
    request.end(error)
    recorder.end(checkout)
    kept = (request.method, request.path, checkout.owner, operation.statement, request.error)
    assert all(len(text or "") <= 10_001 for text in kept)
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert found.request is not None
    names = (found.request.method, found.owner, found.pool.name, found.request.error)
    assert [len(name or "") for name in names] == [200] * 4
    assert [len(path or "") for path in (found.request.path, found.request.route)] == [2_000] * 2
    assert all((text or "").endswith("…") for text in (*names, found.request.path))
    (ran,) = found.operations
    assert ran.error == names[3]
    assert (ran.statement or "").endswith("x …")


def test_a_fault_is_told_once_and_counted(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    for fault in ("first", "second"):
        try:
            raise RuntimeError(fault)
        except RuntimeError:
            recorder.failed()
    assert recorder.journal.errors == 2
    (told,) = caplog.records
    assert (told.name, told.levelname) == ("poolhog", "WARNING")
    assert "first" in caplog.text


def test_a_fault_that_cannot_even_be_told_is_no_fault_of_the_application(
    recorder: Recorder,
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no room in the log")

    handler = Failing()
    logging.getLogger("poolhog").addHandler(handler)
    try:
        recorder.failed()
    finally:
        logging.getLogger("poolhog").removeHandler(handler)
    assert recorder.journal.errors == 1


def test_a_checkout_whose_operations_nobody_writes_drops_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_INTERVAL_S", 3600)
    most = CHECKOUT_BYTES + 100 * OPERATION_BYTES
    recorder = Recorder(tmp_path / "trace", most_waiting=most)
    checkout = recorder.ask(recorder.pool(pool_record()))
    for _ in range(150):
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
        if operation is not None:
            operation.end()
    # Room is given for some at a time.
    kept = len(checkout.operations)
    assert 75 <= kept <= 100 + FIRST_ROOM
    assert recorder.journal.dropped == 150 - kept
    recorder.end(checkout)
    recorder.stop()
    assert len(_operations(recorder.directory)) == kept


def test_a_checkout_of_many_statements_is_written_a_few_queries_at_a_time(
    recorder: Recorder,
) -> None:
    """A new text for each: for every query, the writer may have to wait for the interpreter."""
    checkout = recorder.ask(recorder.pool(pool_record()))
    recorder.grant(checkout, 1)
    the_file(recorder.directory)
    eventually(lambda: checkout.written is not None)
    assert recorder._writer is not None
    assert recorder._writer._file is not None
    queries: list[str] = []
    recorder._writer._file._database.set_trace_callback(queries.append)
    for n in range(20_000):
        operation = recorder.operate(checkout, OperationKind.STATEMENT, f"SELECT c{n}")
        assert operation is not None
        operation.end()
    eventually(lambda: len(checkout.operations) <= 2 * OPERATIONS_PER_ROW)
    recorder.end(checkout)
    recorder.stop()
    assert recorder.journal.dropped == 0
    counts = "SELECT count(*), count(DISTINCT statement) FROM operations"
    assert rows(the_file(recorder.directory), counts) == [(20_000, 20_000)]
    assert len(queries) < 2_000


DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorders import eventually, pool_record
from poolhog.recording.descriptors import TAKEN
from poolhog.recording.recorder import Recorder

def now():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0], len(os.listdir("/proc/self/fd"))

resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
limit, number = now()
taken = limit + TAKEN, number + TAKEN
recorder = Recorder(Path(sys.argv[1]))
for _ in range(2):
    checkout = recorder.ask(recorder.pool(pool_record()))
    # The sampler and the writer use some of them for a moment.
    eventually(lambda: now() == taken)
    eventually(lambda: checkout.written is not None)
    eventually(lambda: now() == taken)
recorder.stop()
print(now() == (limit, number))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors where Linux shows them")
def test_descriptors_are_reserved_from_the_first_fact_to_the_end(tmp_path: Path) -> None:
    assert run(DESCRIPTORS, tmp_path / "trace", Path(__file__).parent) == "True\n"


def test_a_fact_without_a_site_because_there_are_too_many_is_counted(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "MOST_SITES", 40)
    pool = recorder.pool(pool_record())
    for n in range(100):
        space = {"recorder": recorder, "pool": pool, "kind": OperationKind.STATEMENT}
        code = f"""def template_{n}():
            checkout = recorder.ask(pool)
            recorder.operate(checkout, kind, "SELECT 1").end()
            recorder.end(checkout)"""
        exec(compile(code, "/app/templates.py", "exec"), space)
        template = space[f"template_{n}"]
        assert callable(template)
        template()
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    found = [c.site for c in trace.checkouts]
    found += [o.site for c in trace.checkouts for o in c.operations]
    assert len(found) == 200
    without = found.count(None)
    assert 0 < without < 200
    assert trace.processes[0].dropped == recorder.journal.dropped == without


def test_a_thread_that_cannot_start_is_tried_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = recorder.pool(pool_record())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        recorder.ask(pool)
        recorder.stop()
    assert recorder.journal.errors == 1
    recorder.journal.closed = False
    recorder.ask(pool)
    recorder.stop()
    assert len(poolhog.open_trace(recorder.directory).checkouts) == 2


def test_what_is_lent_before_the_first_thread_runs_is_looked_at(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    # Another thread is about to start the writer: this one does not wait for it.
    recorder._starting.acquire()
    early = recorder.ask(pool)
    recorder.grant(early, 0)
    recorder._starting.release()
    recorder.grant(recorder.ask(pool), 1)
    eventually(lambda: early.looks is not None)
    recorder.stop()


def test_a_relative_directory_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(Path("trace"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    recorder.ask(recorder.pool(pool_record()))
    recorder.stop()
    assert list((tmp_path / "trace").glob("*.sqlite"))


FORK = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from recorders import pool_record
from poolhog.recording.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]))
pool = recorder.pool(pool_record())
before = recorder.ask(pool)
before.grant(1)
if {written}:
    while not list(Path(sys.argv[1]).glob("*.sqlite-wal")) or before.written is None:
        time.sleep(0.01)
child = os.fork()
for n in range({count}):
    recorder.ask(pool).grant(1)
if child == 0:
    if {orphan}:
        while not os.path.exists(sys.argv[1] + "-parent-ended"):
            time.sleep(0.01)
        time.sleep(0.3)
    sys.exit()
if {orphan}:
    recorder.stop()
    Path(sys.argv[1] + "-parent-ended").touch()
    sys.exit()
before.end()
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("written", [False, True])
def test_after_a_fork_parent_and_child_each_have_a_file(tmp_path: Path, written: bool) -> None:
    directory = tmp_path / "trace"
    run(_fork(written=written), directory)
    trace = poolhog.open_trace(directory)
    parent, child = sorted(trace.processes, key=lambda process: process.began)
    assert child.parent_pid == parent.pid
    assert parent.finished
    assert child.finished
    counts = {
        process.pid: sum(c.pool.process.pid == process.pid for c in trace.checkouts)
        for process in (parent, child)
    }
    assert counts == {parent.pid: 51, child.pid: 50}
    assert all(len(pools) == 1 for pools in _pools_by_process(trace).values())


def test_a_child_that_outlives_its_parent_loses_nothing_of_either(tmp_path: Path) -> None:
    directory = tmp_path / "trace"
    run(_fork(written=True, orphan=True), directory)
    ended = tmp_path / "trace-parent-ended"
    assert ended.exists()

    def all_finished() -> bool:
        trace = poolhog.open_trace(directory)
        return len(trace.processes) == 2 and all(p.finished for p in trace.processes)

    eventually(all_finished)
    trace = poolhog.open_trace(directory)
    assert len(trace.checkouts) == 51 + 50


def _fork(*, written: bool, orphan: bool = False, count: int = 50) -> str:

    here = str(Path(__file__).parent)
    return FORK.format(here=here, written=written, orphan=orphan, count=count)


def _pools_by_process(trace: poolhog.Trace) -> dict[int, list[poolhog.Pool]]:
    return {p.pid: [pool for pool in trace.pools if pool.process == p] for p in trace.processes}


FORK_WHILE_LOCKED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorders import pool_record
from poolhog.recording.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]))
recorder.ask(recorder.pool(pool_record()))
with recorder._writer._wake._cond:  # as the writer has it, for a moment at every tick
    child = os.fork()
    if not child:
        sys.exit()
os.waitpid(child, 0)
print("both ended")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_child_does_not_wait_for_what_its_parent_had_locked(tmp_path: Path) -> None:
    here = Path(__file__).parent
    assert run(FORK_WHILE_LOCKED, tmp_path / "trace", here) == "both ended\n"


def test_a_stopped_recorder_stays_stopped_in_a_child(tmp_path: Path) -> None:
    code = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorders import pool_record
from poolhog.recording.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]))
recorder.stop()
child = os.fork()
recorder.ask(recorder.pool(pool_record()))
if child:
    os.waitpid(child, 0)
    print(json.dumps(os.path.exists(sys.argv[1])))
"""

    assert json.loads(run(code, tmp_path / "trace", Path(__file__).parent)) is False


def test_the_process_describes_itself(recorder: Recorder) -> None:
    recorder.ask(recorder.pool(pool_record()))
    recorder.stop()
    found = meta(the_file(recorder.directory))
    assert found["schema_version"] == "3"
    assert float(found["sampling_interval_s"]) == recorder.journal.options.sampling_interval_s
    assert json.loads(found["argv"]) == [sys.executable, *kept_arguments(sys.argv)]
    assert "python" in json.loads(found["versions"])
    assert int(found["monotonic_ns"]) <= int(found["written_ns"])
    assert rows(the_file(recorder.directory), "SELECT count(*) FROM checkouts") == [(1,)]
