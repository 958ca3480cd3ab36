"""The asyncpg probe, on asyncpg's own pools and on encode/databases, which uses one."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import databases
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
from views import idle_in_transaction, spent_by

import poolhog
from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import transactions
from poolhog.probes import libraries
from poolhog.recording.awaiting import await_chain, is_in_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase
    from poolhog.recording.awaiting import Chain

LIBRARIES = libraries()


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@asynccontextmanager
async def opened(
    database: LabDatabase, size: int = 1, **options: Any
) -> AsyncIterator[asyncpg.Pool]:
    """A pool that opens its connections as they are asked for."""
    settings: dict[str, Any] = {
        "min_size": 0,
        "max_size": size,
        "server_settings": {"search_path": database.schema},
        **options,
    }
    async with asyncpg.create_pool(database.url, **settings) as pool:
        yield pool


def test_a_pool_and_what_is_done_with_its_connection(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database, 3) as pool, pool.acquire() as connection:
            await connection.execute("SELECT 1")
            await connection.execute("SELECT $1::integer", 7)
            await connection.fetch("SELECT 'secret'")
            await connection.fetchrow("SELECT $1::text", "secret")
            await connection.fetchval("SELECT 3")

    asyncio.run(work())
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == ["connect", *["statement"] * 5, "reset"]
    assert statements(checkout)[:-1] == [
        "SELECT ?",
        "SELECT $1::integer",
        "SELECT ?",
        "SELECT $1::text",
        "SELECT ?",
    ]
    assert "UNLISTEN *" in statements(checkout)[-1]
    assert (checkout.outcome, checkout.connection) == (Outcome.RETURNED, 1)
    assert transactions(checkout, trace.until) == ()
    (pool,) = trace.pools
    assert (pool.library, pool.kind, pool.size, pool.capacity) == ("asyncpg", "Pool", 3, 3)


def test_the_pools_own_methods_are_checkouts_too(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database) as pool:
            await pool.execute("SELECT 1")
            await pool.fetchval("SELECT 1")

    asyncio.run(work())
    first, second = recording.read_checkouts()
    assert kinds(first) == ["connect", "statement", "reset"]
    assert kinds(second) == ["statement", "reset"]
    assert (first.connection, second.connection) == (1, 1)


def test_connections_that_a_pool_opens_at_its_start_belong_to_no_checkout(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database, 2, min_size=2) as pool:
            await pool.execute("SELECT 1")

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["statement", "reset"]


def test_a_transaction_that_commits_and_one_that_rolls_back(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database) as pool, pool.acquire() as connection:
            async with connection.transaction():
                await connection.execute("SELECT 1")
                async with connection.transaction():
                    await connection.execute("SELECT 2")
                await asyncio.sleep(0.05)
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction(isolation="serializable"):
                    raise ZeroDivisionError

    asyncio.run(work())
    trace = recording.read()
    (checkout,) = trace.checkouts
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "statement", "statement", "statement", "commit"),
        *("begin", "rollback", "reset"),
    ]
    committed, rolled_back = transactions(checkout, trace.until)
    assert committed.ended_with is OperationKind.COMMIT
    assert rolled_back.ended_with is OperationKind.ROLLBACK
    assert idle_in_transaction(checkout) >= 0.05


def test_what_ends_a_transaction_and_what_does_not(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database) as pool, pool.acquire() as connection:
            for sql in (
                *("begin isolation level serializable", "SAVEPOINT a", "ROLLBACK TO a"),
                *("ROLLBACK WORK TO SAVEPOINT a", "RELEASE a", "COMMIT;"),
                *("START TRANSACTION", "END", "BEGIN;", "ABORT", " \n ; BEGIN"),
            ):
                await connection.execute(sql)

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "statement", "statement", "statement", "commit"),
        *("begin", "commit", "begin", "rollback", "begin", "reset"),
    ]
    assert transactions(checkout, 0.0)[-1].ended_with is OperationKind.ROLLBACK


def test_every_way_to_run_a_statement_is_busy(database: LabDatabase, recording: Recording) -> None:
    """No round trip that lasts is taken for a gap."""

    async def work() -> None:
        async with opened(database) as pool, pool.acquire() as connection:
            await connection.execute("CREATE TABLE copied (n integer)")
            await connection.executemany(
                "INSERT INTO copied SELECT $1::integer FROM pg_sleep(0.02)", [(1,), (2,)]
            )
            await connection.copy_records_to_table("copied", records=[(3,)])
            await connection.copy_to_table("copied", source=io.BytesIO(b"4\n"))
            prepared = await connection.prepare("SELECT n FROM copied, pg_sleep($1)")
            assert len(await prepared.fetch(0.05)) == 4
            async with connection.transaction():
                cursor = await connection.cursor(
                    "SELECT n, pg_sleep(0.02) FROM generate_series(1, 4) AS n"
                )
                while await cursor.fetch(2):
                    pass
                async for _ in connection.cursor("SELECT 1 FROM pg_sleep(0.05)"):
                    pass
            await connection.copy_from_query(
                "SELECT n, pg_sleep(0.02) FROM copied", output=io.BytesIO()
            )
            await connection.execute("DROP TABLE copied")

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    found = spent_by(checkout)
    assert found.busy >= 0.04 + 0.05 + 0.08 + 0.05 + 0.08
    assert found.gap < found.busy / 2
    assert kinds(checkout).count("fetch") >= 3
    sql = statements(checkout)
    assert "COPY copied FROM STDIN" in sql
    for beginning in ("CREATE", "INSERT", "SELECT n FROM copied", "COPY (SELECT n", "DROP"):
        assert any(statement.startswith(beginning) for statement in sql), beginning


def test_a_wait_that_times_out(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with opened(database) as pool, pool.acquire():
            with pytest.raises(TimeoutError):
                await pool.acquire(timeout=0.1)

    asyncio.run(work())
    _, waiter = recording.read_checkouts()
    assert (waiter.outcome, waiter.granted, waiter.connection) == (Outcome.TIMEOUT, None, None)
    assert waiter.gave_up is not None
    assert waiter.gave_up - waiter.asked >= 0.1


def test_a_wait_that_is_cancelled(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with opened(database) as pool, pool.acquire():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), pool.acquire():
                    pass

    asyncio.run(work())
    _, waiter = recording.read_checkouts()
    assert waiter.outcome is Outcome.CANCELLED


def test_a_connect_that_fails(recording: Recording, tmp_path: Path) -> None:
    async def work() -> None:
        url = f"postgresql://postgres@/postgres?host={tmp_path}"
        async with asyncpg.create_pool(url, min_size=0, max_size=1) as pool:
            with pytest.raises(FileNotFoundError):
                await pool.acquire()

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert checkout.outcome is Outcome.ERROR
    assert [(o.kind, o.error) for o in checkout.operations] == [
        ("connect", "FileNotFoundError: no server at the socket")
    ]


def test_statements_that_fail_time_out_or_are_cancelled(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database) as pool:
            with pytest.raises(asyncpg.UndefinedColumnError):
                await pool.execute("SELECT nonsense")
            with pytest.raises(TimeoutError):
                async with pool.acquire() as connection:
                    await connection.execute("SELECT pg_sleep(30)", timeout=0.1)
            with pytest.raises(TimeoutError):
                async with pool.acquire() as connection, asyncio.timeout(0.1):
                    await connection.fetch("SELECT pg_sleep($1)", 30)
            await pool.execute("SELECT 1")

    asyncio.run(work())
    checkouts = recording.read_checkouts()
    found = [
        [o.error for o in checkout.operations if o.kind is OperationKind.STATEMENT]
        for checkout in checkouts
    ]
    assert found == [["UndefinedColumnError"], ["TimeoutError"], ["CancelledError"], [None]]
    assert {checkout.outcome for checkout in checkouts} == {Outcome.RETURNED}
    for one, following in itertools.pairwise(checkouts):
        assert one.returned is not None
        assert one.returned <= following.asked


def test_a_pool_that_is_terminated_has_its_connections_back(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        pool = await asyncpg.create_pool(database.url, min_size=0, max_size=1)
        await pool.acquire()
        pool.terminate()

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert checkout.outcome is Outcome.RETURNED


def test_never_more_than_the_size_and_first_come_first_served(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database, 3) as pool:

            async def hold() -> None:
                async with pool.acquire() as connection:
                    await connection.execute("SELECT pg_sleep(0.02)")

            await asyncio.gather(*(hold() for _ in range(12)))

    asyncio.run(work())
    checkouts = recording.read_checkouts()
    assert most_at_once(checkouts) == 3
    assert {checkout.connection for checkout in checkouts} == {1, 2, 3}
    queued = [c.granted for c in checkouts if "connect" not in kinds(c) and c.granted is not None]
    assert len(queued) == 9
    assert queued == sorted(queued)


def test_databases(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        pool = databases.Database(database.url, min_size=1, max_size=2)
        async with pool:
            await pool.fetch_one("SELECT :name AS name", {"name": "one"})
            await pool.fetch_all(sa.select(sa.literal("one")))
            async with pool.transaction():
                await pool.execute("SELECT 1")
            rows = [row async for row in pool.iterate("SELECT 1 AS one FROM pg_sleep(0.05)")]
            assert len(rows) == 1

    asyncio.run(work())
    trace = recording.read()
    one, many, transaction, iterated = trace.checkouts
    assert kinds(one) == kinds(many) == ["statement", "reset"]
    assert kinds(transaction) == ["begin", "statement", "commit", "reset"]
    assert kinds(iterated)[0] == "begin"
    assert kinds(iterated)[-2:] == ["commit", "reset"]
    assert sum(duration(o) for o in iterated.operations if o.kind is OperationKind.FETCH) >= 0.05
    assert [(pool.library, pool.size) for pool in trace.pools] == [("asyncpg", 2)]


def test_sqlalchemy_over_asyncpg_is_counted_once(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with async_engine(database.url) as engine, engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))

    asyncio.run(work())
    trace = recording.read()
    assert [pool.library for pool in trace.pools] == ["sqlalchemy"]
    assert len(trace.checkouts) == 1
    assert kinds(trace.checkouts[0]).count("statement") == 1


def test_a_connection_of_no_pool_is_not_recorded(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        async with opened(database) as pool:
            await pool.execute("SELECT 1")
        connection = await asyncpg.connect(database.url)
        async with connection.transaction():
            await connection.execute("SELECT 2 AS alone")
        await connection.close()

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "statement", "reset"]


async def _execute(connection: Any) -> None:
    await connection.execute("SELECT pg_sleep(60)")


async def _fetch(connection: Any) -> None:
    await connection.fetch("SELECT pg_sleep($1)", 60)


async def _iterate(connection: Any) -> None:
    async with connection.transaction():
        async for _ in connection.cursor("SELECT pg_sleep(60)"):
            pass


@pytest.mark.parametrize(
    ("work", "kind"), [(_execute, "statement"), (_fetch, "statement"), (_iterate, "fetch")]
)
def test_a_connection_that_the_server_ends_during_a_statement(
    database: LabDatabase, recording: Recording, work: Any, kind: str
) -> None:
    """The pool has it back before whoever waits for the answer learns that there is none."""

    async def lose() -> None:
        async with opened(database, 2) as pool, pool.acquire() as other:

            async def victim() -> None:
                async with pool.acquire() as connection:
                    pid.set_result(connection.get_server_pid())
                    await work(connection)

            pid = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(victim())
            asked = (
                "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"
            )
            while not await other.fetchval(asked, await pid):
                await asyncio.sleep(0.01)
            await other.execute("SELECT pg_terminate_backend($1)", await pid)
            # What a transaction's end makes of it is another exception.
            with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)):
                await task

    asyncio.run(lose())
    _, checkout = recording.read_checkouts()
    last = checkout.operations[-1]
    assert (last.kind, last.error) == (kind, "ConnectionDoesNotExistError")
    assert checkout.outcome is Outcome.RETURNED
    assert checkout.returned is not None
    assert last.ended is not None
    assert last.ended <= checkout.returned


def test_waiting_for_a_lock_of_the_library_is_parked(
    database: LabDatabase, recording: Recording
) -> None:
    """Whoever iterates has the lock of the connection's queries: nobody ever lets go of it."""

    async def iterate() -> None:
        async with databases.Database(database.url, min_size=1, max_size=2) as pool:

            async def rename() -> None:
                async for _ in pool.iterate("SELECT generate_series(1, 3)"):
                    await pool.execute("SELECT 'renamed'")

            with suppress(TimeoutError):
                await asyncio.wait_for(rename(), 0.5)

    asyncio.run(iterate())
    (checkout,) = recording.read_checkouts()
    spent = spent_by(checkout)
    assert spent.parked > 0.8 * spent.use
    (seen, *_) = sorted(checkout.samples, key=lambda s: (s.ended or s.started) - s.started)[::-1]
    assert seen.site is not None
    source = next(frame.source for frame in seen.site.stack if frame.is_application)
    assert source == "await pool.execute(\"SELECT 'renamed'\")"


@pytest.mark.parametrize("work", [_execute, _fetch])
def test_where_a_task_is_that_awaits_the_driver(database: LabDatabase, work: Any) -> None:
    """asyncpg's protocol is written in Cython, which makes frames up."""

    async def look() -> Chain:
        connection = await asyncpg.connect(database.url)
        task = asyncio.create_task(work(connection))
        await asyncio.sleep(0.2)
        found = await_chain(task, LIBRARIES)
        connection.terminate()
        with suppress(asyncpg.ConnectionDoesNotExistError):
            await task
        return found

    chain = asyncio.run(look())
    files = [code.co_filename for code, _ in chain.places]
    assert is_in_database(chain.places, LIBRARIES)
    assert files[0].endswith("asyncpg/connection.py")
    assert files[-1] == __file__


def test_cancelling_a_statement_is_busy(database: LabDatabase, recording: Recording) -> None:
    """The driver asks the server to stop, and SQLAlchemy waits for it: nobody parks there."""

    async def cancel() -> None:
        async with async_engine(database.url) as engine:

            async def work() -> None:
                async with engine.connect() as connection:
                    await connection.execute(sa.text("SELECT pg_sleep(60)"))

            task = asyncio.create_task(work())
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.sleep(0)
            # What the server says is not read before the loop comes to it.
            asyncio.get_running_loop().call_soon(time.sleep, 0.3)
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    (checkout,) = recording.read_checkouts()
    spent = spent_by(checkout)
    assert spent.parked < 0.1 * (spent.use - 0.3)
