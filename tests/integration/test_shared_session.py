"""One session in two tasks: found whether it raises or works, but not where they take turns."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import asyncpg
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from recorded_app import Recording, ask, async_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import poolhog
from poolhog.analysis.findings import SHARED_SESSION, Finding
from poolhog.analysis.findings.shared_session import Clash
from poolhog.analysis.report import report_of
from poolhog.render.findings import detail

SLEEP = "SELECT pg_sleep(0.1)"
STATEMENT = sa.text(SLEEP)

Work = Callable[[AsyncSession], Awaitable[object]]


async def posts(session: AsyncSession) -> None:
    await session.execute(STATEMENT)  # posts


async def users(session: AsyncSession) -> None:
    await asyncio.sleep(0.02)
    await session.execute(STATEMENT)  # users


async def connected(session: AsyncSession) -> None:
    await session.connection()


# What shares a session.


async def gathering(session: AsyncSession) -> None:
    await connected(session)
    await asyncio.gather(posts(session), users(session), return_exceptions=True)  # gathering


async def gathering_while_connecting(session: AsyncSession) -> None:
    await asyncio.gather(  # gathering_while_connecting
        posts(session), posts(session), return_exceptions=True
    )


async def gathering_calls(session: AsyncSession) -> None:
    await connected(session)
    one, two = session.execute(STATEMENT), session.execute(STATEMENT)
    await asyncio.gather(one, two, return_exceptions=True)  # gathering_calls


async def in_group(session: AsyncSession) -> None:
    await connected(session)
    try:
        async with asyncio.TaskGroup() as group:  # in_group
            group.create_task(posts(session))
            group.create_task(users(session))
    except* Exception:
        pass


# What takes turns.


async def handing_on(session: AsyncSession) -> None:
    await posts(session)
    await asyncio.gather(posts(session))
    await asyncio.create_task(users(session))
    await asyncio.wait_for(session.execute(STATEMENT), 60)
    await posts(session)


async def one_after_the_other(session: AsyncSession) -> None:
    for work in (posts, users, posts):
        await asyncio.shield(work(session))


async def closing_in_another_task(session: AsyncSession) -> None:
    task = asyncio.create_task(posts(session))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.create_task(session.close())


async def locking(session: AsyncSession) -> None:
    lock = asyncio.Lock()

    async def turn(work: Work) -> None:
        async with lock:
            await work(session)

    await connected(session)
    await asyncio.gather(turn(posts), turn(users))


def line_of(mark: str) -> int:
    """The number of the line of this file that ends with the comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def shared(recording: Recording) -> list[Finding]:
    findings = report_of(recording.read()).findings
    return [finding for finding in findings if finding.kind is SHARED_SESSION]


def run(url: sa.URL, work: Work) -> None:
    """In a request, with the session of a dependency."""

    async def main() -> None:
        engine = create_async_engine(url, pool_size=3, max_overflow=0)
        app = make_app(engine, work)
        try:
            await ask(app, "/work")
        except sa.exc.SQLAlchemyError:
            pass
        finally:
            await engine.dispose()

    asyncio.run(main())


def make_app(engine: AsyncEngine, work: Work) -> FastAPI:
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/work")
    async def endpoint(session: Annotated[AsyncSession, Depends(open_session)]) -> None:
        await work(session)

    return app


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("work", [gathering, gathering_while_connecting, gathering_calls, in_group])
def test_tasks_that_use_a_session_at_once(
    recording: Recording, postgresql_url: str, work: Work, driver: str
) -> None:
    url = async_url(postgresql_url).set(drivername=f"postgresql+{driver}")
    run(url, work)
    (finding,) = shared(recording)
    assert finding.routes == ("GET /work",)
    assert finding.site is not None
    name = getattr(work, "__name__", "")
    assert (finding.site.file, finding.site.line) == (__file__, line_of(name))
    expected = {
        "gathering": ("posts", "users"),
        "in_group": ("posts", "users"),
        "gathering_while_connecting": ("posts", "posts"),
        "gathering_calls": ("gathering_calls", "gathering_calls"),
    }[name]
    clashes = [clash for clash in finding.evidence.lines if isinstance(clash, Clash)]  # type: ignore[attr-defined]
    lines = [(c.using and c.using.line, c.wanting and c.wanting.line) for c in clashes]
    assert lines == [tuple(map(line_of, expected))]
    assert f"test_shared_session.py:{line_of(expected[1])}" in detail(finding)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize(
    "work", [handing_on, one_after_the_other, closing_in_another_task, locking]
)
def test_tasks_that_take_turns(
    recording: Recording, postgresql_url: str, work: Work, driver: str
) -> None:
    url = async_url(postgresql_url).set(drivername=f"postgresql+{driver}")
    run(url, work)
    assert shared(recording) == []


def test_a_connection_of_asyncpgs_own_pool(recording: Recording, postgresql_url: str) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(postgresql_url, min_size=0, max_size=2) as pool:
            async with pool.acquire() as connection:
                both = connection.fetch(SLEEP), connection.fetch(SLEEP)
                await asyncio.gather(*both, return_exceptions=True)  # one connection
            await asyncio.gather(pool.fetch(SLEEP), pool.fetch(SLEEP))

    asyncio.run(main())
    (finding,) = shared(recording)
    assert finding.site is not None
    assert finding.site.line == line_of("one connection")


def test_threads(recording: Recording, postgresql_url: str) -> None:
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    together = threading.Barrier(2)

    def work(session: Session) -> None:
        together.wait()
        with suppress(sa.exc.SQLAlchemyError):
            session.execute(STATEMENT)  # in a thread

    with Session(engine) as session, ThreadPoolExecutor(2) as executor:
        session.connection()
        list(executor.map(work, [session, session]))
        session.rollback()
    engine.dispose()
    (finding,) = shared(recording)
    assert finding.site is not None
    assert finding.site.line == line_of("in a thread")


def test_dependencies_and_endpoints_in_threads_take_turns(
    recording: Recording, postgresql_url: str
) -> None:
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    app = FastAPI()

    def open_session() -> Iterator[Session]:
        with Session(engine) as session:
            session.execute(STATEMENT)
            yield session

    @app.get("/work")
    def endpoint(session: Annotated[Session, Depends(open_session)]) -> None:
        session.execute(STATEMENT)

    async def main() -> None:
        await asyncio.gather(*(ask(app, "/work") for _ in range(4)))

    asyncio.run(main())
    engine.dispose()
    assert shared(recording) == []
