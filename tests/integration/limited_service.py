"""Small services that something limits: ``limited_service.py NAME DATABASE_URL [mended]``.

The last line that a service prints is what it measured of itself, as JSON.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import sqlalchemy as sa
import uvicorn
from fastapi import Depends, FastAPI
from recorded_app import async_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

CALL_S = 0.25
JOBS = 36
GATE = 12
THREADS = 8
TIMEOUT_S = 0.7
IS_MENDED = "mended" in sys.argv
ONE = sa.text("SELECT 1")


async def call_an_api() -> None:
    await asyncio.sleep(CALL_S)


async def score(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(ONE)
        if not IS_MENDED:
            await call_an_api()
    if IS_MENDED:
        await call_an_api()


async def fan_out(url: str) -> dict[str, Any]:
    """Jobs behind a semaphore that lets more of them through than the pool has connections."""
    engine = create_async_engine(
        async_url(url), pool_size=4, max_overflow=0, pool_timeout=TIMEOUT_S
    )
    gate, failed = asyncio.Semaphore(GATE), 0

    async def job() -> None:
        nonlocal failed
        async with gate:
            try:
                await score(engine)
            except sa.exc.TimeoutError:
                failed += 1

    began = time.perf_counter()
    await asyncio.gather(*(asyncio.create_task(job()) for _ in range(JOBS)))
    took = time.perf_counter() - began
    await engine.dispose()
    return {"requests_per_s": JOBS / took, "timeouts": failed}


async def nested(url: str) -> dict[str, Any]:
    """Each job holds a connection of asyncpg's pool, and asks for a second one, for a while."""
    timeouts = 0

    async def inner(pool: Any) -> None:
        nonlocal timeouts
        try:
            async with pool.acquire(timeout=1) as connection:
                await connection.execute("SELECT pg_sleep(0.05)")
        except TimeoutError:
            timeouts += 1

    async def job(pool: Any) -> None:
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_sleep(0.05)")
            if not IS_MENDED:
                await inner(pool)
        if IS_MENDED:
            await inner(pool)

    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        await job(pool)
        timeouts = 0
        await asyncio.gather(*(asyncio.create_task(job(pool)) for _ in range(12)))
    return {"timeouts": timeouts}


async def hang(url: str) -> dict[str, Any]:
    """Two jobs hold all connections, and wait for another one: for ever."""

    async def job(pool: Any) -> None:
        async with pool.acquire() as connection:
            await connection.execute("SELECT 1")
            async with pool.acquire():
                pass

    pool = await asyncpg.create_pool(url, min_size=2, max_size=2)
    await job(pool)
    with suppress(TimeoutError):
        async with asyncio.timeout(2.5):
            await asyncio.gather(*(asyncio.shield(asyncio.create_task(job(pool))) for _ in "ab"))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def blocked(url: str) -> dict[str, Any]:
    """An endpoint's blocking call stops the event loop, and with it all who hold connections."""
    engine = create_async_engine(async_url(url), pool_size=4, max_overflow=0)

    async def blocking() -> None:
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await asyncio.sleep(0.01)
            time.sleep(CALL_S)

    async def parked() -> None:
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await asyncio.sleep(0.05)

    jobs = [asyncio.create_task(job()) for _ in range(6) for job in (blocking, parked, parked)]
    await asyncio.gather(*jobs)
    await engine.dispose()
    return {}


def confirm(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(ONE)
        if not IS_MENDED:
            time.sleep(CALL_S)
    if IS_MENDED:
        time.sleep(CALL_S)


async def threads(url: str) -> dict[str, Any]:
    """Threads of an executor, of which a quarter have a connection."""
    engine = sa.create_engine(
        async_url(url).set(drivername="postgresql+psycopg"), pool_size=2, max_overflow=0
    )
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as executor:
        list(executor.map(confirm, [engine] * 24))
    took = time.perf_counter() - began
    engine.dispose()
    return {"requests_per_s": 24 / took, "timeouts": 0}


def web(url: str) -> FastAPI:
    """Sync endpoints, whose sessions are closed in another of the 40 threads."""
    engine = sa.create_engine(
        async_url(url).set(drivername="postgresql+psycopg"),
        pool_size=3,
        max_overflow=0,
        pool_timeout=TIMEOUT_S,
    )
    app = FastAPI()

    def session() -> Any:
        with Session(engine) as opened:
            yield opened

    @app.get("/users/{number}")
    def user(number: int, opened: Session = Depends(session)) -> int:  # noqa: B008
        opened.execute(ONE)
        time.sleep(0.02)
        return number

    return app


async def endpoints(url: str) -> dict[str, Any]:
    """More requests at once than anyio has threads, of which all wait for the pool."""
    config = uvicorn.Config(web(url), port=0, log_level="critical")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60
    ) as client:
        answers = await asyncio.gather(*(client.get(f"/users/{n}") for n in range(100)))
    server.should_exit = True
    await asyncio.to_thread(serving.join)
    return {"timeouts": sum(answer.status_code == 500 for answer in answers)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[1]](sys.argv[2]))))
