"""Small programs whose traces have something particular in them.

    poolhog run -o TRACE -- python benchmarks/recorded_apps.py NAME [DATABASE_URL]

``service`` serves requests that hold, wait, fail and leave; ``hanging`` serves some, prints a line
while others are under way, and goes on until it is killed; ``nested`` asks for a second connection
while it has one; ``asyncpg`` and ``psycopg`` use the pools of these libraries; ``several`` starts
processes that work at the same time; ``script`` has no requests. All but the last two need a
PostgreSQL.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

HOLD_S = 0.15
FOREVER_S = 3600.0
CHILDREN = 3


def compute(seconds: float) -> None:
    """Keep this thread busy with Python."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


async def call_the_model(seconds: float = HOLD_S) -> None:
    """Wait for something that is not the database."""
    await asyncio.sleep(seconds)


def engine_at(url: str, **options: Any) -> AsyncEngine:
    """An engine of SQLAlchemy through asyncpg."""
    options = {"max_overflow": 0, "pool_timeout": 0.6, **options}
    return create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), **options)


def make_service(engine: AsyncEngine) -> FastAPI:
    """A service whose routes hold a connection in different ways."""
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    Session = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806

    @app.get("/notes/{note_id}")
    async def read_note(note_id: int, session: Session) -> int:
        return int(await session.scalar(sa.text("SELECT :id + 1"), {"id": note_id}) or 0)

    @app.post("/notes/{note_id}/summary")
    async def summarize(note_id: int, session: Session) -> str:
        await session.execute(sa.text("SELECT :id + 1"), {"id": note_id})
        await call_the_model()
        compute(0.02)
        await session.execute(sa.text("INSERT INTO jobs VALUES (:id)"), {"id": note_id})
        await session.commit()
        return "done"

    @app.post("/notes/{note_id}/forgotten")
    async def forget_to_commit(note_id: int, session: Session) -> str:
        await session.execute(sa.text("INSERT INTO jobs VALUES (:id)"), {"id": note_id})
        return "lost"

    @app.get("/broken")
    async def fail(session: Session) -> str:
        await session.execute(sa.text("SELECT 1 / 0"))
        return "never"

    @app.get("/both")
    async def use_two(session: Session) -> str:
        await session.execute(sa.text("SELECT 1"))
        async with AsyncSession(engine) as second:
            await second.execute(sa.text("SELECT 2"))
        return "two"

    @app.get("/stream")
    async def stream(session: Session) -> StreamingResponse:
        await session.execute(sa.text("SELECT 1"))

        async def parts() -> AsyncIterator[str]:
            for _ in range(5):
                await asyncio.sleep(0.02)
                yield "part"

        return StreamingResponse(parts())

    @app.post("/hang")
    async def hang(session: Session) -> None:
        await session.execute(sa.text("SELECT 1"))
        await call_the_model(FOREVER_S)

    return app


async def ask(app: FastAPI, method: str, path: str, within_s: float = 60.0) -> None:
    """Send a request to the application itself, and leave after some seconds."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(within_s),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            await client.request(method, path)


async def prepare(engine: AsyncEngine) -> None:
    """Make the table that is written to."""
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE IF NOT EXISTS jobs (id INTEGER)"))


async def serve(url: str) -> None:
    """A burst of each kind of request, with a client that leaves."""
    engine = engine_at(url, pool_size=3)
    await prepare(engine)
    app = make_service(engine)
    await asyncio.gather(*(ask(app, "GET", f"/notes/{number}") for number in range(8)))
    await asyncio.gather(
        *(ask(app, "POST", f"/notes/{number}/summary") for number in range(20)),
        *(ask(app, "GET", "/broken") for _ in range(2)),
        *(ask(app, "GET", "/stream") for _ in range(3)),
        ask(app, "POST", "/notes/7/summary", within_s=0.1),
    )
    await asyncio.gather(*(ask(app, "POST", f"/notes/{n}/forgotten") for n in range(3)))
    await engine.dispose()


async def nest(url: str) -> None:
    """As many requests that want two connections as there are connections."""
    engine = engine_at(url, pool_size=3)
    app = make_service(engine)
    for at_once in (1, 2, 3, 6):
        await asyncio.gather(*(ask(app, "GET", "/both") for _ in range(at_once)))
    await engine.dispose()


async def hang(url: str) -> None:
    """Requests that are over, and more than there are connections that are not."""
    engine = engine_at(url, pool_size=3, pool_timeout=FOREVER_S)
    await prepare(engine)
    app = make_service(engine)
    await asyncio.gather(*(ask(app, "POST", f"/notes/{number}/summary") for number in range(9)))
    hanging = [asyncio.create_task(ask(app, "POST", "/hang", FOREVER_S)) for _ in range(4)]
    await asyncio.sleep(1.0)
    print("hanging", flush=True)
    await asyncio.gather(*hanging)


async def use_asyncpg(url: str) -> None:
    """Tasks on asyncpg's pool: in a transaction, with and without a call, and too late."""
    import asyncpg

    async def transfer(pool: Any) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetchval("SELECT $1::integer", 7)
            await call_the_model()
            await connection.execute("SELECT 1")

    async def look(pool: Any) -> None:
        await pool.fetch("SELECT * FROM generate_series(1, 3)")

    async def hurry(pool: Any) -> None:
        with suppress(TimeoutError):
            async with pool.acquire(timeout=0.05):
                await call_the_model()

    async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
        work = [transfer(pool) for _ in range(8)]
        work += [look(pool) for _ in range(8)]
        work += [hurry(pool) for _ in range(3)]
        await asyncio.gather(*work)
        with suppress(asyncpg.PostgresError):
            await pool.execute("SELECT no_such_column")


def use_psycopg(url: str) -> None:
    """Threads on psycopg's pool, and tasks on its asynchronous one."""
    import psycopg_pool

    def transfer(pool: psycopg_pool.ConnectionPool[Any], hold_s: float) -> None:
        with suppress(psycopg_pool.PoolTimeout), pool.connection() as connection:
            connection.execute("SELECT 1")
            time.sleep(hold_s)
            compute(0.01)
            connection.execute("SELECT 2")

    async def look() -> None:
        async with psycopg_pool.AsyncConnectionPool(url, min_size=2, max_size=2) as pool:

            async def work() -> None:
                async with pool.connection() as connection:
                    await connection.execute("SELECT 3")
                    await call_the_model()

            await asyncio.gather(*(work() for _ in range(6)))

    with psycopg_pool.ConnectionPool(
        url, min_size=2, max_size=2, timeout=0.4, name="transfers", open=True
    ) as pool:
        pool.wait()
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda hold_s: transfer(pool, hold_s), [0.1, 0.02, 0.25] * 4))
    asyncio.run(look())


def small_engine(size: int = 2) -> sa.Engine:
    """An engine over a database in a file of its own."""
    file = Path(tempfile.mkdtemp()) / "data.db"
    return sa.create_engine(f"sqlite:///{file}", pool_size=size, max_overflow=0, pool_timeout=0.3)


def use_threads() -> None:
    """Threads that hold their connection for a while."""
    engine = small_engine()

    def work(number: int) -> None:
        with suppress(sa.exc.TimeoutError), engine.connect() as connection:
            connection.execute(sa.text("SELECT :number"), {"number": number})
            time.sleep(0.05)
            compute(0.01)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(16)))


def several() -> None:
    """Processes that work at the same time as this one."""
    command = [sys.executable, __file__, "threads"]
    children = [subprocess.Popen(command) for _ in range(CHILDREN)]
    use_threads()
    for child in children:
        child.wait()


def script() -> None:
    """One thread that holds a connection for as long as it works, and one that is never back."""
    engine = small_engine(3)
    kept = engine.connect()
    kept.execute(sa.text("SELECT 1"))
    for number in range(6):
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT :number"), {"number": number})
            time.sleep(0.1)
            compute(0.05)
    held = threading.Thread(target=time.sleep, args=(0.1,), name="idle")
    held.start()
    held.join()


APPS: dict[str, Callable[..., None] | Callable[..., Coroutine[Any, Any, None]]] = {
    "service": serve,
    "hanging": hang,
    "nested": nest,
    "asyncpg": use_asyncpg,
    "psycopg": use_psycopg,
    "several": several,
    "threads": use_threads,
    "script": script,
}


def main() -> None:
    """Be the program that is named."""
    name, *arguments = sys.argv[1:]
    work = APPS[name](*arguments)
    if work is not None:
        asyncio.run(work)


if __name__ == "__main__":
    main()
