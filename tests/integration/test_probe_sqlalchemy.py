"""The SQLAlchemy probe, on PostgreSQL through asyncpg and on SQLite in threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from recorded_app import (
    Recording,
    async_engine,
    duration,
    kinds,
    most_at_once,
    statements,
)
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, QueuePool, StaticPool
from views import idle_in_transaction, spent_by

import poolhog
from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import transactions

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from poolhog import Checkout
    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
SLEEP = sa.text("SELECT pg_sleep(:seconds)")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine whose pool is waited for in threads."""
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.1,
        connect_args={"check_same_thread": False},
    )
    yield engine
    engine.dispose()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def ended_in_order(checkout: Checkout) -> bool:
    """Whether the operations follow one another, all within the checkout."""
    instants = [checkout.asked]
    for operation in checkout.operations:
        assert operation.ended is not None
        instants += [operation.started, operation.ended]
    assert checkout.returned is not None
    return [*instants, checkout.returned] == sorted([*instants, checkout.returned])


def test_an_implicit_transaction_ends_with_a_rollback(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url) as engine, AsyncSession(engine) as session:
            await session.execute(sa.text("SELECT :n, 'literal'"), {"n": "one"})

    run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "begin", "statement", "rollback", "reset"]
    assert statements(checkout) == ["SELECT $1, ?"]
    assert (checkout.outcome, checkout.connection) == (Outcome.RETURNED, 1)
    assert (checkout.request, checkout.gave_up) == (None, None)
    assert checkout.owner.startswith("Task-")
    assert ended_in_order(checkout)
    (transaction,) = transactions(checkout, 0.0)
    assert transaction.ended_with is OperationKind.ROLLBACK


def test_an_explicit_transaction_returns_its_connection_at_its_end(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with (
            async_engine(database.url, pool_size=1) as engine,
            AsyncSession(engine) as session,
        ):
            for _ in range(2):
                async with session.begin():
                    await session.execute(ONE)

    run(work())
    first, second = recording.read_checkouts()
    assert kinds(first) == ["connect", "begin", "statement", "commit", "reset"]
    assert kinds(second) == ["begin", "statement", "commit", "reset"]
    assert (first.connection, second.connection) == (1, 1)
    assert first.returned is not None
    assert first.returned <= second.asked
    assert all(o.statement is None for o in second.operations if o.kind is OperationKind.RESET)


def test_a_commit_ends_after_its_round_trip(database: LabDatabase, recording: Recording) -> None:
    """A deferred trigger sleeps in the commit, and only there."""
    setup = (
        "CREATE TABLE slow (id integer)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    for statement in setup:
        database.query(statement)

    async def work() -> None:
        path = {"server_settings": {"search_path": database.schema}}
        async with async_engine(database.url, connect_args=path) as engine, engine.begin() as one:
            await one.execute(sa.text("INSERT INTO slow VALUES (1)"))

    run(work())
    (checkout,) = recording.read_checkouts()
    insert, commit = (o for o in checkout.operations if o.kind in ("statement", "commit"))
    assert duration(commit) >= 0.2 > duration(insert)
    database.query("DROP TABLE slow")
    database.query("DROP FUNCTION slow")


def test_a_statement_that_fails_names_its_exception(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url) as engine:
            with pytest.raises(ProgrammingError):
                async with AsyncSession(engine) as session, session.begin():
                    await session.execute(sa.text("SELECT nonsense"))

    run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "begin", "statement", "rollback", "reset"]
    errors = [operation.error for operation in checkout.operations]
    assert errors == [None, None, "ProgrammingError", None, None]
    assert ended_in_order(checkout)


def test_a_cancelled_statement_ends_and_so_does_its_checkout(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1) as engine:
            with pytest.raises(TimeoutError):
                async with AsyncSession(engine) as session, asyncio.timeout(0.2):
                    await session.execute(SLEEP, {"seconds": 30})
            async with AsyncSession(engine) as session:
                await session.execute(ONE)

    run(work())
    first, second = recording.read_checkouts()
    cancelled = next(o for o in first.operations if o.kind is OperationKind.STATEMENT)
    assert cancelled.error == "CancelledError"
    assert cancelled.ended is not None
    assert first.outcome is Outcome.RETURNED
    assert first.returned is not None
    assert first.returned <= second.asked
    assert second.outcome is Outcome.RETURNED
    assert kinds(second)[:2] == ["connect", "begin"]


def test_a_pool_timeout_is_a_wait_that_gave_up(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        options = {"pool_size": 1, "pool_timeout": 0.2}
        async with async_engine(database.url, **options) as engine, engine.connect():
            with pytest.raises(PoolTimeout):
                async with engine.connect():
                    pass

    run(work())
    holder, waiter = recording.read_checkouts()
    assert (waiter.outcome, waiter.granted, waiter.returned) == (Outcome.TIMEOUT, None, None)
    assert (waiter.connection, waiter.operations) == (None, ())
    assert waiter.gave_up is not None
    assert waiter.gave_up - waiter.asked >= 0.2
    assert holder.returned is not None
    assert holder.returned > waiter.gave_up
    assert (holder.pool.size, holder.pool.max_overflow, holder.pool.timeout) == (1, 0, 0.2)


def test_a_cancelled_wait_is_told_from_one_that_timed_out(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1) as engine, engine.connect():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), engine.connect():
                    pass

    run(work())
    waiter = recording.read_checkouts()[1]
    assert (waiter.outcome, waiter.granted) == (Outcome.CANCELLED, None)
    assert waiter.gave_up is not None


def test_a_connect_that_fails_is_an_error(recording: Recording, tmp_path: Path) -> None:
    async def work() -> None:
        url = f"postgresql://postgres@/postgres?host={tmp_path}"
        async with async_engine(url) as engine:
            with pytest.raises(OSError, match="No such file"):
                await engine.connect()

    run(work())
    (checkout,) = recording.read_checkouts()
    assert (checkout.outcome, checkout.granted) == (Outcome.ERROR, None)
    assert [(o.kind, o.error) for o in checkout.operations] == [
        ("connect", "FileNotFoundError: no server at the socket")
    ]
    assert spent_by(checkout).connecting > 0


def test_a_ping_is_part_of_the_wait(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1, pool_pre_ping=True) as engine:
            for _ in range(2):
                async with engine.connect():
                    pass

    run(work())
    fresh, pinged = recording.read_checkouts()
    assert (kinds(fresh), kinds(pinged)) == (["connect", "reset"], ["ping", "reset"])
    found = spent_by(pinged)
    assert found.pinging > 0
    assert found.connecting == 0
    ping = pinged.operations[0]
    assert ping.ended is not None
    assert pinged.granted is not None
    assert ping.ended <= pinged.granted


def test_a_connection_that_is_dead_when_pinged_is_replaced_within_the_wait(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1, pool_pre_ping=True) as engine:
            async with engine.connect() as connection:
                pid = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
            await asyncio.to_thread(database.query, f"SELECT pg_terminate_backend({pid})")
            async with engine.connect() as connection:
                await connection.execute(ONE)

    run(work())
    dead = recording.read_checkouts()[1]
    assert kinds(dead) == ["ping", "connect", "begin", "statement", "rollback", "reset"]


def test_never_more_than_size_and_overflow_and_first_come_first_served(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=2, max_overflow=1) as engine:

            async def hold() -> None:
                async with engine.connect() as connection:
                    await connection.execute(SLEEP, {"seconds": 0.02})

            await asyncio.gather(*(hold() for _ in range(12)))

    run(work())
    checkouts = recording.read_checkouts()
    assert len(checkouts) == 12
    assert most_at_once(checkouts) == 3
    assert {checkout.connection for checkout in checkouts} == {1, 2, 3}
    assert checkouts[0].pool.capacity == 3
    queued = [c.granted for c in checkouts if "connect" not in kinds(c) and c.granted is not None]
    assert len(queued) == 9
    assert queued == sorted(queued)


def test_a_savepoint_is_a_statement_and_ends_no_transaction(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with (
            async_engine(database.url) as engine,
            AsyncSession(engine) as session,
            session.begin(),
        ):
            await session.execute(ONE)
            with suppress(ProgrammingError):
                async with session.begin_nested():
                    await session.execute(sa.text("SELECT nonsense"))
            async with session.begin_nested():
                await session.execute(ONE)

    run(work())
    (checkout,) = recording.read_checkouts()
    words = [statement.split()[0] for statement in statements(checkout)]
    assert words == ["SELECT", "SAVEPOINT", "SELECT", "ROLLBACK", "SAVEPOINT", "SELECT", "RELEASE"]
    assert kinds(checkout) == ["connect", "begin", *["statement"] * 7, "commit", "reset"]
    (transaction,) = transactions(checkout, 0.0)
    assert transaction.ended_with is OperationKind.COMMIT


def test_pools_are_told_apart(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with (
            async_engine(database.url, pool_logging_name="reads", pool_size=3) as one,
            async_engine(database.url) as two,
            one.connect(),
            two.connect(),
        ):
            pass

    run(work())
    trace = recording.read()
    assert [(pool.name, pool.size, pool.kind) for pool in trace.pools] == [
        ("reads", 3, "AsyncAdaptedQueuePool"),
        ("postgresql+asyncpg", 5, "AsyncAdaptedQueuePool"),
    ]
    assert [checkout.pool for checkout in trace.checkouts] == list(trace.pools)
    assert [checkout.connection for checkout in trace.checkouts] == [1, 1]


def test_a_detached_connection_is_the_pools_no_longer(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with (
            async_engine(database.url, pool_size=1) as engine,
            engine.connect() as connection,
        ):
            await connection.run_sync(lambda connection: connection.detach())
            async with engine.connect():
                pass

    run(work())
    detached, other = recording.read_checkouts()
    assert detached.outcome is Outcome.DETACHED
    assert detached.returned is not None
    assert other.granted is not None
    assert detached.returned <= other.granted
    assert other.outcome is Outcome.RETURNED


def test_disposing_makes_another_pool(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1) as engine:
            for _ in range(2):
                async with engine.connect():
                    pass
                await engine.dispose()

    run(work())
    trace = recording.read()
    assert len(trace.pools) == 2
    assert [kinds(checkout)[0] for checkout in trace.checkouts] == ["connect", "connect"]


def test_autocommit_has_no_transaction(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with (
            async_engine(database.url, isolation_level="AUTOCOMMIT") as engine,
            engine.connect() as connection,
        ):
            await connection.execute(ONE)
            await connection.commit()
            await connection.execute(ONE)
        async with async_engine(database.url) as engine, engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(ONE)

    run(work())
    always, once = recording.read_checkouts()
    assert kinds(always) == ["connect", "statement", "statement", "reset"]
    assert kinds(once) == ["connect", "statement", "reset"]
    for checkout in (always, once):
        assert transactions(checkout, 0.0) == ()
        assert idle_in_transaction(checkout) == 0.0


def test_rows_that_are_streamed_are_fetched_while_busy(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url) as engine, AsyncSession(engine) as session:
            result = await session.stream(
                sa.text("SELECT n, pg_sleep(0.001) FROM generate_series(1, 200) AS n")
            )
            assert len([row async for row in result]) == 200

    run(work())
    (checkout,) = recording.read_checkouts()
    fetches = [o for o in checkout.operations if o.kind is OperationKind.FETCH]
    assert sum(map(duration, fetches)) >= 0.1  # all rows but the statement's first 50
    found = spent_by(checkout)
    assert found.busy > found.gap
    assert ended_in_order(checkout)


def test_a_pool_that_keeps_no_connections(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        engine = create_async_engine(
            database.url.replace("postgresql:", "postgresql+asyncpg:"), poolclass=NullPool
        )
        for _ in range(2):
            async with engine.connect():
                pass

    run(work())
    trace = recording.read()
    assert [checkout.connection for checkout in trace.checkouts] == [1, 2]
    assert (trace.pools[0].kind, trace.pools[0].size, trace.pools[0].capacity) == (
        "NullPool",
        None,
        None,
    )


def test_a_connection_that_is_forgotten_ends_when_it_is_collected(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url, pool_size=1) as engine:
            forgotten: AsyncConnection | None = await engine.connect()
            assert forgotten is not None
            await forgotten.execute(ONE)
            forgotten = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gc.collect()

    run(work())
    (checkout,) = recording.read_checkouts()
    assert checkout.outcome is Outcome.COLLECTED
    assert checkout.returned is not None


def test_sessions_in_threads(sqlite: sa.Engine, recording: Recording) -> None:
    def work() -> None:
        with Session(sqlite) as session, session.begin():
            session.execute(ONE)

    threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checkouts = recording.read_checkouts()
    assert {checkout.owner for checkout in checkouts} == {"worker-0", "worker-1"}
    assert most_at_once(checkouts) == 1
    assert sorted(map(kinds, checkouts)) == [
        ["begin", "statement", "commit", "reset"],
        ["connect", "begin", "statement", "commit", "reset"],
    ]


def test_a_thread_that_waits_in_vain(sqlite: sa.Engine, recording: Recording) -> None:
    with sqlite.connect(), pytest.raises(PoolTimeout):
        sqlite.connect()
    _, waiter = recording.read_checkouts()
    assert waiter.outcome is Outcome.TIMEOUT


def test_an_invalidated_connection_is_returned_and_replaced(
    sqlite: sa.Engine, recording: Recording
) -> None:
    with sqlite.connect() as connection:
        connection.execute(ONE)
        connection.rollback()
        connection.invalidate()
        connection.execute(ONE)
    first, second = recording.read_checkouts()
    assert first.returned is not None
    assert first.returned <= second.asked
    assert kinds(second) == ["connect", "begin", "statement", "rollback", "reset"]


def test_a_failing_statement_and_a_failing_commit_in_a_thread(
    sqlite: sa.Engine, recording: Recording
) -> None:
    with sqlite.begin() as connection:
        connection.execute(sa.text("PRAGMA foreign_keys = ON"))
        connection.execute(sa.text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        connection.execute(
            sa.text(
                "CREATE TABLE child (parent_id INTEGER"
                " REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    with pytest.raises(DBAPIError), sqlite.begin() as connection:
        connection.execute(sa.text("SELECT nonsense"))
    with pytest.raises(DBAPIError), sqlite.begin() as connection:
        connection.execute(sa.text("INSERT INTO child VALUES (7)"))
    _, statement, commit = recording.read_checkouts()
    assert [o.error for o in statement.operations] == [None, "OperationalError", None, None]
    assert kinds(commit)[:3] == ["begin", "statement", "commit"]
    assert commit.operations[2].error == "IntegrityError"
    (transaction,) = transactions(commit, 0.0)
    assert transaction.ended_with is OperationKind.ROLLBACK


def test_one_connection_for_all_is_one_connection(recording: Recording) -> None:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(ONE)
    checkouts = recording.read_checkouts()
    assert [checkout.connection for checkout in checkouts] == [1, 1]


def test_the_application_keeps_its_exceptions_and_results(
    sqlite: sa.Engine, recording: Recording
) -> None:
    """What it sees with the probe is what it sees without."""

    def behaviour() -> list[str]:
        found = []
        with ExitStack() as stack:
            connection = stack.enter_context(sqlite.connect())
            found.append(repr(connection.execute(sa.text("SELECT 1, 'a'")).all()))
            for action in (
                lambda: connection.execute(sa.text("SELECT nonsense")),
                lambda: sqlite.connect(),
            ):
                try:
                    action()
                except Exception as error:
                    found.append(f"{type(error).__name__}: {error}")
        return found

    recorded = behaviour()
    recording.read()
    assert recorded == behaviour()
