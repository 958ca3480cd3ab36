"""Every pool class and every driver that SQLAlchemy has, and pools that are inside of others."""

from __future__ import annotations

import asyncio
import functools
import gc
import sqlite3
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy as sa
from recorded_app import Recording, duration, kinds, most_at_once, statements
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool
from views import spent_by

import poolhog
from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")

SYNC = ["postgresql+psycopg", "postgresql+psycopg2", "sqlite"]
ASYNC = ["postgresql+asyncpg", "postgresql+psycopg_async", "sqlite+aiosqlite"]


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def url_of(driver: str, database: LabDatabase, directory: Path) -> sa.URL:
    if driver.startswith("sqlite"):
        return sa.make_url(f"{driver}:///{directory / 'data'}")
    return sa.make_url(database.url).set(drivername=driver)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def on_connection(url: sa.URL, work: Callable[[sa.Connection], None], **options: Any) -> None:
    """Do the work on a connection of the driver, whether it is an asynchronous one or not."""
    if url.drivername not in ASYNC:
        engine = sa.create_engine(url, **options)
        with engine.connect() as connection:
            work(connection)
        engine.dispose()
        return

    async def work_async() -> None:
        async_engine = create_async_engine(url, **options)
        async with async_engine.connect() as connection:
            await connection.run_sync(work)
        await async_engine.dispose()

    run(work_async())


def do_everything(connection: sa.Connection) -> None:
    connection.execute(sa.text("DROP TABLE IF EXISTS everything"))
    connection.execute(sa.text("CREATE TABLE everything (n integer)"))
    connection.commit()
    insert = sa.text("INSERT INTO everything VALUES (:n)")
    connection.execute(insert, [{"n": n} for n in range(5)])
    with connection.begin_nested():
        connection.execute(insert, {"n": 5})
    with pytest.raises(DBAPIError), connection.begin_nested():
        connection.execute(sa.text("SELECT nonsense"))
    connection.commit()
    rows = connection.execute(sa.text("SELECT n FROM everything")).all()
    assert len(rows) == 6
    connection.rollback()
    connection.execute(sa.text("DROP TABLE everything"))
    connection.commit()


@pytest.mark.parametrize("driver", [*SYNC, *ASYNC])
def test_every_driver_is_recorded_alike(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    on_connection(url_of(driver, database, tmp_path), do_everything)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "statement", "commit"),
        *("begin", "statement"),
        *("statement", "statement", "statement"),  # SAVEPOINT, INSERT, RELEASE
        *("statement", "statement", "statement"),  # SAVEPOINT, SELECT nonsense, ROLLBACK TO
        *("commit", "begin", "statement", "rollback"),
        *("begin", "statement", "commit", "reset"),
    ]
    words = [s.split()[0] for s in statements(checkout)]
    assert words == [
        *("DROP", "CREATE", "INSERT", "SAVEPOINT", "INSERT", "RELEASE", "SAVEPOINT"),
        *("SELECT", "ROLLBACK", "SELECT", "DROP"),
    ]
    errors = [o.statement for o in checkout.operations if o.error is not None]
    assert errors == ["SELECT nonsense"]
    ends = [t.ended_with for t in transactions(checkout, trace.until)]
    commit, rollback = OperationKind.COMMIT, OperationKind.ROLLBACK
    assert ends == [commit, commit, rollback, commit]
    assert checkout.outcome is Outcome.RETURNED
    assert checkout.pool.name.startswith(("postgresql+", "sqlite+"))
    sites = {o.site.function for o in checkout.operations if o.site is not None}
    assert sites == {"do_everything"}


@pytest.mark.parametrize("driver", [d for d in (*SYNC, *ASYNC) if d.startswith("postgresql")])
def test_rows_of_a_server_side_cursor_are_fetched_while_busy(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    slow = sa.text("SELECT n, pg_sleep(0.002) FROM generate_series(1, 100) AS n")

    def stream(connection: sa.Connection) -> None:
        options = {"stream_results": True, "max_row_buffer": 20}
        with connection.execution_options(**options).execute(slow) as result:
            assert len(result.fetchmany(30)) == 30
            assert len(list(result)) == 70

    on_connection(url_of(driver, database, tmp_path), stream)
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout)[:4] == ["connect", "begin", "statement", "fetch"]
    assert kinds(checkout)[-2:] == ["rollback", "reset"]
    fetches = [o for o in checkout.operations if o.kind is OperationKind.FETCH]
    assert len(fetches) > 3
    # asyncpg reads the first rows ahead, with the statement.
    assert sum(map(duration, fetches)) >= 0.002 * 50
    found = spent_by(checkout)
    assert found.busy > found.gap


def test_a_cursor_of_rows_that_are_all_there_is_not_fetched(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    def work(connection: sa.Connection) -> None:
        assert len(connection.execute(sa.text("SELECT 1 UNION SELECT 2")).fetchmany(1)) == 1

    on_connection(url_of("postgresql+psycopg2", database, tmp_path), work)
    (checkout,) = recording.read_checkouts()
    assert "fetch" not in kinds(checkout)


@pytest.mark.parametrize("driver", [*SYNC, *ASYNC])
def test_a_statement_that_fails_names_its_exception(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    def work(connection: sa.Connection) -> None:
        with pytest.raises(DBAPIError):
            connection.execute(sa.text("SELECT nonsense"))

    on_connection(url_of(driver, database, tmp_path), work)
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "begin", "statement", "rollback", "reset"]
    assert [o.error is not None for o in checkout.operations] == [False, False, True, False, False]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_two_phases_are_one_transaction(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    def work(connection: sa.Connection) -> None:
        for end in ("commit", "rollback"):
            transaction = connection.begin_twophase()
            connection.execute(ONE)
            getattr(transaction, end)()

    on_connection(url_of(driver, database, tmp_path), work)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "commit", "begin", "statement", "rollback", "reset")
    ]
    ends = [transaction.ended_with for transaction in transactions(checkout, trace.until)]
    assert ends == [OperationKind.COMMIT, OperationKind.ROLLBACK]


def test_the_first_phase_is_a_statement(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    def work(connection: sa.Connection) -> None:
        transaction = connection.begin_twophase()
        connection.execute(ONE)
        with pytest.raises(DBAPIError, match="prepared transactions are disabled"):
            transaction.prepare()
        transaction.rollback()

    on_connection(url_of("postgresql+psycopg2", database, tmp_path), work)
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == [*("connect", "begin", "statement", "statement", "rollback", "reset")]
    assert "PREPARE TRANSACTION" in statements(checkout)


@pytest.mark.parametrize("driver", [*SYNC, *ASYNC])
def test_autocommit_has_no_transaction(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(ONE)
        connection.commit()
        connection.execute(ONE)

    on_connection(url_of(driver, database, tmp_path), work, isolation_level="AUTOCOMMIT")
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == ["connect", "statement", "statement", "reset"]
    assert transactions(checkout, trace.until) == ()


@pytest.mark.parametrize(
    ("style", "resets"), [("rollback", ["ROLLBACK"]), ("commit", ["COMMIT"]), (None, [None])]
)
@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+psycopg"])
def test_how_a_connection_is_reset(
    driver: str,
    style: str | None,
    resets: list[str | None],
    database: LabDatabase,
    recording: Recording,
    tmp_path: Path,
) -> None:
    engine = sa.create_engine(
        url_of(driver, database, tmp_path), pool_size=1, pool_reset_on_return=style
    )
    connection = engine.raw_connection()
    connection.cursor().execute("SELECT 1")
    connection.close()
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    assert [o.statement for o in checkout.operations if o.kind is OperationKind.RESET] == resets


def test_a_recycled_connection_is_connected_in_the_wait(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    url = url_of("postgresql+psycopg", database, tmp_path)
    engine = sa.create_engine(url, pool_size=1, pool_recycle=0)
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(ONE)
        time.sleep(0.01)
    engine.dispose()
    checkouts = recording.read_checkouts()
    assert [kinds(c)[0] for c in checkouts] == ["connect", "connect"]
    assert [c.connection for c in checkouts] == [1, 1]
    assert all(c.connecting > 0 for c in checkouts)


def test_disposing_an_engine_leaves_open_checkouts_alone(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    engine = sa.create_engine(url_of("postgresql+psycopg", database, tmp_path), pool_size=1)
    with engine.connect() as connection:
        engine.dispose()
        connection.execute(ONE)
        with engine.connect() as other:
            other.execute(ONE)
    engine.dispose()
    trace = recording.read()
    first, second = trace.checkouts
    assert len(trace.pools) == 2
    assert first.pool is not second.pool
    assert first.outcome is second.outcome is Outcome.RETURNED
    assert first.returned is not None
    assert second.returned is not None
    assert first.returned > second.returned


def test_an_invalidated_connection_is_returned_at_once(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    engine = sa.create_engine(url_of("postgresql+psycopg2", database, tmp_path), pool_size=1)
    with engine.connect() as connection:
        connection.execute(ONE)
        connection.invalidate()
        connection.rollback()
        connection.execute(ONE)
    engine.dispose()
    first, second = recording.read_checkouts()
    assert (first.outcome, second.outcome) == (Outcome.RETURNED, Outcome.RETURNED)
    assert first.returned is not None
    assert first.returned <= second.asked
    assert kinds(first) == ["connect", "begin", "statement"]
    assert kinds(second)[0] == "connect"


def test_a_static_pool_lends_its_connection_several_times_at_once(recording: Recording) -> None:
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    outer, inner = engine.connect(), engine.connect()
    inner.execute(ONE)
    outer.execute(sa.text("SELECT 2"))
    outer.close()
    inner.execute(sa.text("SELECT 3"))
    inner.close()
    with engine.connect() as last:
        last.execute(sa.text("SELECT 4"))
    first, second, third = recording.read_checkouts()
    assert {c.outcome for c in (first, second, third)} == {Outcome.RETURNED}
    assert {c.connection for c in (first, second, third)} == {1}
    assert first.returned is not None
    assert second.returned is not None
    assert second.asked < first.returned < second.returned <= third.asked
    assert [kinds(c).count("statement") for c in (first, second, third)] == [1, 2, 1]
    assert first.pool.capacity is None


def test_a_forgotten_connection_of_a_static_pool_is_told_from_the_others(
    recording: Recording,
) -> None:
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    forgotten: sa.Connection | None = engine.connect()
    kept = engine.connect()
    forgotten = None
    gc.collect()
    kept.execute(ONE)
    kept.close()
    assert forgotten is None
    first, second = recording.read_checkouts()
    assert (first.outcome, second.outcome) == (Outcome.COLLECTED, Outcome.RETURNED)


def test_one_connection_per_thread(recording: Recording) -> None:
    """A thread that has its connection is lent nothing when it asks again."""
    engine = sa.create_engine("sqlite://", poolclass=SingletonThreadPool)

    def work() -> None:
        with engine.connect() as outer:
            outer.execute(ONE)
            with engine.connect() as inner:
                inner.execute(ONE)
            outer.execute(ONE)
        with engine.connect() as again:
            again.execute(ONE)

    threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace = recording.read()
    by_owner = {owner: [c for c in trace.checkouts if c.owner == owner] for owner in owners(trace)}
    assert set(by_owner) == {"worker-0", "worker-1"}
    for nested, again in by_owner.values():
        assert kinds(nested).count("statement") == 3
        assert kinds(again).count("statement") == 1
        assert nested.connection == again.connection
        assert nested.returned is not None
        assert nested.returned <= again.asked
        assert {nested.outcome, again.outcome} == {Outcome.RETURNED}
    (pool,) = trace.pools
    assert (pool.kind, pool.size, pool.capacity) == ("SingletonThreadPool", 5, None)


def owners(trace: poolhog.Trace) -> set[str]:
    return {checkout.owner for checkout in trace.checkouts}


def test_a_pool_that_asserts_gives_an_error_to_the_second(
    recording: Recording, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}", poolclass=AssertionPool)
    with engine.connect(), pytest.raises(AssertionError):
        engine.connect()
    holder, waiter = recording.read_checkouts()
    assert (holder.outcome, waiter.outcome) == (Outcome.RETURNED, Outcome.ERROR)
    assert most_at_once((holder, waiter)) == 1


def test_a_pool_without_an_engine(recording: Recording, tmp_path: Path) -> None:
    create: Any = functools.partial(sqlite3.connect, tmp_path / "data")
    pool = QueuePool(create, pool_size=2)
    connection = pool.connect()
    connection.cursor().execute("CREATE TABLE made (n integer)")
    connection.close()
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "statement", "reset"]
    assert (checkout.pool.size, checkout.pool.capacity) == (2, 12)


@pytest.mark.parametrize("poolclass", [None, NullPool])
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "sqlite"])
def test_a_forgotten_connection_is_collected(
    driver: str,
    poolclass: type[sa.Pool] | None,
    database: LabDatabase,
    recording: Recording,
    tmp_path: Path,
) -> None:
    """A driver that blocks can reset it, also in the garbage collector."""
    engine = sa.create_engine(url_of(driver, database, tmp_path), poolclass=poolclass)

    def forget() -> None:
        session = Session(engine)
        session.execute(ONE)
        del session

    forget()
    gc.collect()
    with engine.connect() as connection:
        connection.execute(ONE)
    engine.dispose()
    first, second = recording.read_checkouts()
    assert (first.outcome, second.outcome) == (Outcome.COLLECTED, Outcome.RETURNED)
    assert kinds(first)[-1] == "reset"
    assert first.operations[-1].cause is None
    assert first.returned is not None
    assert first.returned <= second.asked
    assert (first.connection == second.connection) is (poolclass is None)


@pytest.mark.parametrize("driver", ASYNC)
def test_a_forgotten_connection_of_an_asynchronous_driver_is_terminated(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    async def work() -> None:
        engine = create_async_engine(url_of(driver, database, tmp_path), pool_size=1)

        async def forget() -> None:
            connection: AsyncConnection = await engine.connect()
            await connection.execute(ONE)

        await forget()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        async with engine.connect() as connection:
            await connection.execute(ONE)
        await engine.dispose()

    run(work())
    first, second = recording.read_checkouts()
    assert (first.outcome, second.outcome) == (Outcome.COLLECTED, Outcome.RETURNED)
    assert kinds(first) == ["connect", "begin", "statement"]
    assert first.returned is not None
    assert first.returned <= second.asked
    assert kinds(second)[0] == "connect"


def test_sqlalchemy_over_a_pool_of_asyncpg_is_counted_once(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with asyncpg.create_pool(database.url, min_size=0, max_size=2) as pool:

            async def create() -> Any:
                return await asyncpg_connection(pool)

            engine = create_async_engine(
                "postgresql+asyncpg://", poolclass=NullPool, async_creator=create
            )
            for _ in range(2):
                async with engine.connect() as connection:
                    await connection.execute(ONE)
            await pool.execute("SELECT 2")

    run(work())
    trace = recording.read()
    assert [c.pool.library for c in trace.checkouts] == ["sqlalchemy", "sqlalchemy", "asyncpg"]
    assert kinds(trace.checkouts[0]) == ["connect", "begin", "statement", "rollback", "reset"]
    assert kinds(trace.checkouts[2])[-2:] == ["statement", "reset"]


async def asyncpg_connection(pool: Any) -> Any:
    return await pool.acquire()


def test_sqlalchemy_over_a_pool_of_psycopg_is_counted_once(
    database: LabDatabase, recording: Recording
) -> None:
    with psycopg_pool.ConnectionPool(
        database.url, min_size=1, max_size=2, open=True, close_returns=True
    ) as pool:
        engine = sa.create_engine("postgresql+psycopg://", poolclass=NullPool, creator=pool.getconn)
        for _ in range(2):
            with engine.connect() as connection:
                connection.execute(ONE)
        with pool.connection() as own:
            own.execute("SELECT 2")
    trace = recording.read()
    libraries = [checkout.pool.library for checkout in trace.checkouts]
    assert libraries == ["sqlalchemy", "sqlalchemy", "psycopg_pool"]
    assert kinds(trace.checkouts[1]) == ["connect", "begin", "statement", "rollback", "reset"]
    assert kinds(trace.checkouts[2]) == ["begin", "statement", "commit", "reset"]


def test_an_asynchronous_pool_of_psycopg_inside_sqlalchemy(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with psycopg_pool.AsyncConnectionPool(
            database.url, min_size=1, max_size=2, close_returns=True
        ) as pool:
            engine = create_async_engine(
                "postgresql+psycopg://", poolclass=NullPool, async_creator=pool.getconn
            )
            async with engine.connect() as connection:
                await connection.execute(ONE)

    run(work())
    (checkout,) = recording.read_checkouts()
    assert checkout.pool.library == "sqlalchemy"
    assert kinds(checkout) == ["connect", "begin", "statement", "rollback", "reset"]


def test_a_task_that_a_wait_started_asks_for_itself(
    database: LabDatabase, recording: Recording
) -> None:
    """What outlives the wait in which it began is no part of it."""

    async def work() -> None:
        async with asyncpg.create_pool(database.url, min_size=0, max_size=2) as pool:
            later: list[asyncio.Task[Any]] = []

            async def ask_later() -> None:
                await released.wait()
                await pool.execute("SELECT 2")

            async def create() -> asyncpg.Connection[Any]:
                later.append(asyncio.create_task(ask_later()))
                return await asyncpg.connect(database.url)

            released = asyncio.Event()
            engine = create_async_engine(
                "postgresql+asyncpg://", poolclass=NullPool, async_creator=create
            )
            async with engine.connect() as connection:
                await connection.execute(ONE)
                released.set()
                await later[0]

    run(work())
    trace = recording.read()
    assert [c.pool.library for c in trace.checkouts] == ["sqlalchemy", "asyncpg"]


def test_what_was_lent_before_is_returned_after_it_was_uninstalled(
    recording: Recording, tmp_path: Path
) -> None:
    """The application goes on with the objects that the probe saw, with another or without."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}", pool_size=1, max_overflow=0)
    first = engine.connect()
    first.execute(ONE)
    left_open = recording.read_checkouts()[0]
    assert left_open.outcome is Outcome.OPEN
    again = Recording(tmp_path / "again")
    first.close()
    with engine.connect() as connection:
        connection.execute(ONE)
    (checkout,) = again.read_checkouts()
    assert (checkout.connection, checkout.outcome) == (1, Outcome.RETURNED)
    with engine.connect() as connection:
        connection.execute(ONE)
