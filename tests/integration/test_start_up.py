"""What a service does before its first request is told as such, and only that."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import sqlalchemy as sa
from fastapi import FastAPI
from recorded_app import Recording, served
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import poolhog
from poolhog.analysis.findings import PARKED_CHECKOUT
from poolhog.analysis.report import report_of
from poolhog.render.report import verdict

SELECT = sa.text("SELECT 1")
HELD_S = 0.2


async def migrate(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(SELECT)
        await asyncio.sleep(3 * HELD_S)  # waits for other instances


async def poll(engine: AsyncEngine) -> None:
    while True:
        async with engine.connect() as connection:
            await connection.execute(SELECT)
            await asyncio.sleep(HELD_S)


def service(engine: AsyncEngine) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        polling = asyncio.create_task(poll(engine))
        await migrate(engine)
        yield
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def home() -> int:
        async with engine.connect() as connection:
            found = await connection.execute(SELECT)
            await asyncio.sleep(HELD_S)
            return int(found.scalar_one())

    return app


def test_what_is_over_before_the_first_request_is_start_up_code(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "trace")
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'data.sqlite'}")
    try:
        with served(service(engine)) as url:
            assert httpx.get(url).json() == 1
            time.sleep(2 * HELD_S)
        report = report_of(recording.read())
    finally:
        poolhog.uninstall()
    assert {route.name: route.is_at_start for route in report.routes} == {
        "test_start_up.py service.<locals>.lifespan": True,
        "test_start_up.py poll": False,
        "GET /": False,
    }
    assert {finding.kind for finding in report.findings} == {PARKED_CHECKOUT}
    # It held for longer than the others, but no request waits for it.
    *others, last = report.findings
    assert last.site is not None
    assert last.site.function == "migrate"
    assert last.is_at_start
    assert not any(finding.is_at_start for finding in others)
    endpoint = next(one for one in others if "home" in (one.site.function if one.site else ""))
    assert last.seconds > endpoint.seconds
    assert "at start-up, before the first request" in verdict(report.about("lifespan"))
