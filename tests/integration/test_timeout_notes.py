"""The note on a pool's timeout, in the traceback that the application's log has."""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets
import threading
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from places import line_of
from recorded_app import Recording, ask, async_engine, eventually
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

import poolhog
from poolhog import Outcome
from poolhog.recording.explanation import LONGEST_LINE, MOST_LINES, Explainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
SECRET = sa.text("SELECT 'literal of a customer', 4711, :parameter")
PARAMETER = "parameter of a customer"
SOON_S = 0.2
LATER_S = 20.0
"""Far longer than anything here takes: it is cut short."""


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@contextmanager
def pool_of(directory: Path, size: int = 1, timeout: float = SOON_S) -> Iterator[sa.Engine]:
    """An engine whose pool is waited for in threads."""
    engine = sa.create_engine(
        f"sqlite:///{directory / 'data'}",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=timeout,
        connect_args={"check_same_thread": False},
    )
    yield engine
    engine.dispose()


def note_of(error: BaseException) -> list[str]:
    """The lines of the only note that the exception has."""
    (note,) = error.__notes__
    return str(note).splitlines()


def time_out(engine: sa.Engine) -> PoolTimeout:
    with pytest.raises(PoolTimeout) as caught, Session(engine) as session:
        session.execute(ONE)
    return caught.value


async def time_out_async(engine: AsyncEngine) -> PoolTimeout:
    with pytest.raises(PoolTimeout) as caught:
        async with AsyncSession(engine) as session:
            await session.execute(ONE)
    return caught.value


def held_s(line: str) -> float:
    found = re.search(r" held one for ([\d.]+) s,", line)
    assert found is not None, line
    return float(found[1])


class Helpers:
    """Two levels of functions between who holds a connection and what it waits for."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.stop = threading.Event()

    def outer(self) -> None:
        self.inner()

    def inner(self) -> None:
        self.reached.set()
        self.stop.wait(LATER_S)

    async def outer_async(self) -> None:
        await self.inner_async()

    async def inner_async(self) -> None:
        self.reached.set()
        await asyncio.sleep(LATER_S)


@contextmanager
def holder(engine: sa.Engine, helpers: Helpers, name: str = "the-holder") -> Iterator[None]:
    """A thread that holds a connection, and waits for something else two functions deeper."""

    def hold() -> None:
        with Session(engine) as session:
            session.execute(SECRET, {"parameter": PARAMETER})
            helpers.outer()

    thread = threading.Thread(target=hold, name=name)
    thread.start()
    assert helpers.reached.wait(LATER_S)
    yield
    helpers.stop.set()
    thread.join()


def test_the_thread_that_holds_the_connection_is_named_with_the_line_where_it_is(
    recording: Recording, tmp_path: Path
) -> None:
    helpers = Helpers()
    with pool_of(tmp_path) as engine, holder(engine, helpers):
        began = time.monotonic()
        error = time_out(engine)
        passed = time.monotonic() - began
    head, line = note_of(error)
    assert head == (
        "poolhog: 1 of 1 connections of the pool 'sqlite+pysqlite' were lent, "
        "and 0 others waited for one:"
    )
    assert "hold (the-holder) held one for" in line
    # It had the connection before the wait began.
    assert SOON_S <= held_s(line) < passed + 1
    file, number = line_of(Helpers.inner, "self.stop.wait")
    assert f"now parked at {relative(file)}:{number} in Helpers.inner: self.stop.wait(" in line
    assert line.endswith("; last statement: SELECT ?, ?, ?")
    assert_told(recording, error)


def relative(file: str) -> str:
    from os.path import relpath

    return relpath(file)


def assert_told(recording: Recording, error: PoolTimeout) -> None:
    """The exception is SQLAlchemy's own but for the note, and the trace has the timeout."""
    assert str(error).startswith("QueuePool limit of size 1 overflow 0 reached, connection timed")
    outcomes = [checkout.outcome for checkout in recording.read_checkouts()]
    assert outcomes.count(Outcome.TIMEOUT) == 1


def test_the_request_that_holds_the_connection_is_named_with_the_await(
    database: LabDatabase, recording: Recording
) -> None:
    helpers = Helpers()
    app = FastAPI()

    async def work() -> PoolTimeout:
        async with async_engine(database.url, pool_size=1, pool_timeout=SOON_S) as engine:

            @app.get("/hold/{thing}")
            async def hold(thing: int) -> None:
                async with AsyncSession(engine) as session:
                    await session.execute(SECRET, {"parameter": PARAMETER})
                    await helpers.outer_async()

            task = asyncio.create_task(ask(app, "/hold/4711"))
            while not helpers.reached.is_set():
                await asyncio.sleep(0.01)
            error = await time_out_async(engine)
            task.cancel()
            await asyncio.wait([task])
            return error

    head, line = note_of(asyncio.run(work()))
    assert "1 of 1 connections of the pool 'postgresql+asyncpg' were lent" in head
    file, number = line_of(Helpers.inner_async, "await asyncio.sleep")
    place = f"{relative(file)}:{number} in Helpers.inner_async: await asyncio.sleep(LATER_S)"
    assert "  GET /hold/{thing} held one for" in line
    assert f"now parked at {place}; last statement: SELECT ?, ?, $1" in line
    assert recording.read().processes[0].errors == 0


def test_a_holder_whose_statement_runs_is_in_the_statement(
    database: LabDatabase, recording: Recording
) -> None:
    async def hold(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT pg_sleep(20)"))

    async def work() -> PoolTimeout:
        async with async_engine(database.url, pool_size=1, pool_timeout=SOON_S) as engine:
            task = asyncio.create_task(hold(engine))
            await asyncio.sleep(0)
            error = await time_out_async(engine)
            task.cancel()
            await asyncio.wait([task])
            return error

    _, line = note_of(asyncio.run(work()))
    file, number = line_of(hold, "pg_sleep")
    assert f"now in the statement at {relative(file)}:{number} in " in line
    assert line.endswith("; last statement: SELECT pg_sleep(?)")


def test_a_connection_whose_owner_is_gone_says_so(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    kept = []

    async def leave(engine: AsyncEngine) -> None:
        kept.append(await engine.connect())

    async def work() -> PoolTimeout:
        async with async_engine(database.url, pool_size=1, pool_timeout=SOON_S) as engine:
            await asyncio.create_task(leave(engine))
            error = await time_out_async(engine)
            await kept.pop().close()
            return error

    _, line = note_of(asyncio.run(work()))
    assert "leave (Task-" in line
    assert "now parked: its owner is gone" in line
    with pool_of(tmp_path) as engine:
        thread = threading.Thread(target=lambda: kept.append(engine.connect()))  # type: ignore[arg-type]
        thread.start()
        thread.join()
        _, line = note_of(time_out(engine))
        kept.clear()
    assert "now parked: its owner is gone" in line


def test_an_owner_that_asks_for_a_second_connection_is_seen_to_wait_for_it(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    async def ask_twice(engine: AsyncEngine) -> PoolTimeout:
        async with engine.connect() as connection:
            await connection.execute(ONE)
            with pytest.raises(PoolTimeout) as caught:
                await engine.connect()
            return caught.value

    def ask_twice_in_thread(engine: sa.Engine) -> PoolTimeout:
        with engine.connect() as connection:
            connection.execute(ONE)
            with pytest.raises(PoolTimeout) as caught:
                engine.connect()
            return caught.value

    async def work() -> PoolTimeout:
        async with async_engine(database.url, pool_size=1, pool_timeout=SOON_S) as engine:
            return await ask_twice(engine)

    _, line = note_of(asyncio.run(work()))
    file, number = line_of(ask_twice, "await engine.connect()")
    place = f"{relative(file)}:{number}"
    assert f"now waiting for another connection at {place} in " in line
    with pool_of(tmp_path) as engine:
        _, line = note_of(ask_twice_in_thread(engine))
    file, number = line_of(ask_twice_in_thread, "                engine.connect()")
    assert f"now waiting for another connection at {relative(file)}:{number} in " in line


def test_the_others_that_wait_are_counted(recording: Recording, tmp_path: Path) -> None:
    helpers = Helpers()
    with pool_of(tmp_path, timeout=LATER_S) as engine, holder(engine, helpers):
        waiting = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(3)]
        for thread in waiting:
            thread.start()
        installed = poolhog._installation
        assert installed is not None
        eventually(lambda: len(installed.recorder.journal.open) == 4)
        assert isinstance(engine.pool, QueuePool)
        engine.pool._timeout = SOON_S
        head, _ = note_of(time_out(engine))
        helpers.stop.set()
        for thread in waiting:
            thread.join()
    assert head.endswith("and 3 others waited for one:")


def test_a_large_pool_is_told_of_in_a_few_lines(recording: Recording, tmp_path: Path) -> None:
    statement = sa.text(f"SELECT {', '.join(f'{n} AS column_{n}' for n in range(500))}")
    with pool_of(tmp_path, size=60) as engine, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(engine.connect()).execute(statement)
        head, *lines = note_of(time_out(engine))
    assert "60 of 60 connections" in head
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == f"  and {60 - MOST_LINES} more"
    assert max(len(line) for line in lines) <= LONGEST_LINE
    # The longest is first: who lets go of that helps the most.
    times = [held_s(line) for line in lines[:-1]]
    assert times == sorted(times, reverse=True)


def test_nothing_of_a_customer_is_in_the_note(recording: Recording, tmp_path: Path) -> None:
    with pool_of(tmp_path) as engine, holder(engine, Helpers()):
        note = "\n".join(note_of(time_out(engine)))
    assert "of a customer" not in note
    assert "4711" not in note


def test_asyncpgs_timeout_is_explained(database: LabDatabase, recording: Recording) -> None:
    helpers = Helpers()

    async def hold(pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection:
            await connection.fetchval("SELECT $1::text || 'literal of a customer'", PARAMETER)
            await helpers.outer_async()

    async def work() -> BaseException:
        async with asyncpg.create_pool(database.url, min_size=1, max_size=1) as pool:
            task = asyncio.create_task(hold(pool))
            while not helpers.reached.is_set():
                await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError) as caught:
                await pool.acquire(timeout=SOON_S)
            task.cancel()
            await asyncio.wait([task])
            return caught.value

    error = asyncio.run(work())
    head, line = note_of(error)
    assert str(error) == ""
    assert "1 of 1 connections" in head
    file, number = line_of(Helpers.inner_async, "await asyncio.sleep")
    assert f"now parked at {relative(file)}:{number} in Helpers.inner_async" in line
    assert line.endswith("; last statement: SELECT $1::text || ?")


@pytest.mark.parametrize("is_async", [False, True])
def test_psycopg_pools_timeout_is_explained(
    database: LabDatabase, recording: Recording, is_async: bool
) -> None:
    error = asyncio.run(_psycopg_async(database)) if is_async else _psycopg(database)
    head, line = note_of(error)
    assert str(error) == f"couldn't get a connection after {SOON_S:.2f} sec"
    assert "1 of 1 connections" in head
    function: Callable[..., Any] = Helpers.inner_async if is_async else Helpers.inner
    file, number = line_of(function, "LATER_S")
    assert f"now parked at {relative(file)}:{number} in {function.__qualname__}" in line
    assert line.endswith("; last statement: SELECT %s || ?")


def _psycopg(database: LabDatabase) -> BaseException:
    helpers = Helpers()

    def hold() -> None:
        with pool.connection() as connection:
            connection.execute("SELECT %s || 'literal of a customer'", [PARAMETER])
            helpers.outer()

    with psycopg_pool.ConnectionPool(database.url, min_size=1, max_size=1) as pool:
        thread = threading.Thread(target=hold)
        thread.start()
        assert helpers.reached.wait(LATER_S)
        with pytest.raises(psycopg_pool.PoolTimeout) as caught, pool.connection(SOON_S):
            pass
        helpers.stop.set()
        thread.join()
        return caught.value


async def _psycopg_async(database: LabDatabase) -> BaseException:
    helpers = Helpers()

    async def hold() -> None:
        async with pool.connection() as connection:
            await connection.execute("SELECT %s || 'literal of a customer'", [PARAMETER])
            await helpers.outer_async()

    async with psycopg_pool.AsyncConnectionPool(database.url, min_size=1, max_size=1) as pool:
        task = asyncio.create_task(hold())
        while not helpers.reached.is_set():
            await asyncio.sleep(0.01)
        with pytest.raises(psycopg_pool.PoolTimeout) as caught:
            async with pool.connection(SOON_S):
                pass
        task.cancel()
        await asyncio.wait([task])
        return caught.value


def test_an_exception_that_is_raised_again_is_explained_once(
    recording: Recording, tmp_path: Path
) -> None:
    def through_layers() -> None:
        try:
            with Session(engine) as outer, Session(engine) as inner:
                try:
                    inner.execute(ONE)
                except PoolTimeout:
                    outer.rollback()
                    raise
        except PoolTimeout as error:
            raise error from None

    with (
        pool_of(tmp_path) as engine,
        holder(engine, Helpers()),
        pytest.raises(PoolTimeout) as caught,
    ):
        through_layers()
    assert len(caught.value.__notes__) == 1


def test_a_note_that_cannot_be_written_leaves_the_exception_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(Explainer, "_note", fail)
    directory = poolhog.install(tmp_path / "trace")
    try:
        with pool_of(tmp_path) as engine, holder(engine, Helpers()):
            error = time_out(engine)
    finally:
        poolhog.uninstall()
    assert not hasattr(error, "__notes__")
    # Nothing of poolhog's own failure is told as its context.
    assert not isinstance(error.__context__, ZeroDivisionError)
    trace = poolhog.open_trace(directory)
    assert trace.processes[0].errors == 1
    assert [c.outcome for c in trace.checkouts] == [Outcome.RETURNED, Outcome.TIMEOUT]


def test_many_timeouts_at_once_do_not_cost_a_note_each(
    database: LabDatabase, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that is exhausted times out for all that wait, in an event loop that has to go on."""
    explain, note = Explainer.explain, Explainer._note
    explaining: list[float] = []
    writing: list[float] = []

    def timed(durations: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                durations.append(time.thread_time() - began)

        return measured

    monkeypatch.setattr(Explainer, "explain", timed(explaining, explain))
    monkeypatch.setattr(Explainer, "_note", timed(writing, note))

    async def work() -> list[BaseException]:
        async with (
            async_engine(database.url, pool_size=40, pool_timeout=0.5) as engine,
            AsyncExitStack() as stack,
        ):
            for _ in range(40):
                connection = await stack.enter_async_context(engine.connect())
                await connection.execute(ONE)
            return await asyncio.gather(*(time_out_async(engine) for _ in range(500)))

    errors = asyncio.run(work())
    assert len(errors) == len(explaining) == 500
    assert all(len(error.__notes__) == 1 for error in errors)
    assert len(writing) < 50
    # A tenth of what it would take to write one for each.
    assert sum(explaining) < 500 * sorted(writing)[len(writing) // 2] / 10
    assert recording.read().processes[0].errors == 0


def test_the_name_of_a_pool_that_is_chosen_by_the_application_is_in_the_note(
    recording: Recording, tmp_path: Path
) -> None:
    name = f"orders-{secrets.token_hex(4)}"
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=SOON_S,
        pool_logging_name=name,
    )
    with engine.connect():
        head, _ = note_of(time_out(engine))
    engine.dispose()
    assert f"of the pool {name!r} were lent" in head


def test_a_holder_in_a_library_alone_is_at_that_librarys_line(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    # One that is never the application.
    (packages / "uvicorn_worker.py").write_text(
        "async def drain(engine, lent, writable):\n"
        "    async with engine.connect():\n"
        "        lent.set()\n"
        "        await writable.wait()\n"
    )
    monkeypatch.syspath_prepend(str(packages))
    uvicorn_worker = importlib.import_module("uvicorn_worker")

    async def main() -> PoolTimeout:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path / 'data'}",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=SOON_S,
        )
        lent, writable = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(uvicorn_worker.drain(engine, lent, writable))
        await lent.wait()
        error = await time_out_async(engine)
        writable.set()
        await task
        await engine.dispose()
        return error

    _, line = note_of(asyncio.run(main()))
    assert "uvicorn_worker.py:4 in drain: await writable.wait()" in line
    assert "locks.py" not in line
