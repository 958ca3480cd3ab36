"""What goes wrong around an application: it behaves as without poolhog, and the trace tells.

A scenario runs twice, bare and recorded, and returns what the application noticed of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import weakref
from collections import Counter
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg_pool
import pytest
import recorded_app
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from invariants import check_trace
from recorded_app import DEADLINE_S, Recording, async_engine, async_url, eventually
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.responses import StreamingResponse

import poolhog
from poolhog import Checkout, OperationKind, Outcome, Trace
from poolhog.recording.pools import PoolRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
COMMIT_INTERVAL_S = 0.1
PROMISE_S = 0.25
"""What is older than this when a process is killed is on disk."""


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    yield
    poolhog.uninstall()


def both(directory: Path, scenario: Callable[[], Any]) -> Trace:
    """Run the scenario bare and recorded; the trace, if the application noticed no difference."""
    bare = scenario()
    recording = Recording(directory / "trace")
    recorded = scenario()
    assert recorded == bare
    assert bare, "the scenario shows nothing"
    trace = recording.read()
    check_trace(trace)
    return trace


def told(error: BaseException) -> tuple[str, str]:
    """What an application's log has of an exception, but for what is never the same."""
    return type(error).__name__, re.sub(r"0x[0-9a-f]+|\d+", "#", str(error))


def outcomes(trace: Trace) -> list[Outcome]:
    return [checkout.outcome for checkout in trace.checkouts]


# A process that ends.


class Service:
    """A recorded service in a process of its own, and a client that remembers its answers."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        command = [sys.executable, recorded_app.__file__, str(directory), url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.answered_ns: list[int] = []

    def ask_until_it_is_gone(self) -> None:
        with suppress(OSError), closing(HTTPConnection("127.0.0.1", self.port, 30)) as connection:
            while True:
                connection.request("GET", "/sleep/0.001")
                if connection.getresponse().read() == b'"awake"':
                    self.answered_ns.append(time.monotonic_ns())

    @contextmanager
    def under_load(self) -> Iterator[None]:
        clients = [threading.Thread(target=self.ask_until_it_is_gone) for _ in range(2)]
        for client in clients:
            client.start()
        eventually(lambda: len(self.answered_ns) > 50)
        yield
        for client in clients:
            client.join()


@pytest.fixture
def service(database: LabDatabase, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "trace", database.url)
    with service.process:
        yield service
        service.process.kill()


def test_what_was_answered_before_a_kill_is_in_the_trace(service: Service) -> None:
    with service.under_load():
        time.sleep(2 * PROMISE_S)
        service.process.send_signal(signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        service.process.wait()
    trace = poolhog.open_trace(service.directory)
    check_trace(trace)
    assert not trace.processes[0].finished
    # A busy machine may be late, but not by more than a few commits.
    assert trace.at(killed_ns) - trace.until < 2 * PROMISE_S
    ended = [r.ended for r in trace.requests if r.ended is not None]
    written = [a for a in map(trace.at, service.answered_ns) if a < trace.until - COMMIT_INTERVAL_S]
    assert 0 < len(written) <= len(ended)
    # Every answer had a connection, which was returned before.
    returned = [c for c in trace.checkouts if c.outcome is Outcome.RETURNED]
    assert len(written) <= len(returned)
    assert len(trace.checkouts) - len(returned) <= 2


def test_all_that_was_answered_before_the_end_is_in_the_trace(service: Service) -> None:
    """The server answers what it has begun, and ends itself by the same signal."""
    with service.under_load():
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(DEADLINE_S) in (0, -signal.SIGTERM)
    trace = poolhog.open_trace(service.directory)
    check_trace(trace)
    assert trace.processes[0].finished
    assert len([r for r in trace.requests if r.status == 200]) >= len(service.answered_ns)
    assert set(outcomes(trace)) == {Outcome.RETURNED}


PROGRAM = """
import json, logging, os, resource, sys
import sqlalchemy as sa
directory, database, recorded = sys.argv[1:]
if recorded == "recorded":
    import poolhog
    poolhog.install(directory)
engine = sa.create_engine("sqlite:///" + database)
told = []
def use(times):
    for n in range(times):
        with engine.connect() as connection:
            told.append(connection.execute(sa.text(f"SELECT {n} AS column_{n}")).scalar())
"""
"""An application without a server, which tells what it found in the database."""


def program(
    tmp_path: Path, body: str, directory: Path | None = None
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run it bare and recorded; how the latter ended, and where its trace is."""
    directory = directory or tmp_path / "trace"
    file = tmp_path / "program.py"
    file.write_text(PROGRAM + body)
    ended = [
        subprocess.run(
            [sys.executable, str(file), str(directory), str(tmp_path / "data"), mode],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        for mode in ("bare", "recorded")
    ]
    bare, recorded = ended
    assert (recorded.returncode, recorded.stdout) == (bare.returncode, bare.stdout)
    assert bare.stdout, bare.stderr
    return recorded, directory


def test_a_fork_after_a_connect_is_two_processes(tmp_path: Path) -> None:
    recorded, directory = program(
        tmp_path,
        """
use(3)
kept = engine.connect()
kept.execute(sa.text("SELECT 1"))
child = os.fork()
if child == 0:
    engine.dispose(close=False)
    use(5)
    print(json.dumps(told), flush=True)
    sys.exit(3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
kept.close()
use(1)
print(json.dumps([status, *told]))
""",
    )
    assert recorded.stderr == ""
    trace = poolhog.open_trace(directory)
    check_trace(trace)
    assert len(trace.processes) == 2
    of_process = Counter(c.pool.process.pid for c in trace.checkouts)
    parent, child = sorted(trace.processes, key=lambda process: process.began)
    assert child.parent_pid == parent.pid
    assert (of_process[parent.pid], of_process[child.pid]) == (5, 5)
    assert set(outcomes(trace)) == {Outcome.RETURNED}


def test_a_file_that_may_not_grow_ends_the_trace_and_not_the_application(tmp_path: Path) -> None:
    recorded, directory = program(
        tmp_path,
        """
use(5)
import time
time.sleep(0.3)
if recorded == "recorded":
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
use(1000)
print(json.dumps(told))
""",
    )
    assert recorded.stderr.count("poolhog failed to record a fact and goes on") == 1
    trace = poolhog.open_trace(directory)
    assert 5 <= len(trace.checkouts) < 1005
    assert set(outcomes(trace)[:-1]) == {Outcome.RETURNED}
    # Of a process that could not write its end, nobody claims that nothing is missing.
    assert not trace.processes[0].finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system can only be mounted by root: {error}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_loses_nothing_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}")
    directory = poolhog.install(small_disk / "trace")
    installed = poolhog._installation
    assert installed is not None
    with engine.connect() as connection:
        connection.execute(ONE)
    installed.recorder.settle()
    filling = small_disk / "other"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    found = []
    for n in range(2000):
        with engine.connect() as connection:
            found.append(connection.execute(sa.text(f"SELECT {n}")).scalar())
    assert found == list(range(2000))
    eventually(lambda: installed.recorder.journal.errors)
    filling.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    poolhog.uninstall()
    engine.dispose()
    trace = poolhog.open_trace(directory)
    assert outcomes(trace) == [Outcome.RETURNED] * 2001
    (process,) = trace.processes
    assert process.errors > 0
    assert process.dropped == 0
    assert process.finished


def test_a_deleted_trace_is_begun_anew(tmp_path: Path) -> None:
    recorded, directory = program(
        tmp_path,
        """
import shutil, time
use(3)
kept = engine.connect()
kept.execute(sa.text("SELECT 1"))
time.sleep(0.3)
shutil.rmtree(directory, ignore_errors=True)
use(2)
time.sleep(0.5)
kept.close()
print(json.dumps(told))
""",
    )
    assert recorded.stderr.count("poolhog failed to record a fact and goes on") == 1
    trace = poolhog.open_trace(directory)
    # What was open when it was deleted is there again, what was over is gone.
    assert outcomes(trace) == [Outcome.RETURNED] * 3
    assert trace.processes[0].errors == 1
    assert trace.processes[0].finished
    assert all(o.site is not None for c in trace.checkouts for o in c.operations if o.statement)


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    recorded, directory = program(
        tmp_path,
        """
import time
for _ in range(4):
    use(10)
    time.sleep(0.15)
print(json.dumps(told))
""",
        directory=tmp_path / "file" / "trace",
    )
    assert recorded.stderr.count("poolhog failed to record a fact and goes on") == 1
    assert recorded.stderr.count("Traceback") == 1
    with pytest.raises(poolhog.TraceError):
        poolhog.open_trace(directory)


def test_what_cannot_be_written_takes_little_memory(tmp_path: Path) -> None:
    """Statements of 100 kB, which were 1.2 GB; what there was no room for is counted."""
    _, directory = program(
        tmp_path,
        """
import time
engine = sa.create_engine("sqlite://")
use(1)
time.sleep(0.3)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = most()
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
for n in range(8000):
    with engine.connect() as connection:
        sql = f"SELECT {n} AS column_{n}, '" + "x" * 100_000 + "'"
        told.append(connection.exec_driver_sql(sql).scalar())
grown = most() - before
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
if recorded == "recorded":
    recorder = poolhog._installation.recorder
    while recorder._writer._pending:
        recorder.settle()
with open(f"{directory}-{recorded}", "w") as file:
    file.write(str(grown))
print(json.dumps(told))
""",
    )
    used_kb = {mode: int((tmp_path / f"trace-{mode}").read_text()) for mode in ("bare", "recorded")}
    assert used_kb["recorded"] - used_kb["bare"] < 100_000
    trace = poolhog.open_trace(directory)
    (process,) = trace.processes
    without = [c for c in trace.checkouts if not any(o.statement for o in c.operations)]
    missing = 8001 - len(trace.checkouts) + len(without)
    assert missing > 500
    # A sample may be among what there was no room for.
    assert missing <= process.dropped <= missing + 20
    assert process.finished


@pytest.mark.parametrize("soft", [40, 64, 256])
@pytest.mark.parametrize("above", [0, 1000], ids=["to-the-limit", "below-the-limit"])
def test_an_application_can_open_as_many_files_as_without_poolhog(
    tmp_path: Path, soft: int, above: int
) -> None:
    recorded, directory = program(
        tmp_path,
        f"""
import time
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {soft + above}))
def use_if_possible():
    try:
        use(1)
    except sa.exc.OperationalError as error:
        told.append(str(error.orig))
def fill():
    found = []
    try:
        while True:
            found.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        told.append([len(found), error.errno])
    return found
use(1)
# While its file is made, poolhog has none of its descriptors.
time.sleep(0.5)
for _ in range(5):
    engine.dispose()
    files = fill()
    use_if_possible()
    time.sleep(0.12)
    told.append(len(fill()))
    for file in files:
        os.close(file)
    use_if_possible()
print(json.dumps(told))
""",
    )
    if above:
        assert recorded.stderr == ""
        trace = poolhog.open_trace(directory)
        assert outcomes(trace).count(Outcome.RETURNED) == 6
        assert trace.processes[0].finished
        assert all(c.site is not None and c.site.source for c in trace.checkouts)
    else:
        assert recorded.stderr.count("poolhog records nothing: this process may open") == 1
        assert len(recorded.stderr.splitlines()) == 1
        assert not directory.exists()


def test_engines_that_are_gone_leave_nothing_in_memory(tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(o, PoolRecord) for o in gc.get_objects())

    # Other tests of this process may have left some.
    before = alive()
    directory = poolhog.install(tmp_path / "trace")
    kept = []
    for n in range(2000):
        engine = sa.create_engine("sqlite://", logging_name=str(n), pool_logging_name=str(n))
        with engine.connect() as connection:
            connection.execute(ONE)
        engine.dispose()
        if n % 500 == 0:
            kept.append(engine)
    del engine, connection
    installed = poolhog._installation
    assert installed is not None
    installed.recorder.settle()
    # Those that were kept, and the few whose checkouts are in the writer's hands.
    eventually(lambda: alive() <= before + len(kept) + 5)
    for engine in kept:
        with engine.connect() as connection:
            connection.execute(ONE)
    poolhog.uninstall()
    trace = poolhog.open_trace(directory)
    names = [pool.name for pool in trace.pools]
    # An engine that is disposed of gets another pool of that name.
    assert {int(name) for name in names} == set(range(2000))
    assert len(names) == 2000 + len(kept)
    assert len(trace.checkouts) == 2004
    assert trace.processes[0].dropped == 0


# A connection that is lost.


def end_backend(url: str, pid: int) -> None:
    """Have the server end a connection, as an administrator or a failover does."""

    async def end() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("SELECT pg_terminate_backend($1)", pid)
        while await connection.fetchval("SELECT 1 FROM pg_stat_activity WHERE pid = $1", pid):
            await asyncio.sleep(0.01)
        await connection.close()

    thread = threading.Thread(target=asyncio.run, args=[end()])
    thread.start()
    thread.join()


PID = "SELECT pg_backend_pid()"


def lose_with_psycopg(url: str) -> list[Any]:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    found: list[Any] = []
    try:
        with engine.begin() as connection:
            end_backend(url, connection.execute(sa.text(PID)).scalar_one())
            connection.execute(ONE)
    except sa.exc.DBAPIError as error:
        found.append((told(error), error.connection_invalidated))
    with engine.connect() as connection:
        found.append(connection.execute(ONE).scalar())
    engine.dispose()
    return found


async def lose_with_engine(url: str) -> list[Any]:
    found: list[Any] = []
    async with async_engine(url) as engine:
        try:
            async with engine.begin() as connection:
                end_backend(url, (await connection.execute(sa.text(PID))).scalar_one())
                await connection.execute(ONE)
        except sa.exc.DBAPIError as error:
            found.append((told(error), error.connection_invalidated))
        async with AsyncSession(engine) as session:
            found.append(await session.scalar(ONE))
    return found


async def lose_with_asyncpg(url: str) -> list[Any]:
    found: list[Any] = []
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        try:
            async with pool.acquire() as connection, connection.transaction():
                end_backend(url, await connection.fetchval(PID))
                await connection.execute("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            found.append(told(error))
        found.append(await pool.fetchval("SELECT 1"))
    return found


async def lose_with_psycopg_pool(url: str) -> list[Any]:
    found: list[Any] = []
    async with psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=1) as pool:
        try:
            async with pool.connection() as connection:
                cursor = await connection.execute(PID)
                row = await cursor.fetchone()
                assert row is not None
                end_backend(url, row[0])
                await connection.execute("SELECT 1")
        except psycopg_pool.PoolTimeout:
            raise
        except Exception as error:
            found.append(told(error))
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT 1")
            found.append(await cursor.fetchone())
    return found


@pytest.mark.parametrize(
    "lose", [lose_with_psycopg, lose_with_engine, lose_with_asyncpg, lose_with_psycopg_pool]
)
def test_a_connection_that_the_server_ends_in_a_transaction(
    database: LabDatabase, tmp_path: Path, lose: Callable[[str], Any]
) -> None:
    def scenario() -> Any:
        found = lose(database.url)
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    trace = both(tmp_path, scenario)
    lost, other = trace.checkouts
    assert (lost.outcome, other.outcome) == (Outcome.RETURNED, Outcome.RETURNED)
    failed = [o for o in lost.operations if o.kind is OperationKind.STATEMENT and o.error]
    if lose is lose_with_asyncpg:
        # The pool has the connection back before the statement fails, and nothing is known of it.
        assert lost.operations[-1].statement == "SELECT ?"
    else:
        assert [o.statement for o in failed] == ["SELECT ?"]
    assert not [o for o in other.operations if o.error]


def test_disposing_of_an_engine_leaves_what_is_lent(database: LabDatabase, tmp_path: Path) -> None:
    async def dispose() -> list[Any]:
        engine = create_async_engine(async_url(database.url), pool_size=1, max_overflow=0)
        found = []
        async with engine.connect() as connection:
            found.append(await connection.scalar(ONE))
            await engine.dispose()
            found.append(await connection.scalar(ONE))
            async with engine.connect() as other:
                found.append(await other.scalar(ONE))
        await engine.dispose()
        return found

    trace = both(tmp_path, lambda: asyncio.run(dispose()))
    first, second = trace.checkouts
    assert first.pool is not second.pool
    assert outcomes(trace) == [Outcome.RETURNED] * 2
    assert len([o for o in first.operations if o.statement == "SELECT ?"]) == 2


def test_an_invalidated_connection_is_given_up_and_replaced(
    database: LabDatabase, tmp_path: Path
) -> None:
    async def invalidate() -> list[Any]:
        async with (
            async_engine(database.url, pool_size=1) as engine,
            engine.connect() as connection,
        ):
            found = [await connection.scalar(ONE)]
            await connection.invalidate()
            try:
                await connection.scalar(ONE)
            except sa.exc.PendingRollbackError as error:
                found.append(told(error))
            await connection.rollback()
            found.append(await connection.scalar(ONE))
            return found

    trace = both(tmp_path, lambda: asyncio.run(invalidate()))
    first, second = trace.checkouts
    assert outcomes(trace) == [Outcome.RETURNED] * 2
    assert first.returned is not None
    assert first.returned <= second.asked
    assert first.connection is not None
    assert second.operations[0].kind is OperationKind.CONNECT


def test_what_an_owner_awaited_lives_no_longer_than_without(
    database: LabDatabase, tmp_path: Path
) -> None:
    """The sampler looks at the future that a task waits for, which has the result."""

    class Answer:
        pass

    def answer_later() -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        loop.call_later(0.2, lambda: future.set_result(Answer()))
        return future

    async def wait() -> list[Any]:
        async with async_engine(database.url) as engine, engine.connect() as connection:
            await connection.execute(ONE)
            answer = weakref.ref(await answer_later())
            await asyncio.sleep(0)  # the event loop itself has the future until then
            return ["alive" if answer() is not None else "gone"]

    trace = both(tmp_path, lambda: asyncio.run(wait()))
    assert trace.checkouts[0].samples


# A client that goes away.


class Streaming:
    """An application that streams rows to clients, under a server, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.noticed: list[str] = []
        self._url = url

    def run(self) -> list[str]:
        """A client reads the beginning and goes; what the application noticed, in order."""
        app = FastAPI(lifespan=self._lifespan)
        app.get("/stream")(self._stream)
        app.get("/slow")(self._slow)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", loop="asyncio"))
        thread = threading.Thread(target=server.run)
        thread.start()
        eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        for path, end in (("/stream", b"row 2"), ("/slow", b"")):
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
                received = b""
                while end not in received:
                    received += connection.recv(1000)
                eventually(lambda: path in self.noticed)  # noqa: B023
            eventually(lambda: f"{path} released" in self.noticed)  # noqa: B023
        server.should_exit = True
        thread.join()
        return self.noticed

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with async_engine(self._url, pool_size=1) as self._engine:
            yield
            self.noticed.append(f"{self._checked_out()} lent at the end")

    def _checked_out(self) -> int:
        pool = self._engine.pool
        assert isinstance(pool, sa.pool.AsyncAdaptedQueuePool)
        return pool.checkedout()

    async def _stream(self) -> StreamingResponse:
        return StreamingResponse(self._rows(), media_type="text/plain")

    async def _rows(self) -> AsyncIterator[str]:
        try:
            async with self._engine.connect() as connection:
                await connection.execute(ONE)
                for n in range(100_000):
                    yield f"row {n}\n"
                    if n == 2:
                        self.noticed.append("/stream")
                    await asyncio.sleep(0.005)
        except BaseException as error:
            self.noticed.append(f"{type(error).__name__} while it streamed")
            raise
        finally:
            self.noticed.append("/stream released")

    async def _slow(self) -> str:
        async with AsyncSession(self._engine) as session:
            await session.execute(ONE)
            self.noticed.append("/slow")
            await asyncio.sleep(0.3)
            await session.execute(ONE)
        self.noticed.append("/slow released")
        return "nobody reads this"


def test_a_client_that_disconnects(database: LabDatabase, tmp_path: Path) -> None:
    trace = both(tmp_path, lambda: Streaming(database.url).run())
    streamed, slow = trace.requests
    assert [request.name for request in trace.requests] == ["GET /stream", "GET /slow"]
    assert outcomes(trace) == [Outcome.RETURNED] * 2
    assert [checkout.request for checkout in trace.checkouts] == [streamed, slow]
    assert streamed.responding is not None
    assert streamed.ended is not None
    assert slow.ended is not None
    # The handler of the other went on to its end.
    assert len([o for o in trace.checkouts[1].operations if o.statement == "SELECT ?"]) == 2


# A cancellation at every await.


@types.coroutine
def cancelled_at(
    coroutine: Coroutine[Any, Any, Any], turn: int, suspended: list[Any]
) -> Generator[Any, Any, Any]:
    """Go on with the coroutine, and cancel the task when it is suspended for the n-th time."""
    error: BaseException | None = None
    while True:
        try:
            future = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            return end.value
        suspended.append(future)
        if len(suspended) == turn:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        error = None
        try:
            yield future
        except BaseException as thrown:
            error = thrown


async def with_connection(pools: Pools) -> None:
    async with pools.engine.connect() as connection:
        await connection.execute(ONE)
        await connection.commit()


async def with_session(pools: Pools) -> None:
    async with AsyncSession(pools.engine) as session, session.begin():
        await session.execute(ONE)
        async with session.begin_nested():
            await session.execute(ONE)


async def with_asyncpg(pools: Pools) -> None:
    async with pools.asyncpg.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1")


async def with_psycopg_pool(pools: Pools) -> None:
    async with pools.psycopg.connection() as connection:
        await connection.execute("SELECT 1")


class Pools:
    """A pool of each library, new and small."""

    engine: AsyncEngine
    asyncpg: asyncpg.Pool
    psycopg: psycopg_pool.AsyncConnectionPool[Any]

    @asynccontextmanager
    async def open(self, url: str, use: Callable[[Pools], Any]) -> AsyncIterator[Pools]:
        async with contextlib.AsyncExitStack() as stack:
            if use is with_asyncpg:
                pool = asyncpg.create_pool(url, min_size=0, max_size=1)
                self.asyncpg = await stack.enter_async_context(pool)
            elif use is with_psycopg_pool:
                self.psycopg = await stack.enter_async_context(
                    psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=2, open=False)
                )
                await self.psycopg.wait()
            else:
                self.engine = await stack.enter_async_context(
                    async_engine(url, pool_size=1, pool_pre_ping=True)
                )
            yield self


async def cancel_everywhere(url: str, use: Callable[[Pools], Any]) -> list[Any]:
    """For each await: what came of a cancellation there, and whether the pool is as before."""
    found: list[Any] = []
    for turn in range(1, 200):
        suspended: list[Any] = []
        async with Pools().open(url, use) as pools:
            task = asyncio.create_task(_run(cancelled_at(use(pools), turn, suspended)))
            await asyncio.wait([task])
            told_of = "cancelled" if task.cancelled() else str(task.exception())
            # With one connection in the pool, this hangs if the last one has not come back.
            async with asyncio.timeout(DEADLINE_S):
                await use(pools)
        found.append((turn, told_of))
        if len(suspended) < turn:
            return found
    raise AssertionError("it never ends")


async def _run(awaitable: Any) -> None:
    await awaitable


@pytest.mark.parametrize("use", [with_connection, with_session, with_asyncpg, with_psycopg_pool])
def test_a_cancellation_at_every_await(
    database: LabDatabase, tmp_path: Path, use: Callable[[Pools], Any]
) -> None:
    found: list[Any] = []

    def scenario() -> list[Any]:
        found[:] = asyncio.run(cancel_everywhere(database.url, use))
        return found

    trace = both(tmp_path, scenario)
    awaits = len(found) - 1
    assert awaits >= 3
    assert found[-1] == (awaits + 1, "None")
    cancelled = [turn for turn, told_of in found if told_of == "cancelled"]
    assert len(cancelled) >= awaits - 1  # one may come too late to matter
    # Each turn asked twice, and the second one always got what it asked for.
    assert len(trace.checkouts) == 2 * len(found)
    seen = outcomes(trace)
    assert set(seen) <= {Outcome.CANCELLED, Outcome.RETURNED}
    assert seen[1::2] == [Outcome.RETURNED] * len(found)
    assert_cut_off(trace.checkouts, seen)


def assert_cut_off(checkouts: tuple[Checkout, ...], seen: list[Outcome]) -> None:
    """First the wait is cancelled, and then, ever later, what runs on the connection."""
    first = seen[0::2]
    waits = first.index(Outcome.RETURNED)
    assert Outcome.CANCELLED not in first[waits:]
    interrupted = [
        checkout
        for checkout in checkouts[0::2]
        if checkout.outcome is Outcome.RETURNED
        and any(o.error == "CancelledError" for o in checkout.operations)
    ]
    assert interrupted
