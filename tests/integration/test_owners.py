"""Owners are told apart: two tasks, or two threads, that have one name are two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import psycopg_pool
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from recorded_app import Recording, ask
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

import poolhog
from poolhog.analysis.findings import NESTED_CHECKOUT
from poolhog.analysis.report import report_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog import Trace
    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
LONG_S = 0.4


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def nested(trace: Trace) -> int:
    return sum(f.checkouts for f in report_of(trace).findings if f.kind is NESTED_CHECKOUT)


def engine_of(tmp_path: Path) -> Any:
    return create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path / 'data'}", poolclass=AsyncAdaptedQueuePool
    )


def test_workers_of_a_group_hold_no_connection_for_each_other(
    recording: Recording, tmp_path: Path
) -> None:
    async def worker(engine: Any, delay_s: float, seconds: float) -> None:
        await anyio.sleep(delay_s)
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await anyio.sleep(seconds)

    async def main() -> None:
        engine = engine_of(tmp_path)
        async with anyio.create_task_group() as group:
            for delay, share in ((0, 1.0), (0.2, 0.3), (0.4, 0.2)):
                group.start_soon(worker, engine, delay * LONG_S, share * LONG_S)
        await engine.dispose()

    asyncio.run(main())
    trace = recording.read()
    owners = [checkout.owner for checkout in trace.checkouts]
    assert len(set(owners)) == len(owners) == 3
    assert all("worker" in owner for owner in owners)
    assert nested(trace) == 0


def test_a_worker_that_asks_for_a_second_connection_is_still_found(
    recording: Recording, tmp_path: Path
) -> None:
    async def worker(engine: Any) -> None:
        async with engine.connect() as one:
            await one.execute(ONE)
            async with engine.connect() as two:
                await two.execute(ONE)
                await anyio.sleep(LONG_S / 4)

    async def main() -> None:
        engine = engine_of(tmp_path)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(worker, engine)
        await engine.dispose()

    asyncio.run(main())
    trace = recording.read()
    assert len(trace.checkouts) == 4
    assert len({checkout.owner for checkout in trace.checkouts}) == 2
    assert nested(trace) == 2


def test_threads_of_a_task_are_one_owner_and_those_of_others_are_not(
    recording: Recording, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}", poolclass=QueuePool)

    def hold() -> sa.Connection:
        connection = engine.connect()
        connection.execute(ONE)
        return connection

    async def job() -> None:
        held = await anyio.to_thread.run_sync(hold)
        # Another thread may come to do this.
        second = await anyio.to_thread.run_sync(hold)
        await anyio.sleep(LONG_S / 4)
        for connection in (second, held):
            await anyio.to_thread.run_sync(connection.close)

    async def main() -> None:
        await asyncio.gather(job(), job())

    asyncio.run(main())
    trace = recording.read()
    by_owner: dict[str, int] = {}
    for checkout in trace.checkouts:
        by_owner[checkout.owner] = by_owner.get(checkout.owner, 0) + 1
    assert sorted(by_owner.values()) == [2, 2]


def test_a_task_that_is_left_alone_holds_no_connection_for_its_request(
    database: LabDatabase, recording: Recording
) -> None:
    """It runs statements of its own while the request asks; psycopg waits by ``wait_for``."""
    app = FastAPI()
    background: set[asyncio.Task[None]] = set()
    begun = asyncio.Event()
    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(
        database.url, open=False, min_size=2
    )

    async def audit() -> None:
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
            begun.set()
            await connection.execute(f"SELECT pg_sleep({LONG_S})")

    @app.get("/left")
    async def left() -> str:
        task = asyncio.create_task(audit())
        background.add(task)
        await begun.wait()
        async with pool.connection() as connection:
            await connection.execute(f"SELECT pg_sleep({LONG_S / 4})")
        return "done"

    async def main() -> None:
        async with pool:
            await ask(app, "/left")
            await asyncio.gather(*background)

    asyncio.run(main())
    trace = recording.read()
    first, second = sorted(trace.checkouts, key=lambda checkout: checkout.asked)
    assert first.request == second.request
    assert first.owner != second.owner
    assert nested(trace) == 0
