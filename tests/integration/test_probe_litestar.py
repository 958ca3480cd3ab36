"""The Litestar probe: requests by route, responses, and background tasks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar, WebSocket, asgi, get, post, websocket
from litestar.background_tasks import BackgroundTask, BackgroundTasks
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath
from litestar.response import Response, Stream
from recorded_app import Recording, ask, serving, talk
from sqlalchemy.pool import QueuePool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import poolhog

ONE = sa.text("SELECT 1")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        connect_args={"check_same_thread": False},
    )
    yield engine
    engine.dispose()


@pytest.fixture
def recording_all(recording: Recording, sqlite: sa.Engine) -> Recording:
    """From the first checkout on, requests that ask for none are recorded as well."""
    sqlite.connect().close()
    return recording


def in_order(*instants: float | None) -> bool:
    """Whether all of it happened, one after the other."""
    happened = [instant for instant in instants if instant is not None]
    return len(happened) == len(instants) and happened == sorted(happened)


@get("/notes/{note_id:int}")
async def read_note(note_id: FromPath[int]) -> int:
    return note_id


@post("/notes/{note_id:int}")
async def write_note(note_id: FromPath[int]) -> int:
    return note_id


@websocket("/rooms/{room:str}")
async def enter_room(socket: WebSocket[Any, Any, Any], room: FromPath[str]) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


async def plain(request: Any) -> PlainTextResponse:
    return PlainTextResponse("plain")


def test_routes_are_templates(recording_all: Recording) -> None:
    below = Starlette(routes=[Route("/files/{name}/", plain)])
    mounted = asgi("/below", is_mount=True, copy_scope=True)(below)
    inner: Any = Litestar([read_note], path="/inner")
    app = Litestar([read_note, write_note, mounted], path="/api")
    outer = Starlette(routes=[Mount("/tenants/{tenant}", app=inner)])

    async def work() -> None:
        for method, path in (
            *(("GET", "/api/notes/7"), ("POST", "/api/notes/7"), ("GET", "/api/nothing")),
            *(("DELETE", "/api/notes/7"), ("GET", "/api/below/files/a"), ("GET", "/api/below/b")),
        ):
            await ask(app, path, method)
        await ask(outer, "/tenants/red/inner/notes/7")

    asyncio.run(work())
    requests = recording_all.read().requests
    assert [(request.name, request.status) for request in requests] == [
        ("GET /api/notes/{note_id}", 200),
        ("POST /api/notes/{note_id}", 201),
        ("GET /api/nothing", 404),
        ("DELETE /api/notes/7", 405),
        ("GET /api/below/files/{name}/", 200),
        ("GET /api/below/{path}", 404),
        ("GET /tenants/{tenant}/inner/notes/{note_id}", 200),
    ]


class Refuse(ASGIMiddleware):
    async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
        raise NotAuthorizedException


def guard_refuses(connection: ASGIConnection[Any, Any, Any, Any], _: Any) -> None:
    raise NotAuthorizedException


def test_a_refused_request_has_its_route(recording_all: Recording) -> None:
    @get("/middleware/{name:str}", middleware=[Refuse()])
    async def by_middleware(name: FromPath[str]) -> None: ...

    @get("/guard/{name:str}", guards=[guard_refuses])
    async def by_guard(name: FromPath[str]) -> None: ...

    async def work() -> None:
        app = Litestar([by_middleware, by_guard])
        await ask(app, "/middleware/a")
        await ask(app, "/guard/a")

    asyncio.run(work())
    requests = recording_all.read().requests
    assert [(request.name, request.status, request.error) for request in requests] == [
        ("GET /middleware/{name}", 401, None),
        ("GET /guard/{name}", 401, None),
    ]


def test_checkouts_belong_to_their_request(sqlite: sa.Engine, recording: Recording) -> None:
    """In a dependency, in a handler that runs in a thread, and in a background task."""

    def query() -> None:
        with sqlite.connect() as connection:
            connection.execute(ONE)

    async def connect() -> AsyncIterator[sa.Connection]:
        with sqlite.connect() as connection:
            yield connection

    @get("/async", dependencies={"connection": Provide(connect)})
    async def asynchronous(connection: NamedDependency[sa.Connection]) -> Response[str]:
        connection.execute(ONE)
        return Response("", background=BackgroundTasks([BackgroundTask(query)]))

    @get("/thread", sync_to_thread=True)
    def in_thread() -> None:
        query()

    async def work() -> None:
        app = Litestar([asynchronous, in_thread])
        await ask(app, "/async")
        await ask(app, "/thread")

    asyncio.run(work())
    trace = recording.read()
    first, second = trace.requests
    held, background, threaded = trace.checkouts
    assert held.request is background.request is first
    assert threaded.request is second
    (stage,) = first.stages
    assert stage.name == "background"
    assert in_order(first.responded, stage.started, background.returned, stage.ended, first.ended)


def test_a_stream_has_responded_when_its_client_leaves(recording_all: Recording) -> None:
    leave = asyncio.Event()

    async def parts() -> AsyncIterator[str]:
        yield "only"
        leave.set()
        await asyncio.sleep(3600)

    @get("/stream")
    async def stream() -> Stream:
        return Stream(parts())

    asyncio.run(ask(Litestar([stream]), "/stream", leave=leave))
    (request,) = recording_all.read().requests
    assert in_order(request.started, request.responding, request.responded, request.ended)


def test_an_exception_that_is_answered_is_not_let_out(recording_all: Recording) -> None:
    @get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    asyncio.run(ask(Litestar([fails]), "/fails"))
    (request,) = recording_all.read().requests
    assert (request.status, request.error) == (500, None)


def test_a_real_service(recording_all: Recording) -> None:
    app = Litestar([read_note, enter_room])
    with serving(app) as url, httpx.Client(base_url=url) as client:
        for note_id in range(3):  # over one connection, which is kept alive
            assert client.get(f"/notes/{note_id}").json() == note_id
        assert talk(url, "/rooms/red", "hello") == ["hello"]
    trace = recording_all.read()
    assert [(request.kind, request.name, request.status) for request in trace.requests] == [
        *[("http", "GET /notes/{note_id}", 200)] * 3,
        ("websocket", "WS /rooms/{room}", 101),
    ]
    for request in trace.requests:
        assert in_order(request.started, request.responding, request.responded, request.ended)
