"""Why there was a rollback: somebody asked for it, an exception explains it, or neither."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import databases
import psycopg
import psycopg_pool
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException
from recorded_app import Recording, ask, async_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, registry, scoped_session, sessionmaker

import poolhog
from poolhog import Cause, OperationKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
SQL = "SELECT 1"


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def causes(recording: Recording) -> list[Cause | None]:
    """The causes of the rollbacks, and of the resets that were one."""
    return [
        operation.cause
        for checkout in recording.read_checkouts()
        for operation in checkout.operations
        if operation.kind is OperationKind.ROLLBACK
        or (operation.kind is OperationKind.RESET and operation.statement is not None)
    ]


class Failed(Exception):
    """What an application raises."""


# --- SQLAlchemy, in threads


def session_rollback(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.execute(ONE)
        session.rollback()


def rollback_while_handling(engine: sa.Engine) -> None:
    with Session(engine) as session:
        try:
            session.execute(ONE)
            raise Failed
        except Failed:
            session.rollback()


def scoped_rollback(engine: sa.Engine) -> None:
    sessions = scoped_session(sessionmaker(engine))
    sessions.execute(ONE)
    sessions.rollback()
    sessions.remove()


def session_transaction_rollback(engine: sa.Engine) -> None:
    with Session(engine) as session:
        transaction = session.begin()
        session.execute(ONE)
        transaction.rollback()


def connection_rollback(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(ONE)
        connection.rollback()


def transaction_rollback(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(ONE)
        transaction.rollback()


def session_left_by_an_exception(engine: sa.Engine) -> None:
    with suppress(Failed), Session(engine) as session:
        session.execute(ONE)
        raise Failed


def session_begin_left_by_an_exception(engine: sa.Engine) -> None:
    with suppress(Failed), Session(engine) as session, session.begin():
        session.execute(ONE)
        raise Failed


def engine_begin_left_by_an_exception(engine: sa.Engine) -> None:
    with suppress(Failed), engine.begin() as connection:
        connection.execute(ONE)
        raise Failed


def connect_left_by_an_exception(engine: sa.Engine) -> None:
    with suppress(Failed), engine.connect() as connection:
        connection.execute(ONE)
        raise Failed


def closed_in_finally(engine: sa.Engine) -> None:
    session = Session(engine)
    with suppress(Failed):
        try:
            session.execute(ONE)
            raise Failed
        finally:
            session.close()


def statement_that_fails(engine: sa.Engine) -> None:
    with pytest.raises(DBAPIError), Session(engine) as session:
        session.execute(sa.text("SELECT nonsense"))


def commit_that_fails(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        )
    with pytest.raises(DBAPIError), Session(engine) as session, session.begin():
        session.execute(sa.text("INSERT INTO late VALUES (1), (1)"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE late"))


def flush_that_fails(engine: sa.Engine) -> None:
    """SQLAlchemy rolls back by itself, and the application need not."""
    mapping = registry()
    table = sa.Table("nowhere", mapping.metadata, sa.Column("id", sa.Integer, primary_key=True))
    thing = type("Thing", (), {})
    mapping.map_imperatively(thing, table)
    with Session(engine) as session:
        session.add(thing())
        with pytest.raises(DBAPIError):
            session.flush()


def session_closed(engine: sa.Engine) -> None:
    session = Session(engine)
    session.execute(ONE)
    session.close()


def session_left(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.execute(ONE)


def connection_left(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(ONE)


def left_while_handling_an_exception_of_before(engine: sa.Engine) -> None:
    """What was wrong before it began explains nothing."""
    try:
        raise Failed
    except Failed:
        with Session(engine) as session:
            session.execute(ONE)


def generator_left_behind(engine: sa.Engine) -> None:
    """A dependency that is called by hand, and never told of the end."""

    def open_session() -> Iterator[Session]:
        session = Session(engine)
        try:
            yield session
        finally:
            session.close()

    next(open_session()).execute(ONE)
    gc.collect()


def session_forgotten(engine: sa.Engine) -> None:
    def forget() -> None:
        Session(engine).execute(ONE)

    try:
        raise Failed
    except Failed:
        forget()
        gc.collect()


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (session_rollback, [Cause.ASKED]),
        (rollback_while_handling, [Cause.ASKED]),
        (scoped_rollback, [Cause.ASKED]),
        (session_transaction_rollback, [Cause.ASKED]),
        (connection_rollback, [Cause.ASKED]),
        (transaction_rollback, [Cause.ASKED]),
        (session_left_by_an_exception, [Cause.EXCEPTION]),
        (session_begin_left_by_an_exception, [Cause.EXCEPTION]),
        (engine_begin_left_by_an_exception, [Cause.EXCEPTION]),
        (connect_left_by_an_exception, [Cause.EXCEPTION]),
        (closed_in_finally, [Cause.EXCEPTION]),
        (statement_that_fails, [Cause.EXCEPTION]),
        (commit_that_fails, []),
        (flush_that_fails, [Cause.EXCEPTION]),
        (session_closed, [None]),
        (session_left, [None]),
        (connection_left, [None]),
        (left_while_handling_an_exception_of_before, [None]),
        (generator_left_behind, [None]),
        (session_forgotten, [None]),
    ],
)
def test_sessions_and_connections(
    work: Callable[[sa.Engine], None],
    expected: list[Cause | None],
    database: LabDatabase,
    recording: Recording,
) -> None:
    engine = sa.create_engine(sa.make_url(database.url).set(drivername="postgresql+psycopg"))
    work(engine)
    engine.dispose()
    assert causes(recording) == expected


# --- SQLAlchemy, in tasks


async def async_session_rollback(engine: Any) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(ONE)
        await session.rollback()


async def async_rollback_while_handling(engine: Any) -> None:
    async with AsyncSession(engine) as session:
        try:
            await session.execute(ONE)
            raise Failed
        except Failed:
            await session.rollback()


async def async_connection_rollback(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.execute(ONE)
        await connection.rollback()


async def async_transaction_rollback(engine: Any) -> None:
    async with engine.connect() as connection:
        transaction = await connection.begin()
        await connection.execute(ONE)
        await transaction.rollback()


async def async_session_left_by_an_exception(engine: Any) -> None:
    with suppress(Failed):
        async with AsyncSession(engine) as session:
            await session.execute(ONE)
            raise Failed


async def async_session_begin_left_by_an_exception(engine: Any) -> None:
    with suppress(Failed):
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(ONE)
            raise Failed


async def sessionmaker_begin_left_by_an_exception(engine: Any) -> None:
    with suppress(Failed):
        async with async_sessionmaker(engine).begin() as session:
            await session.execute(ONE)
            raise Failed


async def async_engine_begin_left_by_an_exception(engine: Any) -> None:
    with suppress(Failed):
        async with engine.begin() as connection:
            await connection.execute(ONE)
            raise Failed


async def async_connect_left_by_an_exception(engine: Any) -> None:
    with suppress(Failed):
        async with engine.connect() as connection:
            await connection.execute(ONE)
            raise Failed


async def async_closed_in_finally(engine: Any) -> None:
    session = AsyncSession(engine)
    with suppress(Failed):
        try:
            await session.execute(ONE)
            raise Failed
        finally:
            await session.close()


async def async_cancelled(engine: Any) -> None:
    async def wait() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(ONE)
            begun.set()
            await asyncio.sleep(30)

    begun = asyncio.Event()
    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def async_statement_that_fails(engine: Any) -> None:
    with pytest.raises(DBAPIError):
        async with AsyncSession(engine) as session:
            await session.execute(sa.text("SELECT nonsense"))


async def async_session_closed(engine: Any) -> None:
    session = AsyncSession(engine)
    await session.execute(ONE)
    await session.close()


async def async_session_left(engine: Any) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(ONE)


async def async_connection_left(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.execute(ONE)


async def async_left_while_handling_an_exception_of_before(engine: Any) -> None:
    try:
        raise Failed
    except Failed:
        async with AsyncSession(engine) as session:
            await session.execute(ONE)


async def async_generator_left_behind(engine: Any) -> None:
    """The loop over a dependency that returns from within."""

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    async def use() -> None:
        async for session in open_session():
            await session.execute(ONE)
            return

    await use()
    gc.collect()
    while engine.pool.checkedout():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (async_session_rollback, [Cause.ASKED]),
        (async_rollback_while_handling, [Cause.ASKED]),
        (async_connection_rollback, [Cause.ASKED]),
        (async_transaction_rollback, [Cause.ASKED]),
        (async_session_left_by_an_exception, [Cause.EXCEPTION]),
        (async_session_begin_left_by_an_exception, [Cause.EXCEPTION]),
        (sessionmaker_begin_left_by_an_exception, [Cause.EXCEPTION]),
        (async_engine_begin_left_by_an_exception, [Cause.EXCEPTION]),
        (async_connect_left_by_an_exception, [Cause.EXCEPTION]),
        (async_closed_in_finally, [Cause.EXCEPTION]),
        (async_cancelled, [Cause.EXCEPTION]),
        (async_statement_that_fails, [Cause.EXCEPTION]),
        (async_session_closed, [None]),
        (async_session_left, [None]),
        (async_connection_left, [None]),
        (async_left_while_handling_an_exception_of_before, [None]),
        (async_generator_left_behind, [None]),
    ],
)
def test_asynchronous_sessions_and_connections(
    work: Callable[[Any], Coroutine[Any, Any, None]],
    expected: list[Cause | None],
    database: LabDatabase,
    recording: Recording,
) -> None:
    async def main() -> None:
        engine = create_async_engine(async_url(database.url))
        await work(engine)
        await engine.dispose()

    asyncio.run(main())
    assert causes(recording) == expected


def test_a_savepoint_that_is_rolled_back_is_no_rollback(
    database: LabDatabase, recording: Recording
) -> None:
    async def main() -> None:
        engine = create_async_engine(async_url(database.url))
        async with AsyncSession(engine) as session, session.begin():
            nested = await session.begin_nested()
            await session.execute(ONE)
            await nested.rollback()
        await engine.dispose()

    asyncio.run(main())
    assert causes(recording) == []


# --- FastAPI's dependencies


@pytest.mark.parametrize("path", ["/broken", "/refused", "/fine"])
@pytest.mark.parametrize("style", ["async", "async-finally", "sync", "sync-finally"])
def test_a_dependency_that_an_exception_ends(
    style: str, path: str, database: LabDatabase, recording: Recording
) -> None:
    asyncio.run(ask_service(style, path, database.url))
    assert causes(recording) == [None if path == "/fine" else Cause.EXCEPTION]


async def ask_service(style: str, path: str, url: str) -> None:
    async_engine = create_async_engine(async_url(url))
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))

    async def with_block() -> AsyncIterator[Any]:
        async with AsyncSession(async_engine) as session:
            yield await session.execute(ONE)

    async def with_finally() -> AsyncIterator[Any]:
        session = AsyncSession(async_engine)
        try:
            yield await session.execute(ONE)
        finally:
            await session.close()

    def with_sync_block() -> Iterator[Any]:
        with Session(engine) as session:
            yield session.execute(ONE)

    def with_sync_finally() -> Iterator[Any]:
        session = Session(engine)
        try:
            yield session.execute(ONE)
        finally:
            session.close()

    styles: dict[str, Callable[[], Any]] = {
        "async": with_block,
        "async-finally": with_finally,
        "sync": with_sync_block,
        "sync-finally": with_sync_finally,
    }
    app = FastAPI(dependencies=[Depends(styles[style])])

    @app.get("/broken")
    async def broken() -> str:
        raise Failed

    @app.get("/refused")
    async def refused() -> str:
        raise HTTPException(409)

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    if path == "/broken":
        with suppress(Failed):
            await ask(app, path)
    else:
        await ask(app, path)
    await async_engine.dispose()
    engine.dispose()


# --- asyncpg, databases


async def asyncpg_block_left_by_an_exception(pool: Any) -> None:
    with suppress(Failed):
        async with pool.acquire() as connection, connection.transaction():
            raise Failed


async def asyncpg_rollback(pool: Any) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await transaction.rollback()


async def asyncpg_rollback_while_handling(pool: Any) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            raise Failed
        except Failed:
            await transaction.rollback()


async def asyncpg_statement(pool: Any) -> None:
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")
        await connection.execute("ROLLBACK")


async def asyncpg_left_open(pool: Any) -> None:
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")


async def asyncpg_left_open_by_an_exception(pool: Any) -> None:
    with suppress(Failed):
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            raise Failed


async def asyncpg_released_in_finally(pool: Any) -> None:
    connection = await pool.acquire()
    with suppress(Failed):
        try:
            await connection.execute("BEGIN")
            raise Failed
        finally:
            await pool.release(connection)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (asyncpg_block_left_by_an_exception, [Cause.EXCEPTION, None]),
        (asyncpg_rollback, [Cause.ASKED, None]),
        (asyncpg_rollback_while_handling, [Cause.ASKED, None]),
        (asyncpg_statement, [Cause.ASKED, None]),
        (asyncpg_left_open, [None]),
        (asyncpg_left_open_by_an_exception, [Cause.EXCEPTION]),
        (asyncpg_released_in_finally, [Cause.EXCEPTION]),
    ],
)
def test_asyncpg(
    work: Callable[[Any], Coroutine[Any, Any, None]],
    expected: list[Cause | None],
    database: LabDatabase,
    recording: Recording,
) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(database.url, min_size=0, max_size=1) as pool:
            await work(pool)

    asyncio.run(main())
    # A connection is always reset; where no transaction is open that undoes nothing.
    assert causes(recording) == expected


@pytest.mark.parametrize("fails", [True, False])
def test_databases(fails: bool, database: LabDatabase, recording: Recording) -> None:
    async def main() -> None:
        async with databases.Database(database.url, min_size=0, max_size=1) as pool:
            if fails:
                with suppress(Failed):
                    async with pool.transaction():
                        raise Failed
            else:
                async with pool.transaction(force_rollback=True):
                    pass

    asyncio.run(main())
    assert causes(recording)[0] is (Cause.EXCEPTION if fails else Cause.ASKED)


# --- psycopg


def psycopg_block_left_by_an_exception(pool: Any) -> None:
    with suppress(Failed), pool.connection() as connection:
        connection.execute(SQL)
        raise Failed


def psycopg_rollback(pool: Any) -> None:
    with pool.connection() as connection:
        connection.execute(SQL)
        connection.rollback()


def psycopg_rollback_while_handling(pool: Any) -> None:
    with pool.connection() as connection:
        connection.execute(SQL)
        try:
            raise Failed
        except Failed:
            connection.rollback()


def psycopg_statement(pool: Any) -> None:
    with pool.connection() as connection:
        connection.execute(SQL)
        connection.execute("ROLLBACK")


def psycopg_transaction_left_by_an_exception(pool: Any) -> None:
    with suppress(Failed), pool.connection() as connection, connection.transaction():
        raise Failed


def psycopg_transaction_rolled_back(pool: Any) -> None:
    with pool.connection() as connection, connection.transaction() as transaction:
        raise psycopg.Rollback(transaction)


def psycopg_put_back_open(pool: Any) -> None:
    connection = pool.getconn()
    connection.execute(SQL)
    pool.putconn(connection)


def psycopg_put_back_in_finally(pool: Any) -> None:
    connection = pool.getconn()
    with suppress(Failed):
        try:
            connection.execute(SQL)
            raise Failed
        finally:
            pool.putconn(connection)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (psycopg_block_left_by_an_exception, [Cause.EXCEPTION]),
        (psycopg_rollback, [Cause.ASKED]),
        (psycopg_rollback_while_handling, [Cause.ASKED]),
        (psycopg_statement, [Cause.ASKED]),
        (psycopg_transaction_left_by_an_exception, [Cause.EXCEPTION]),
        (psycopg_transaction_rolled_back, [Cause.ASKED]),
        (psycopg_put_back_open, [None]),
        (psycopg_put_back_in_finally, [Cause.EXCEPTION]),
    ],
)
def test_psycopg(
    work: Callable[[Any], None],
    expected: list[Cause | None],
    database: LabDatabase,
    recording: Recording,
) -> None:
    with psycopg_pool.ConnectionPool(database.url, min_size=1, open=True) as pool:
        work(pool)
    assert causes(recording) == expected


@pytest.mark.parametrize("fails", [True, False])
def test_asynchronous_psycopg(fails: bool, database: LabDatabase, recording: Recording) -> None:
    async def main() -> None:
        async with psycopg_pool.AsyncConnectionPool(database.url, min_size=1) as pool:
            if fails:
                with suppress(Failed):
                    async with pool.connection() as connection:
                        await connection.execute(SQL)
                        raise Failed
            else:
                async with pool.connection() as connection:
                    await connection.execute(SQL)
                    await connection.rollback()

    asyncio.run(main())
    assert causes(recording) == [Cause.EXCEPTION if fails else Cause.ASKED]
