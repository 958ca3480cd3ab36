"""The psycopg_pool probe, on its four pools: sync and async, keeping connections and not."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool
import pytest
from psycopg import sql
from recorded_app import Recording, duration, eventually, kinds, most_at_once, statements
from views import spent_by

import poolhog
from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

    Work = Coroutine[Any, Any, None]

SELECT = "SELECT 1"


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def opened(
    database: LabDatabase, size: int = 1, **options: Any
) -> psycopg_pool.ConnectionPool[Any]:
    """A pool that has its connections."""
    settings = {"min_size": size, "max_size": size, "open": True, **options}
    pool = psycopg_pool.ConnectionPool(database.url, **settings)
    pool.wait()
    return pool


def run(work: Callable[[Any], Work], url: str, size: int = 1, **options: Any) -> None:
    """Do the work on an asynchronous pool that has its connections."""

    async def main() -> None:
        settings = {"min_size": size, "max_size": size, **options}
        async with psycopg_pool.AsyncConnectionPool(url, **settings) as pool:
            await pool.wait()
            await work(pool)

    asyncio.run(main())


def test_a_pool_and_what_is_done_with_its_connection(
    database: LabDatabase, recording: Recording
) -> None:
    with opened(database, 2, name="notes", timeout=7.0) as pool, pool.connection() as connection:
        connection.execute("SELECT 'secret'")
        connection.execute("SELECT %s::text", ["secret"])
        connection.execute(b"SELECT 3")
        connection.execute(sql.SQL("SELECT {}, 4").format(sql.Identifier("oid")) + FROM)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == ["begin", *["statement"] * 4, "commit", "reset"]
    assert statements(checkout) == [
        *("BEGIN", "SELECT ?", "SELECT %s::text", "SELECT ?", 'SELECT "oid", ? FROM pg_class')
    ]
    assert (checkout.outcome, checkout.connection) == (Outcome.RETURNED, 1)
    sites = {o.site.function for o in checkout.operations if o.site is not None}
    assert sites == {"test_a_pool_and_what_is_done_with_its_connection"}
    assert checkout.site is not None
    assert checkout.site.function in sites
    assert [t.ended_with for t in transactions(checkout, trace.until)] == [OperationKind.COMMIT]
    (pool_of,) = trace.pools
    assert (pool_of.library, pool_of.kind, pool_of.name) == (
        *("psycopg_pool", "ConnectionPool"),
        "notes",
    )
    assert (pool_of.size, pool_of.capacity, pool_of.timeout) == (2, 2, 7.0)


FROM = sql.SQL(" FROM pg_class")


def test_an_asynchronous_pool_is_recorded_alike(
    database: LabDatabase, recording: Recording
) -> None:
    async def work(pool: Any) -> None:
        async with pool.connection() as connection:
            await connection.execute(SELECT)
            async with connection.transaction():
                await connection.execute(SELECT)

    run(work, database.url, 2)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == [
        *("begin", "statement", "statement", "statement", "statement", "commit", "reset")
    ]
    assert statements(checkout) == [*("BEGIN", "SELECT ?", "SAVEPOINT", "SELECT ?", "RELEASE")]
    assert trace.pools[0].kind == "AsyncConnectionPool"
    assert checkout.owner.startswith("Task-")


def test_transaction_blocks_and_savepoints(database: LabDatabase, recording: Recording) -> None:
    with opened(database) as pool, pool.connection() as connection:
        with connection.transaction():
            connection.execute(SELECT)
            with pytest.raises(psycopg.Error), connection.transaction():
                connection.execute("SELECT nonsense")
        with connection.transaction(force_rollback=True):
            connection.execute(SELECT)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == [
        *("begin", "statement", "statement", "statement", "statement", "commit"),
        *("begin", "statement", "rollback", "reset"),
    ]
    assert statements(checkout)[2:5] == ["SAVEPOINT", "SELECT nonsense", "ROLLBACK TO"]
    ends = [t.ended_with for t in transactions(checkout, trace.until)]
    assert ends == [OperationKind.COMMIT, OperationKind.ROLLBACK]
    assert [o.error for o in checkout.operations if o.error] == ["UndefinedColumn"]


def test_autocommit_has_no_transaction(database: LabDatabase, recording: Recording) -> None:
    with opened(database, kwargs={"autocommit": True}) as pool, pool.connection() as connection:
        connection.execute(SELECT)
        connection.execute("BEGIN")
        connection.execute("COMMIT")
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["statement", "begin", "commit", "reset"]


def test_every_way_to_run_a_statement_is_busy(database: LabDatabase, recording: Recording) -> None:
    """No round trip that lasts is taken for a gap."""
    rows = "SELECT n, pg_sleep(0.005) FROM generate_series(1, 20) AS n"
    with opened(database) as pool, pool.connection() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMPORARY TABLE copied (n integer)")
        cursor.executemany("INSERT INTO copied SELECT %s FROM pg_sleep(0.02)", [(1,), (2,)])
        with connection.cursor("named") as named:
            named.execute(rows)
            assert len(named.fetchmany(10)) == 10
            assert len(list(named)) == 10
        assert len(list(cursor.stream(rows))) == 20
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for number in range(3, 6):
                copy.write_row((number,))
        with cursor.copy(f"COPY ({rows}) TO STDOUT") as copy:
            assert len(list(copy.rows())) == 20
        with connection.pipeline():
            connection.execute("SELECT pg_sleep(0.02)")
            connection.execute("SELECT pg_sleep(0.02)")
    (checkout,) = recording.read_checkouts()
    found = spent_by(checkout)
    assert found.busy >= 0.04 + 3 * 0.1 + 0.04
    assert found.gap < found.busy / 2
    sql_texts = statements(checkout)
    for beginning in ("CREATE", "INSERT", "SELECT n", "COPY copied", "COPY (SELECT"):
        assert any(s.startswith(beginning) for s in sql_texts), beginning
    fetches = [o for o in checkout.operations if o.kind is OperationKind.FETCH]
    assert sum(map(duration, fetches)) >= 0.2
    assert kinds(checkout)[-2:] == ["commit", "reset"]


def test_every_way_to_run_a_statement_in_a_task_is_busy(
    database: LabDatabase, recording: Recording
) -> None:
    rows = "SELECT n, pg_sleep(0.005) FROM generate_series(1, 20) AS n"

    async def work(pool: Any) -> None:
        async with pool.connection() as connection:
            cursor = connection.cursor()
            await cursor.executemany("SELECT pg_sleep(%s)", [(0.02,), (0.02,)])
            async with connection.cursor("named") as named:
                await named.execute(rows)
                assert len(await named.fetchall()) == 20
            assert len([row async for row in cursor.stream(rows)]) == 20
            async with cursor.copy(f"COPY ({rows}) TO STDOUT") as copy:
                assert len([row async for row in copy.rows()]) == 20

    run(work, database.url)
    (checkout,) = recording.read_checkouts()
    found = spent_by(checkout)
    assert found.busy >= 0.04 + 3 * 0.1
    assert found.gap < found.busy / 2


def test_a_statement_that_is_cancelled(database: LabDatabase, recording: Recording) -> None:
    async def work(pool: Any) -> None:
        with pytest.raises(TimeoutError):
            async with pool.connection() as connection, asyncio.timeout(0.1):
                await connection.execute("SELECT pg_sleep(30)")
        async with pool.connection() as connection:
            await connection.execute(SELECT)

    run(work, database.url)
    first, second = recording.read_checkouts()
    assert [o.error for o in first.operations if o.error] == ["CancelledError"]
    assert {first.outcome, second.outcome} == {Outcome.RETURNED}
    assert first.returned is not None
    assert first.returned <= second.asked


def test_a_wait_is_queueing_also_if_a_connection_is_opened_for_it(
    database: LabDatabase, recording: Recording
) -> None:
    """The pool opens it in a thread of its own, and gives it to whoever waits by then."""
    pool = psycopg_pool.ConnectionPool(database.url, min_size=0, max_size=2, open=True)
    with pool, pool.connection():
        pass
    (checkout,) = recording.read_checkouts()
    found = spent_by(checkout)
    assert found.queueing > 0
    assert found.connecting == 0
    assert kinds(checkout) == ["reset"]


@pytest.mark.parametrize("max_size", [0, 1])
def test_a_pool_that_keeps_no_connections_opens_them_in_the_wait(
    max_size: int, database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        pool = psycopg_pool.AsyncNullConnectionPool(database.url, max_size=max_size, open=False)
        async with pool, pool.connection() as connection:
            await connection.execute(SELECT)

    with (
        psycopg_pool.NullConnectionPool(database.url, max_size=max_size, open=True) as pool,
        pool.connection() as connection,
    ):
        connection.execute(SELECT)
    asyncio.run(work())
    trace = recording.read()
    for checkout in trace.checkouts:
        assert kinds(checkout) == ["connect", "begin", "statement", "commit", "reset"]
        assert spent_by(checkout).connecting > 0
        assert checkout.outcome is Outcome.RETURNED
    assert [pool.kind for pool in trace.pools] == ["NullConnectionPool", "AsyncNullConnectionPool"]
    assert {pool.capacity for pool in trace.pools} == {max_size or None}


def test_a_connection_that_another_waits_for_is_handed_on(
    database: LabDatabase, recording: Recording
) -> None:
    with psycopg_pool.NullConnectionPool(database.url, max_size=1, open=True) as pool:
        use_in_threads(pool, 4)
    checkouts = recording.read_checkouts()
    assert len(checkouts) == 4
    assert most_at_once(checkouts) == 1
    assert {c.outcome for c in checkouts} == {Outcome.RETURNED}


def use_in_threads(pool: Any, number: int) -> None:
    def use() -> None:
        with pool.connection() as connection:
            connection.execute("SELECT pg_sleep(0.02)")

    threads = [threading.Thread(target=use) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_never_more_than_the_size(database: LabDatabase, recording: Recording) -> None:
    with opened(database, 3) as pool:
        use_in_threads(pool, 12)
    checkouts = recording.read_checkouts()
    assert len(checkouts) == 12
    assert most_at_once(checkouts) == 3
    assert {checkout.connection for checkout in checkouts} == {1, 2, 3}


def test_never_more_than_the_size_in_tasks(database: LabDatabase, recording: Recording) -> None:
    async def work(pool: Any) -> None:
        async def use() -> None:
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_sleep(0.02)")

        await asyncio.gather(*(use() for _ in range(12)))

    run(work, database.url, 3)
    checkouts = recording.read_checkouts()
    assert most_at_once(checkouts) == 3
    granted = [c.granted for c in checkouts if c.granted is not None]
    assert granted == sorted(granted)


def test_a_check_is_a_ping(database: LabDatabase, recording: Recording) -> None:
    async def work(pool: Any) -> None:
        async with pool.connection():
            pass

    check = psycopg_pool.ConnectionPool.check_connection
    with opened(database, check=check) as pool, pool.connection():
        pass
    run(work, database.url, check=psycopg_pool.AsyncConnectionPool.check_connection)
    for checkout in recording.read_checkouts():
        assert kinds(checkout) == ["ping", "reset"]
        assert spent_by(checkout).pinging > 0


def test_a_connection_that_is_lost_when_checked_is_replaced_within_the_wait(
    database: LabDatabase, recording: Recording
) -> None:
    check = psycopg_pool.ConnectionPool.check_connection
    with opened(database, check=check) as pool:
        with pool.connection() as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
        database.query(f"SELECT pg_terminate_backend({row[0]})")
        with pool.connection() as connection:
            connection.execute(SELECT)
    _, second = recording.read_checkouts()
    assert kinds(second)[:2] == ["ping", "ping"]
    assert second.operations[0].error is not None
    assert second.outcome is Outcome.RETURNED


def test_a_wait_that_times_out_or_is_refused(database: LabDatabase, recording: Recording) -> None:
    with opened(database, max_waiting=1) as pool, pool.connection():
        waiting = threading.Thread(target=wait_in_vain, args=[pool])
        waiting.start()
        eventually(lambda: pool.get_stats()["requests_waiting"])
        with pytest.raises(psycopg_pool.TooManyRequests):
            pool.getconn()
        waiting.join()
    holder, timeout, refused = recording.read_checkouts()
    assert [c.outcome for c in (holder, timeout, refused)] == [
        *(Outcome.RETURNED, Outcome.TIMEOUT, Outcome.ERROR)
    ]
    assert timeout.gave_up is not None
    assert timeout.gave_up - timeout.asked >= 0.5
    assert (timeout.granted, timeout.connection, timeout.operations) == (None, None, ())


def wait_in_vain(pool: Any) -> None:
    with pytest.raises(psycopg_pool.PoolTimeout) as raised:
        pool.getconn(timeout=0.5)
    assert "1 of 1 connections" in raised.value.__notes__[0]


def test_a_wait_that_is_cancelled(database: LabDatabase, recording: Recording) -> None:
    async def work(pool: Any) -> None:
        async with pool.connection():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pool.getconn()

    run(work, database.url)
    _, waiter = recording.read_checkouts()
    assert waiter.outcome is Outcome.CANCELLED


def test_a_pool_that_is_closed_is_an_error(database: LabDatabase, recording: Recording) -> None:
    pool = opened(database)
    held = pool.getconn()
    pool.close()
    with pytest.raises(psycopg_pool.PoolClosed):
        pool.getconn()
    pool.putconn(held)
    first, second = recording.read_checkouts()
    assert (first.outcome, second.outcome) == (Outcome.RETURNED, Outcome.ERROR)


def test_what_is_never_put_back_stays_open(database: LabDatabase, recording: Recording) -> None:
    pool = opened(database, 2)
    kept = pool.getconn()
    with pool.connection():
        pass
    first, second = recording.read_checkouts()
    assert (first.outcome, first.returned) == (Outcome.OPEN, None)
    assert second.outcome is Outcome.RETURNED
    pool.putconn(kept)
    pool.close()


def test_a_connection_that_is_put_back_in_a_transaction_is_rolled_back(
    database: LabDatabase, recording: Recording
) -> None:
    with opened(database) as pool:
        connection = pool.getconn()
        connection.execute(SELECT)
        pool.putconn(connection)
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == ["begin", "statement", "reset"]
    assert checkout.operations[-1].statement == "ROLLBACK"
    (transaction,) = transactions(checkout, trace.until)
    assert transaction.ended_with is OperationKind.ROLLBACK


@pytest.mark.parametrize("is_async", [True, False])
def test_a_reset_of_the_applications_is_part_of_the_return(
    is_async: bool, database: LabDatabase, recording: Recording
) -> None:
    """A pool does it in a worker; the connection is lent for as long."""

    def slowly(connection: psycopg.Connection) -> None:
        connection.execute("SELECT pg_sleep(0.1)")
        connection.commit()

    async def slowly_in_a_task(connection: psycopg.AsyncConnection) -> None:
        await connection.execute("SELECT pg_sleep(0.1)")
        await connection.commit()

    async def work(pool: Any) -> None:
        for _ in range(2):
            async with pool.connection() as connection:
                await connection.execute(SELECT)

    if is_async:
        run(work, database.url, reset=slowly_in_a_task)
    else:
        with opened(database, reset=slowly) as pool:
            for _ in range(2):
                with pool.connection() as connection:
                    connection.execute(SELECT)
    first, second = recording.read_checkouts()
    assert kinds(first) == ["begin", "statement", "commit", "reset"]
    assert duration(first.operations[-1]) >= 0.1
    assert first.returned is not None
    assert second.granted is not None
    assert first.returned <= second.granted
    assert spent_by(second).queueing >= 0.05


@pytest.mark.parametrize("is_async", [True, False])
def test_a_connection_that_is_lost_is_returned_too(
    is_async: bool, database: LabDatabase, recording: Recording
) -> None:
    async def work(pool: Any) -> None:
        connection = await pool.getconn()
        await connection.close()
        await pool.putconn(connection)

    if is_async:
        run(work, database.url)
    else:
        with opened(database) as pool:
            connection = pool.getconn()
            connection.close()
            pool.putconn(connection)
    (checkout,) = recording.read_checkouts()
    assert checkout.outcome is Outcome.RETURNED
    assert checkout.returned is not None


@pytest.mark.parametrize(
    ("kind", "smallest"),
    [(psycopg_pool.AsyncConnectionPool, 1), (psycopg_pool.AsyncNullConnectionPool, 0)],
)
def test_a_return_that_is_cancelled_gives_nothing_back(
    database: LabDatabase,
    recording: Recording,
    kind: type[psycopg_pool.AsyncConnectionPool[Any]],
    smallest: int,
) -> None:
    """The pool counts the connection as lent from then on, and so does the trace."""

    async def work() -> None:
        pool = kind(database.url, min_size=smallest, max_size=1, open=False)
        async with pool:
            connection = await pool.getconn()
            async with pool._lock:
                returning = asyncio.create_task(pool.putconn(connection))
                await asyncio.sleep(0.01)
                returning.cancel()
                await asyncio.wait([returning])
            await asyncio.sleep(0.01)
            stats = pool.get_stats()
            assert (stats["pool_size"], stats["pool_available"]) == (1, 0)
            await connection.close()

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert (checkout.outcome, checkout.returned) == (Outcome.OPEN, None)
    reset = checkout.operations[-1]
    assert (reset.kind, reset.error) == (OperationKind.RESET, "CancelledError")


def test_a_connection_of_another_pool_is_refused_and_still_lent(
    database: LabDatabase, recording: Recording
) -> None:
    with opened(database) as pool, opened(database) as other:
        connection = pool.getconn()
        with pytest.raises(ValueError, match="can't return"):
            other.putconn(connection)
        connection.execute(SELECT)
        time.sleep(0.02)
        pool.putconn(connection)
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["begin", "statement", "reset"]
    assert checkout.outcome is Outcome.RETURNED


def test_a_connection_of_no_pool_is_not_recorded(
    database: LabDatabase, recording: Recording
) -> None:
    with opened(database) as pool, pool.connection() as connection:
        connection.execute(SELECT)
    with psycopg.connect(database.url) as alone:
        alone.execute("SELECT 2 AS alone")
    (checkout,) = recording.read_checkouts()
    assert statements(checkout) == ["BEGIN", "SELECT ?"]
