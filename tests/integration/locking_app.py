"""A service whose transactions lock one thing and then wait for another service.

Run as a program: ``locking_app.py STYLE URL``. It prints the seconds that its locking statements
took, added up, as it measured them itself.
"""

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

HOLD_S = 0.25
WORKERS = 5
SETUP = (
    "CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, n INTEGER)",
    "DELETE FROM counters",
    *(f"INSERT INTO counters (id, n) VALUES ({n}, 0)" for n in range(WORKERS + 1)),
)
STATEMENTS = {
    "update": "UPDATE counters SET n = n + 1 WHERE id = 0",
    "for-update": "SELECT n FROM counters WHERE id = 0 FOR UPDATE",
    "advisory": "SELECT pg_advisory_xact_lock(42)",
    "threads": "UPDATE counters SET n = n + 1 WHERE id = 0",
    "mended": "UPDATE counters SET n = n + 1 WHERE id = 0",
    # Each its own row: nobody waits for a lock, and all of them are slow.
    "apart": "UPDATE counters SET n = n + (SELECT count(*) FROM pg_sleep(0.1)) WHERE id = :own",
}

spent: list[float] = []


async def call_a_service() -> None:
    """What a transaction should not wait for."""
    await asyncio.sleep(HOLD_S)


async def visit(engine: Any, style: str, number: int) -> None:
    """Lock, wait for another service, and commit; mended, wait first."""
    if style == "mended":
        await call_a_service()
    async with engine.begin() as connection:
        began = time.monotonic()
        await connection.execute(
            sa.text(STATEMENTS[style]), {"own": number} if style == "apart" else {}
        )
        spent.append(time.monotonic() - began)
        if style != "mended":
            await call_a_service()


async def serve(url: sa.URL, style: str) -> None:
    """All workers at once, several times."""
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), pool_size=WORKERS)
    async with engine.begin() as connection:
        for statement in SETUP:
            await connection.execute(sa.text(statement))
    for _ in range(2):
        visits = [asyncio.create_task(visit(engine, style, n)) for n in range(WORKERS)]
        await asyncio.gather(*visits)
    await engine.dispose()


def in_threads(url: sa.URL) -> None:
    """The same in threads, by another driver."""
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_size=WORKERS)

    def work() -> None:
        for _ in range(2):
            with engine.begin() as connection:
                began = time.monotonic()
                connection.execute(sa.text(STATEMENTS["threads"]))
                spent.append(time.monotonic() - began)
                time.sleep(HOLD_S)

    run(engine, work)


def in_a_file(path: str) -> None:
    """SQLite, whose file has one writer: transactions begin with the lock."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    def work() -> None:
        for _ in range(2):
            with engine.connect() as connection:
                began = time.monotonic()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                spent.append(time.monotonic() - began)
                connection.exec_driver_sql("UPDATE counters SET n = n + 1 WHERE id = 0")
                time.sleep(HOLD_S)
                connection.commit()

    run(engine, work)


def run(engine: sa.Engine, work: Callable[[], None]) -> None:
    """Work in several threads at once."""
    with engine.begin() as connection:
        for statement in SETUP:
            connection.execute(sa.text(statement))
    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()


@contextlib.asynccontextmanager
async def other_session(url: sa.URL) -> AsyncIterator[None]:
    """A session that is not recorded, and holds the lock."""
    import asyncpg

    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain, server_settings={"application_name": "console"})
    async with connection.transaction():
        await connection.execute(STATEMENTS["update"])
        yield
    await connection.close()


async def beside_a_console(url: sa.URL) -> None:
    """One visit, which waits for a session that is not recorded."""
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), pool_size=WORKERS)
    async with engine.begin() as connection:
        for statement in SETUP:
            await connection.execute(sa.text(statement))
    async with other_session(url):
        waiting = asyncio.create_task(visit(engine, "update", 0))
        await asyncio.sleep(4 * HOLD_S)
    await waiting
    await engine.dispose()


def main(style: str, url: str) -> None:
    """Do what the style says."""
    if style == "file":
        in_a_file(url)
    elif style == "threads":
        in_threads(sa.make_url(url))
    elif style == "console":
        asyncio.run(beside_a_console(sa.make_url(url)))
    else:
        asyncio.run(serve(sa.make_url(url), style))
    print(json.dumps({"spent_s": sum(spent)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
