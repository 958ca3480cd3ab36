"""What uvicorn serves: applications of any framework, connections that are kept, and clients
that leave.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from recorded_app import Recording, eventually, serving, talk
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

import poolhog
from poolhog import Request

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


def in_order(*instants: float | None) -> bool:
    """Whether all of it happened, one after the other."""
    happened = [instant for instant in instants if instant is not None]
    return len(happened) == len(instants) and happened == sorted(happened)


def answered(request: Request) -> bool:
    return in_order(request.started, request.responding, request.responded, request.ended)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_an_application_of_no_framework_is_recorded_by_its_paths(
    http: str, sqlite: sa.Engine, recording: Recording
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with sqlite.connect() as connection:
            connection.execute(ONE)
        if scope["path"] == "/fails":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with serving(app, http=http, lifespan="off") as url, httpx.Client(base_url=url) as client:
        for _ in range(2):  # over one connection, which is kept alive
            client.get("/one?token=secret")
        client.post("/fails")
    trace = recording.read()
    first, second, fails = trace.requests
    for request in (first, second):
        assert (request.name, request.route, request.status) == ("GET /one", None, 204)
        assert answered(request)
    # Uvicorn answers what the application does not.
    assert (fails.name, fails.status, fails.error) == ("POST /fails", None, "ZeroDivisionError")
    assert [checkout.request for checkout in trace.checkouts] == [first, second, fails]


def test_what_wraps_an_application_belongs_to_its_requests(
    sqlite: sa.Engine, recording: Recording
) -> None:
    inner = FastAPI()

    @inner.get("/notes/{note_id}")
    async def note(note_id: int) -> int:
        return note_id

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            with sqlite.connect() as connection:
                connection.execute(ONE)
        await inner(scope, receive, send)

    with serving(outer) as url:
        assert httpx.get(f"{url}/notes/7").json() == 7
    trace = recording.read()
    (request,), (checkout,) = trace.requests, trace.checkouts
    assert request.name == "GET /notes/{note_id}"
    assert checkout.request is request


def test_responses_that_take_their_time(
    sqlite: sa.Engine, recording: Recording, tmp_path: Path
) -> None:
    """A file, a stream that is read to its end, and one whose client leaves in the middle."""
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    app = FastAPI()
    ended: list[int] = []

    def open_session() -> Iterator[Session]:
        with Session(sqlite) as session:
            session.execute(ONE)
            yield session
        ended.append(time.monotonic_ns())

    dependency = Annotated[Session, Depends(open_session)]

    @app.get("/file/{name}")
    async def file(name: str, session: dependency) -> FileResponse:
        return FileResponse(tmp_path / name)

    @app.get("/events/{count}")
    async def events(count: int, session: dependency) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for number in range(count):
                yield b"data: %d\n\n" % number
                await asyncio.sleep(0.01)

        return StreamingResponse(parts(), media_type="text/event-stream")

    with serving(app) as url, httpx.Client(base_url=url) as client:
        assert len(client.get("/file/file").content) == 1_000_000
        assert client.get("/events/3").text.count("data") == 3
        with client.stream("GET", "/events/1000000") as response:
            next(response.iter_lines())
        eventually(lambda: len(ended) == 3)
    trace = recording.read()
    assert [(request.name, request.error) for request in trace.requests] == [
        *(("GET /file/{name}", None), ("GET /events/{count}", None), ("GET /events/{count}", None))
    ]
    for request, checkout in zip(trace.requests, trace.checkouts, strict=True):
        assert answered(request)
        # What a dependency holds is held while the client reads, and some time longer.
        assert in_order(request.responding, request.responded, checkout.returned, request.ended)


def test_websockets_end_when_either_side_leaves(sqlite: sa.Engine, recording: Recording) -> None:
    app = FastAPI()

    @app.websocket("/echo/{room}")
    async def echo(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        with Session(sqlite) as session:
            session.execute(ONE)
            async for text in websocket.iter_text():
                await websocket.send_text(text)

    @app.websocket("/refuses")
    async def refuses(websocket: WebSocket) -> None:
        await websocket.close()

    with serving(app) as url:
        assert talk(url, "/echo/red", "one", "two") == ["one", "two"]
        assert talk(url, "/refuses") is None
    trace = recording.read()
    echoed, refused = trace.requests
    (checkout,) = trace.checkouts
    assert (echoed.kind, echoed.name, echoed.status) == ("websocket", "WS /echo/{room}", 101)
    assert in_order(echoed.responding, checkout.granted, echoed.responded, checkout.returned)
    assert (refused.name, refused.status) == ("WS /refuses", 403)
    assert answered(echoed)
    assert answered(refused)
