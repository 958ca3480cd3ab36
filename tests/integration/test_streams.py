"""Connections held while a response is streamed: the line is where the generator waits."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from litestar import Litestar, get
from litestar.response import Stream
from recorded_app import Recording, async_url, served
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.middleware.base import BaseHTTPMiddleware

import poolhog
from poolhog.analysis.findings import HELD_WHILE_STREAMING, STARVED_LOOP
from poolhog.analysis.report import report_of
from poolhog.model import Activity, Trace

SELECT = sa.text("SELECT 1")
STEPS = 5
STEP_S = 0.1

TOO_MUCH = b"x" * 3_000_000
"""More than the buffers between a server and its client take."""


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


class PureMiddleware:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            await send(message)

        await self.app(scope, receive, sending)


async def tokens(_: AsyncSession) -> AsyncIterator[str]:
    for number in range(STEPS):
        await asyncio.sleep(STEP_S)  # token
        yield f"{number}\n"


def rows() -> Iterator[str]:
    for number in range(STEPS):
        time.sleep(STEP_S)  # row
        yield f"{number}\n"


async def dump() -> AsyncIterator[bytes]:
    for _ in range(3 * STEPS):
        yield TOO_MUCH  # part


def make_app(engine: AsyncEngine) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            await session.execute(SELECT)  # user
            yield session

    InSession = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806 - a type

    @app.get("/plain")
    async def plain(session: InSession) -> None:
        await session.execute(SELECT)

    @app.get("/tokens")
    async def stream_tokens(session: InSession) -> StreamingResponse:
        return StreamingResponse(tokens(session))

    @app.get("/rows")
    async def stream_rows(session: InSession) -> StreamingResponse:
        return StreamingResponse(rows())

    @app.get("/dump")
    async def stream_dump(session: InSession) -> StreamingResponse:
        return StreamingResponse(dump())

    @app.get("/events", response_class=EventSourceResponse)
    async def stream_events(session: InSession) -> AsyncIterator[dict[str, int]]:
        for number in range(STEPS):
            await asyncio.sleep(STEP_S)  # event
            yield {"number": number}

    return app


def make_litestar(engine: AsyncEngine) -> Litestar:
    @get("/chunks")
    async def chunks() -> Stream:
        session = AsyncSession(engine)
        await session.execute(SELECT)

        async def content() -> AsyncIterator[str]:
            for number in range(STEPS):
                await asyncio.sleep(STEP_S)  # chunk
                yield f"{number}\n"
            await session.close()

        return Stream(content())

    return Litestar([chunks], on_shutdown=[engine.dispose])


LIBRARY = """
import anyio
from starlette.responses import Response

class Events(Response):
    def __init__(self, content):
        self.content, self.status_code, self.background = content, 200, None
        self.init_headers(None)

    async def __call__(self, scope, receive, send):
        async with anyio.create_task_group() as group:
            async def until_done(work):
                await work()
                group.cancel_scope.cancel()

            async def stream():
                await send({"type": "http.response.start", "status": 200, "headers": []})
                async for part in self.content:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})

            async def ping():
                while True:
                    await anyio.sleep(0.03)

            async def listen():
                while (await receive())["type"] != "http.disconnect":
                    pass

            for work in (ping, stream, listen):
                group.start_soon(until_done, work)
"""


def make_app_of_library(engine: AsyncEngine) -> FastAPI:
    """Of a library for event streams that does everything in tasks, and waits for all of them."""
    app = FastAPI()

    @app.get("/news")
    async def news() -> Response:
        session = AsyncSession(engine)
        await session.execute(SELECT)

        async def content() -> AsyncIterator[bytes]:
            for _ in range(STEPS):
                await asyncio.sleep(STEP_S)  # news
                yield b"news"
            await session.close()
            await engine.dispose()

        response: Response = importlib.import_module("some_sse").Events(content())
        return response

    return app


async def read(url: str, path: str, pause_s: float = 0.0) -> None:
    async with httpx.AsyncClient(base_url=url) as client, client.stream("GET", path) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes(1_000_000):
            await asyncio.sleep(pause_s)


def line_of(mark: str) -> int:
    """The number of the line of this file that ends with the comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))


Record = Callable[..., Trace]


@pytest.fixture
def record(tmp_path: Path, postgresql_url: str) -> Iterator[Record]:
    def run(
        make: Callable[[AsyncEngine], Any], *paths: str, middlewares: tuple[type, ...] = ()
    ) -> Trace:
        async def main(url: str) -> None:
            pause_s = STEP_S / 3 if "/dump" in paths else 0.0
            await asyncio.gather(*(read(url, path, pause_s) for path in paths))

        recording = Recording(tmp_path / "trace")
        app = make(create_async_engine(async_url(postgresql_url), pool_size=10))
        for middleware in middlewares:
            app.add_middleware(middleware)
        with served(app) as url:
            asyncio.run(main(url))
        return recording.read()

    yield run
    poolhog.uninstall()


def assert_streamed(trace: Trace, mark: str, route: str) -> None:
    """There is one finding: the connection is held at the marked line while the route streams."""
    # On a loaded machine anything may keep the loop for a moment.
    findings = [f for f in report_of(trace).findings if f.kind is not STARVED_LOOP]
    (finding,) = (f for f in findings if f.kind is HELD_WHILE_STREAMING)
    # The wait that goes on when the response begins is a part of it; there may be one before that.
    others = [f for f in findings if f is not finding]
    assert {f.site for f in others} <= {finding.site}
    assert sum(f.seconds for f in others) < STEP_S
    assert (finding.kind, finding.routes) == (HELD_WHILE_STREAMING, (route,))
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == (__file__, line_of(mark))
    assert finding.checkouts == 1
    assert finding.seconds > STEP_S
    seen = [s for c in trace.checkouts for s in c.samples if s.activity is Activity.PARKED]
    assert seen
    assert all(sample.site is not None for sample in seen)


@pytest.mark.parametrize("middlewares", [(), (Passing,), (Passing, PureMiddleware, Passing)])
@pytest.mark.parametrize(
    ("path", "mark"),
    [("/tokens", "token"), ("/rows", "row"), ("/dump", "part"), ("/events", "event")],
)
def test_the_generators_line_is_named(
    record: Record, path: str, mark: str, middlewares: tuple[type, ...]
) -> None:
    trace = record(make_app, path, "/plain", "/plain", middlewares=middlewares)
    assert_streamed(trace, mark, f"GET {path}")


def test_the_generators_line_is_named_under_litestar(record: Record) -> None:
    assert_streamed(record(make_litestar, "/chunks"), "chunk", "GET /chunks")


def test_the_generators_line_is_named_if_a_library_awaits_its_tasks(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "some_sse.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(packages)
    assert_streamed(record(make_app_of_library, "/news"), "news", "GET /news")
