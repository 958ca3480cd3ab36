"""What a library does in a task of its own belongs to the line of the application that waits."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import anyio
import asyncpg
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from recorded_app import Recording, ask, async_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import scoped_session, sessionmaker

import poolhog
from poolhog.analysis.findings import NEVER_RETURNED, PARKED_CHECKOUT, Finding
from poolhog.analysis.owners import route_of
from poolhog.analysis.report import report_of
from poolhog.model import Checkout, OperationKind, Trace

SLEEP = "SELECT pg_sleep(0.05)"
LONG_S = 0.4

Work = Callable[[asyncpg.Pool], Coroutine[Any, Any, object]]


async def gathering(pool: asyncpg.Pool) -> None:
    await asyncio.gather(pool.fetch(SLEEP), pool.fetchval(SLEEP))  # gathering


async def limiting(pool: asyncpg.Pool) -> None:
    await asyncio.wait_for(pool.fetch(SLEEP), 60)  # limiting


async def shielding(pool: asyncpg.Pool) -> None:
    await asyncio.shield(pool.fetch(SLEEP))  # shielding


async def awaiting(pool: asyncpg.Pool) -> None:
    task = asyncio.ensure_future(pool.fetch(SLEEP))
    await task  # awaiting


async def nesting(pool: asyncpg.Pool) -> None:
    await asyncio.gather(asyncio.shield(asyncio.gather(pool.fetch(SLEEP))))  # nesting


async def waiting(pool: asyncpg.Pool) -> None:
    tasks = [asyncio.ensure_future(pool.fetch(SLEEP)) for _ in range(2)]
    await asyncio.wait(tasks)  # waiting


async def in_group(pool: asyncpg.Pool) -> None:
    async with asyncio.TaskGroup() as group:  # in_group
        group.create_task(pool.fetch(SLEEP))


async def in_group_of_anyio(pool: asyncpg.Pool) -> None:
    async with anyio.create_task_group() as group:  # in_group_of_anyio
        group.start_soon(pool.fetch, SLEEP)


WAYS: tuple[Work, ...] = (
    *(gathering, limiting, shielding, awaiting, nesting, waiting, in_group, in_group_of_anyio),
)


def line_of(mark: str) -> int:
    """The number of the line of this file that ends with the comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def asked_at(checkouts: tuple[Checkout, ...]) -> set[tuple[str, int, str]]:
    """The files and lines at which connections were asked for, and the routes."""
    found = set()
    for checkout in checkouts:
        assert checkout.site is not None
        sites = [o.site for o in checkout.operations if o.kind is OperationKind.STATEMENT]
        assert sites == [checkout.site] * len(sites)
        assert sites
        found.add((checkout.site.file, checkout.site.line, route_of(checkout)))
    return found


@pytest.mark.parametrize("work", WAYS)
def test_the_line_is_where_the_application_waits(
    recording: Recording, postgresql_url: str, work: Work
) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(postgresql_url, min_size=0, max_size=3) as pool:
            await asyncio.create_task(work(pool))

    asyncio.run(main())
    name = getattr(work, "__name__", "")
    expected = {(__file__, line_of(name), f"test_library_tasks.py {name}")}
    assert asked_at(recording.read_checkouts()) == expected


def test_a_task_that_is_not_awaited_yet_belongs_to_its_request(
    recording: Recording, postgresql_url: str
) -> None:
    async def main() -> None:
        app = FastAPI()
        async with asyncpg.create_pool(postgresql_url, min_size=0, max_size=3) as pool:

            @app.get("/later")
            async def later() -> None:
                task = asyncio.ensure_future(pool.fetch(SLEEP))
                await asyncio.sleep(0.1)  # later
                await task

            await ask(app, "/later")

    asyncio.run(main())
    expected = {(__file__, line_of("later"), "GET /later")}
    assert asked_at(recording.read_checkouts()) == expected


def make_app(engine: AsyncEngine) -> FastAPI:
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    InSession = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806 - a type

    @app.get("/parked")
    async def parked(session: InSession) -> None:
        await asyncio.gather(session.execute(sa.text("SELECT 1")), asyncio.sleep(0))
        await asyncio.sleep(LONG_S)  # parked

    @app.get("/own-task")
    async def own_task(session: InSession) -> None:
        async def load() -> None:
            await session.execute(sa.text("SELECT 1"))

        await asyncio.gather(load())
        await asyncio.sleep(LONG_S)  # after its own task

    @app.get("/lost")
    async def lost() -> None:
        async def load() -> None:
            kept.append(await engine.connect())  # lost

        await asyncio.gather(load())
        await asyncio.sleep(LONG_S)

    return app


kept: list[Any] = []


def findings_of(recording: Recording, postgresql_url: str, path: str) -> tuple[Finding, ...]:
    async def main() -> None:
        async with async_engine(postgresql_url, pool_size=3) as engine:
            await ask(make_app(engine), path)
            trace.append(recording.read())
            for connection in kept:
                await connection.close()
            kept.clear()

    trace: list[Trace] = []
    asyncio.run(main())
    return report_of(trace[0]).findings


@pytest.mark.parametrize(
    ("path", "mark"), [("/parked", "parked"), ("/own-task", "after its own task")]
)
def test_who_started_a_task_goes_on_with_what_that_asked_for(
    recording: Recording, postgresql_url: str, path: str, mark: str
) -> None:
    (finding,) = findings_of(recording, postgresql_url, path)
    assert (finding.kind, finding.routes) == (PARKED_CHECKOUT, (f"GET {path}",))
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == (__file__, line_of(mark))
    assert finding.seconds > LONG_S * 0.9


def test_what_a_task_does_not_give_back_is_its_own_fault(
    recording: Recording, postgresql_url: str
) -> None:
    (finding,) = findings_of(recording, postgresql_url, "/lost")
    assert finding.kind is NEVER_RETURNED
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == (__file__, line_of("lost"))
    assert finding.seconds > LONG_S * 0.9


def test_a_job_that_leaves_its_connection_in_a_thread_of_a_pool(
    recording: Recording, postgresql_url: str
) -> None:
    """As jobs of a scheduler do with a ``scoped_session`` that only requests remove."""
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    database = scoped_session(sessionmaker(engine))

    def job() -> None:
        database.execute(sa.text("SELECT 1"))  # job

    with ThreadPoolExecutor(2) as executor:
        executor.submit(job).result()
        time.sleep(LONG_S)
        (finding,) = report_of(recording.read()).findings
        executor.submit(database.remove).result()
    engine.dispose()
    assert finding.kind is NEVER_RETURNED
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == (__file__, line_of("job"))
    assert finding.seconds > LONG_S * 0.9
