"""Advice about held connections is that of what was awaited, and of how the code holds them."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from recorded_app import Recording, async_url, served
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import poolhog
from poolhog.analysis.findings.circumstances import Awaited, Circumstances, Style
from poolhog.analysis.findings.held_while_streaming import WhileStreaming
from poolhog.analysis.findings.parked_checkout import ParkedGaps
from poolhog.analysis.report import report_of
from poolhog.render.findings import advice

ONE = sa.text("SELECT 1")
LONG_S = 0.3


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship()


def make_app(postgresql_url: str) -> FastAPI:
    engine = create_async_engine(async_url(postgresql_url))
    sync = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    pools: list[asyncpg.Pool] = []
    lock = asyncio.Lock()

    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        Base.metadata.create_all(sync)
        with Session(sync) as session, session.begin():
            session.merge(Book(id=1, author=Author(id=1)))
        async with asyncpg.create_pool(postgresql_url, min_size=1, max_size=1) as pool:
            pools.append(pool)
            yield
        await engine.dispose()
        sync.dispose()

    app = FastAPI(lifespan=lifespan)  # type: ignore[arg-type] # a generator does as well

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    InSession = Annotated[AsyncSession, Depends(get_db)]  # noqa: N806 - a type

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(LONG_S)

    @app.get("/call")
    async def call(session: InSession, request: Request) -> None:
        await session.execute(ONE)
        async with httpx.AsyncClient(verify=False) as client:
            await client.get(f"{request.base_url}slow")

    @app.get("/sleep")
    async def sleep() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(ONE)
            await asyncio.sleep(LONG_S)

    @app.get("/blocking-sleep")
    def blocking_sleep() -> None:
        with sync.connect() as connection:
            connection.execute(ONE)
            time.sleep(LONG_S)

    @app.get("/lock")
    async def locked() -> None:
        async with lock:
            asyncio.get_running_loop().call_later(LONG_S, lock.release)
            await lock_again()

    async def lock_again() -> None:
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await lock.acquire()

    @app.get("/queue")
    async def queue(session: InSession) -> None:
        await session.execute(ONE)
        items = asyncio.Queue[int]()
        asyncio.get_running_loop().call_later(LONG_S, items.put_nowait, 1)
        await items.get()

    @app.get("/subprocess")
    async def run(session: InSession) -> None:
        await session.execute(ONE)
        process = await asyncio.create_subprocess_exec("sleep", str(LONG_S))
        await process.wait()

    @app.get("/thread")
    async def thread(session: InSession) -> None:
        await session.execute(ONE)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, LONG_S)

    @app.get("/tasks")
    async def tasks(session: InSession) -> None:
        await session.execute(ONE)
        await asyncio.gather(slow(), slow())

    @app.get("/acquired")
    async def acquired() -> None:
        async with pools[0].acquire() as connection:
            await connection.fetch("SELECT 1")
            await asyncio.sleep(LONG_S)

    @app.get("/listener")
    async def listener() -> None:
        async with pools[0].acquire() as connection:
            await connection.execute("LISTEN news")
            await asyncio.sleep(LONG_S)

    @app.get("/lazy")
    def lazy() -> None:
        with Session(sync) as session:
            book = session.get_one(Book, 1)
            session.commit()
            author = book.author
            time.sleep(LONG_S)
            assert author is not None

    @app.get("/stream")
    async def stream(session: InSession) -> StreamingResponse:
        await session.execute(ONE)

        async def parts() -> AsyncIterator[str]:
            await asyncio.sleep(LONG_S)
            yield "done"

        return StreamingResponse(parts())

    @app.middleware("http")
    async def authenticate(request: Request, call_next: Any) -> Response:
        if not request.url.path.startswith("/authenticated"):
            return await call_next(request)  # type: ignore[no-any-return]
        async with AsyncSession(engine) as session:
            await session.execute(ONE)
            return await call_next(request)  # type: ignore[no-any-return]

    app.get("/authenticated")(slow)
    return app


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


CASES = {
    "/call": (Awaited.CALL, Style.DEPENDENCY, "Call `httpx` before"),
    "/sleep": (Awaited.SLEEP, Style.BEGIN, "Close the block of `begin()`"),
    "/blocking-sleep": (Awaited.SLEEP, Style.ACQUIRE, "Leave the block that got"),
    "/lock": (Awaited.LOCK, Style.ACQUIRE, "Take the lock"),
    "/queue": (Awaited.QUEUE, Style.DEPENDENCY, "Wait for the queue"),
    "/subprocess": (Awaited.SUBPROCESS, Style.DEPENDENCY, "Run the program"),
    "/thread": (Awaited.THREAD, Style.DEPENDENCY, "Leave work to a thread"),
    "/tasks": (Awaited.TASKS, Style.DEPENDENCY, "Await these tasks"),
    "/acquired": (Awaited.SLEEP, Style.ACQUIRE, "Leave the block that got"),
    "/listener": (Awaited.LISTENER, Style.ACQUIRE, "outside of the pool"),
    "/lazy": (Awaited.SLEEP, Style.LAZY_LOAD, "`selectinload`"),
    "/stream": (Awaited.SLEEP, Style.DEPENDENCY, '`Depends(get_db, scope="function")`'),
    "/authenticated": (Awaited.QUEUE, Style.MIDDLEWARE, "This middleware"),
}


def test_advice_is_about_what_was_awaited_and_how_the_connection_is_held(
    recording: Recording, postgresql_url: str
) -> None:
    with served(make_app(postgresql_url)) as url, httpx.Client(base_url=url) as client:
        for path in CASES:
            assert client.get(path).status_code == 200
    found: dict[str, tuple[Awaited, Style, str]] = {}
    for finding in report_of(recording.read()).findings:
        weights: dict[Circumstances, float] = {}
        if isinstance(finding.evidence, ParkedGaps):
            weights.update(finding.evidence.circumstances)
        elif isinstance(finding.evidence, WhileStreaming):
            asked = finding.evidence.asked_at
            weights.update((a.circumstances, s) for a, s in asked.items() if a.circumstances)
        if weights:
            one = max(weights, key=lambda c: weights[c])
            path = finding.routes[0].removeprefix("GET ")
            found.setdefault(path, (one.awaited, one.style, advice(finding)))
    for path, (awaited, style, said) in CASES.items():
        assert found[path][:2] == (awaited, style), path
        assert said in found[path][2], path
