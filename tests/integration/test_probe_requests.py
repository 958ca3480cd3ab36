"""The Starlette and FastAPI probes: requests, routes, responses, and the stages of a request."""

import asyncio
import contextvars
import time
import types
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import pytest
import sqlalchemy as sa
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    HTTPException,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import StreamingResponse
from opentelemetry import trace as telemetry
from recorded_app import Recording, ask, async_engine, eventually
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import poolhog
from poolhog import Outcome, Request, Stage
from poolhog.lab.postgres import LabDatabase
from poolhog.recording.recorder import Recorder

ONE = sa.text("SELECT 1")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture
def recording_all(recording: Recording, sqlite: sa.Engine) -> Recording:
    """From the first checkout on, requests that ask for none are recorded as well."""
    sqlite.connect().close()
    return recording


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        connect_args={"check_same_thread": False},
    )
    yield engine
    engine.dispose()


def stages(request: Request) -> dict[str, Stage]:
    """The stages by name, of which a request has each once."""
    found = {stage.name: stage for stage in request.stages}
    assert len(found) == len(request.stages)
    return found


def in_order(*instants: float | None) -> bool:
    """Whether all of it happened, one after the other."""
    happened = [instant for instant in instants if instant is not None]
    return len(happened) == len(instants) and happened == sorted(happened)


async def plain(request: StarletteRequest) -> PlainTextResponse:
    return PlainTextResponse("plain")


async def pass_on(request: StarletteRequest, call_next: Any) -> Any:
    return await call_next(request)


def test_routes_are_templates(recording_all: Recording) -> None:
    deep = APIRouter()
    deep.add_api_route("/notes/{note_id}", plain)
    router = APIRouter(prefix="/teams/{team}")
    router.add_api_route("/", plain)
    router.include_router(deep, prefix="/deep")
    mounted = FastAPI()
    mounted.add_api_route("/items/{item}", plain)
    mounted.include_router(deep, prefix="/in")
    below = Starlette(
        routes=[
            Route("/files/{path:path}", plain),
            Mount("/more", routes=[Route("/{name}", plain)]),
        ]
    )
    app = FastAPI()
    app.add_api_route("/notes/{note_id}", plain, methods=["GET", "POST"])
    app.include_router(router, prefix="/api")
    app.mount("/mounted", mounted)
    app.mount("/below", below)

    async def work() -> None:
        for path in (
            *("/notes/7", "/api/teams/red/", "/api/teams/red/deep/notes/7"),
            *("/mounted/items/7", "/mounted/in/notes/7"),
            *("/below/files/a/b", "/below/more/name"),
        ):
            await ask(app, path)
        await ask(app, "/notes/7", "POST")
        await ask(app, "/prefix/below/more/name", root_path="/prefix")
        await ask(below, "/files/alone")
        for path in ("/nothing", "/mounted/nothing"):
            await ask(app, path)
        await ask(app, "/notes/7", "DELETE")

    asyncio.run(work())
    requests = recording_all.read().requests
    assert [(request.name, request.status) for request in requests] == [
        ("GET /notes/{note_id}", 200),
        ("GET /api/teams/{team}/", 200),
        ("GET /api/teams/{team}/deep/notes/{note_id}", 200),
        ("GET /mounted/items/{item}", 200),
        ("GET /mounted/in/notes/{note_id}", 200),
        ("GET /below/files/{path}", 200),
        ("GET /below/more/{name}", 200),
        ("POST /notes/{note_id}", 200),
        ("GET /below/more/{name}", 200),
        ("GET /files/{path}", 200),
        ("GET /nothing", 404),
        ("GET /mounted/{path}", 404),
        ("DELETE /notes/{note_id}", 405),
    ]
    assert requests[0].path == "/notes/7"
    assert requests[10].route is None


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


def test_mounts_are_templates_too(recording_all: Recording) -> None:
    notes = FastAPI()
    notes.add_api_route("/notes/{note_id}", plain)
    regions = Starlette(routes=[Mount("/regions/{region:int}", app=notes)])
    router = APIRouter()
    router.add_route("/plain/{name}", plain)
    router.mount("/mounted", notes)
    app = FastAPI()
    app.include_router(router, prefix="/in/{house}")
    app.mount("/tenants/{tenant}", regions)
    app.mount("/files", plain_asgi)
    app.mount("", Starlette(routes=[Route("/deep/{name}", plain)]))

    async def work() -> None:
        for path in (
            *("/tenants/red/regions/7/notes/1", "/tenants/red/nothing/7"),
            *("/in/here/plain/a", "/in/here/mounted/notes/1"),
            *("/files/a/b", "/deep/a"),
        ):
            await ask(app, path)
        await ask(app, "/proxied/deep/a", root_path="/proxied")

    asyncio.run(work())
    assert [request.name for request in recording_all.read().requests] == [
        "GET /tenants/{tenant}/regions/{region}/notes/{note_id}",
        "GET /tenants/{tenant}/{path}",
        "GET /in/{house}/plain/{name}",
        "GET /in/{house}/mounted/notes/{note_id}",
        "GET /files/{path}",
        "GET /deep/{name}",
        "GET /deep/{name}",
    ]


def test_an_open_request_has_its_route(recording_all: Recording) -> None:
    app = FastAPI()

    @app.get("/notes/{note_id}")
    async def note(note_id: int) -> str | None:
        def is_written() -> bool:
            with suppress(poolhog.TraceError):
                requests = poolhog.open_trace(recording_all.directory).requests
                return [request.name for request in requests] == ["GET /notes/{note_id}"]
            return False

        await asyncio.to_thread(eventually, is_written)
        return None

    asyncio.run(ask(app, "/notes/7"))


def test_a_middleware_may_hand_on_a_copy_of_the_scope(recording_all: Recording) -> None:
    app = Starlette(routes=[Route("/{name}", plain)])

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await app(dict(scope), receive, send)

    asyncio.run(ask(Starlette(routes=[Mount("/copied", app=copying)]), "/copied/a"))
    (request,) = recording_all.read().requests
    assert request.name == "GET /copied/{name}"


def test_no_query_and_no_secret_of_it_is_kept(recording_all: Recording) -> None:
    app = Starlette(routes=[Route("/login", plain)])
    asyncio.run(ask(app, "/login"))
    recording_all.read()
    (file,) = recording_all.directory.glob("*.sqlite")
    assert b"secret" not in file.read_bytes()


def test_a_request_is_answered_in_order(recording_all: Recording) -> None:
    app = Starlette(routes=[Route("/", plain)])
    asyncio.run(ask(app, "/"))
    (request,) = recording_all.read().requests
    assert (request.kind, request.method) == ("http", "GET")
    assert in_order(request.started, request.responding, request.responded, request.ended)


def test_exceptions_end_a_request(recording_all: Recording) -> None:
    app = FastAPI()

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    @app.get("/refuses")
    async def refuses() -> None:
        raise HTTPException(418)

    async def work() -> None:
        with pytest.raises(ZeroDivisionError):
            await ask(app, "/fails")
        await ask(app, "/refuses")

    asyncio.run(work())
    fails_, refuses_ = recording_all.read().requests
    assert (fails_.error, refuses_.error) == ("ZeroDivisionError", None)
    for request, status in ((fails_, 500), (refuses_, 418)):
        assert request.status == status
        assert in_order(request.started, request.responding, request.responded, request.ended)
        # What has no handler is looked for twice: around the route, and around the application.
        first = {stage.name: stage for stage in reversed(request.stages)}
        assert set(first) == {"dependencies", "endpoint", "exception handling"}
        endpoint, handling = first["endpoint"], first["exception handling"]
        assert in_order(endpoint.ended, handling.started, request.responding)


def test_a_request_that_is_cancelled_ends(recording_all: Recording) -> None:
    async def never(request: StarletteRequest) -> PlainTextResponse:
        await asyncio.sleep(3600)
        return await plain(request)

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(Starlette(routes=[Route("/", never)]), "/")

    asyncio.run(work())
    (request,) = recording_all.read().requests
    assert (request.status, request.responding, request.responded) == (None, None, None)
    assert request.ended is not None
    assert request.error == "CancelledError"


def test_a_request_that_nobody_awaits_any_more_ends(recording_all: Recording) -> None:
    """The garbage collector ends its coroutine, in a context where it never ran."""

    @types.coroutine
    def never() -> Iterator[None]:
        yield

    async def wait(request: StarletteRequest) -> PlainTextResponse:
        await never()
        return await plain(request)

    answer = ask(Starlette(routes=[Route("/", wait)]), "/")
    contextvars.copy_context().run(answer.send, None)
    del answer
    (request,) = recording_all.read().requests
    assert request.error == "GeneratorExit"


def test_a_response_that_streams_has_responded_after_its_last_part(
    sqlite: sa.Engine, recording: Recording
) -> None:
    app = FastAPI()

    def open_session() -> Iterator[Session]:
        with Session(sqlite) as session:
            yield session

    @app.get("/stream")
    async def stream(session: Annotated[Session, Depends(open_session)]) -> StreamingResponse:
        session.execute(ONE)

        async def parts() -> AsyncIterator[str]:
            for part in "abc":
                await asyncio.sleep(0.02)
                yield part

        return StreamingResponse(parts())

    asyncio.run(ask(app, "/stream"))
    trace = recording.read()
    (request,), (checkout,) = trace.requests, trace.checkouts
    assert request.responding is not None
    assert request.responded is not None
    assert request.responded - request.responding >= 0.06
    # The stream pins the dependency, and with it the connection.
    found = stages(request)
    assert in_order(request.responded, found["exit stack"].started, checkout.returned)
    assert "serialization" not in found


def test_a_client_that_leaves_ends_the_response(sqlite: sa.Engine, recording: Recording) -> None:
    app = FastAPI()
    leave = asyncio.Event()

    def open_session() -> Iterator[Session]:
        with Session(sqlite) as session:
            yield session

    @app.get("/events")
    async def events(session: Annotated[Session, Depends(open_session)]) -> StreamingResponse:
        session.execute(ONE)

        async def parts() -> AsyncIterator[str]:
            yield "only"
            leave.set()
            await asyncio.sleep(3600)

        return StreamingResponse(parts())

    asyncio.run(ask(app, "/events", leave=leave))
    trace = recording.read()
    (request,), (checkout,) = trace.requests, trace.checkouts
    unwound = stages(request)["exit stack"]
    assert in_order(request.responding, request.responded, unwound.started, checkout.returned)
    assert request.error is None


def test_a_server_that_refuses_a_part_ends_the_response(recording_all: Recording) -> None:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise OSError("the client is gone")
            await send(message)

        await Starlette(routes=[Route("/", plain)])(scope, receive, refuse)

    with pytest.raises(OSError, match="the client is gone"):
        asyncio.run(ask(outer, "/"))
    (request,) = recording_all.read().requests
    assert in_order(request.responding, request.responded, request.ended)
    assert request.error == "OSError"


async def converse(app: Any, path: str, *received: dict[str, Any]) -> list[str]:
    """The types of what the application sends over a websocket to one that sends this."""
    messages = iter([{"type": "websocket.connect"}, *received])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
    }
    await app(scope, receive, send)
    return sent


def test_a_websocket_is_a_request(recording_all: Recording) -> None:
    app = FastAPI()
    rooms = APIRouter()

    @rooms.websocket("/chat/{room}")
    async def chat(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app.include_router(rooms, prefix="/rooms")
    hello = {"type": "websocket.receive", "text": "hello"}
    assert asyncio.run(converse(app, "/rooms/chat/7", hello)) == [
        *("websocket.accept", "websocket.send", "websocket.close")
    ]
    (request,) = recording_all.read().requests
    assert (request.kind, request.status) == ("websocket", 101)
    assert request.name == "WS /rooms/chat/{room}"
    assert in_order(request.started, request.responding, request.responded, request.ended)
    assert "dependencies" in stages(request)


def test_a_websocket_ends_when_its_client_leaves(recording_all: Recording) -> None:
    app = FastAPI()
    left: list[int] = []

    @app.websocket("/leaves")
    async def leaves(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_text()
        left.append(time.monotonic_ns())

    @app.websocket("/refuses")
    async def refuses(websocket: WebSocket) -> None:
        await websocket.close()

    async def work() -> None:
        await converse(app, "/leaves", {"type": "websocket.disconnect", "code": 1001})
        await converse(app, "/refuses")

    asyncio.run(work())
    trace = recording_all.read()
    leaves_, refuses_ = trace.requests
    assert in_order(leaves_.responding, leaves_.responded, trace.at(left[0]), leaves_.ended)
    assert (leaves_.status, leaves_.error) == (101, None)
    assert (refuses_.status, refuses_.responding) == (403, refuses_.responded)


def test_middleware_and_threads_keep_the_request(sqlite: sa.Engine, recording: Recording) -> None:
    """Each runs the rest in a task or a thread of its own."""
    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    @app.get("/thread")
    def thread() -> int:
        with Session(sqlite) as session:
            return int(session.execute(ONE).scalar_one())

    asyncio.run(ask(app, "/thread"))
    trace = recording.read()
    (request,), (checkout,) = trace.requests, trace.checkouts
    assert checkout.request is request
    assert request.name == "GET /thread"
    assert in_order(request.started, request.responding, request.responded, request.ended)
    assert list(stages(request)) == ["dependencies", "endpoint", "session", "serialization"]


def test_background_and_child_tasks_belong_to_their_request(
    sqlite: sa.Engine, recording: Recording
) -> None:
    app = FastAPI()
    children: list[asyncio.Task[None]] = []

    async def query(delay: float) -> None:
        await asyncio.sleep(delay)
        with Session(sqlite) as session:
            session.execute(ONE)

    @app.get("/work")
    async def work_(tasks: BackgroundTasks) -> None:
        tasks.add_task(query, 0.0)
        children.append(asyncio.create_task(query(0.1), name="child"))

    async def work() -> None:
        await ask(app, "/work")
        await asyncio.gather(*children)
        await query(0.0)

    asyncio.run(work())
    trace = recording.read()
    (request,) = trace.requests
    background, child, other = trace.checkouts
    assert background.request is request
    assert in_order(request.responded, background.asked, request.ended, child.asked)
    stage = stages(request)["background"]
    assert in_order(stage.started, background.asked, background.returned, stage.ended)
    assert child.request is request
    assert child.owner == "child"
    assert other.request is None


def test_each_background_task_is_a_stage(recording_all: Recording) -> None:
    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    async def fail() -> None:
        raise ZeroDivisionError

    @app.get("/")
    async def work_(tasks: BackgroundTasks) -> None:
        tasks.add_task(time.sleep, 0.01)
        tasks.add_task(fail)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask(app, "/"))
    (request,) = recording_all.read().requests
    in_thread, failing = (stage for stage in request.stages if stage.name == "background")
    assert in_order(request.responded, in_thread.started, in_thread.ended, failing.started)
    assert in_order(failing.ended, request.ended)
    assert request.error == "ZeroDivisionError"


def test_requests_at_once_are_told_apart(sqlite: sa.Engine, recording: Recording) -> None:
    app = FastAPI()

    @app.get("/notes/{note_id}")
    async def note(note_id: int) -> None:
        with Session(sqlite) as session:
            session.execute(ONE)
            await asyncio.sleep(0.02)
            session.execute(ONE)

    async def work() -> None:
        await asyncio.gather(*(ask(app, f"/notes/{n}") for n in range(8)))

    asyncio.run(work())
    trace = recording.read()
    owners = {c.request.path: c.owner for c in trace.checkouts if c.request is not None}
    assert len(owners) == len(set(owners.values())) == 8


def test_a_request_in_the_context_of_another_is_a_request(recording_all: Recording) -> None:
    """A server starts a pipelined request where the one before it was answered."""
    app = Starlette(routes=[Route("/{name}", plain)])
    following: list[asyncio.Task[Any]] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def answered(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                following.append(asyncio.create_task(ask(app, "/second")))
                await asyncio.sleep(0.05)

        await app(scope, receive, answered)

    async def work() -> None:
        await ask(outer, "/first")
        await asyncio.gather(*following)

    asyncio.run(work())
    first, second = recording_all.read().requests
    assert (first.path, second.path) == ("/first", "/second")
    assert in_order(second.started, second.ended, first.ended)


def test_a_path_that_is_no_text_is_recorded(recording_all: Recording) -> None:
    app = Starlette(routes=[Route("/{name}", plain)])
    asyncio.run(ask(app, "/\udcff"))
    (request,) = recording_all.read().requests
    assert request.path == "/?"


def test_a_request_that_outlives_the_recording_is_answered(recording_all: Recording) -> None:
    app = FastAPI()

    @app.get("/")
    async def end() -> str:
        poolhog.uninstall()
        return "answered"

    sent = asyncio.run(ask(app, "/"))
    assert sent[1]["body"] == b'"answered"'
    (request,) = poolhog.open_trace(recording_all.directory).requests
    assert request.ended is None


@contextmanager
def request_and_function_scope(engine: Any) -> Iterator[FastAPI]:
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/request")
    async def request(session: Annotated[AsyncSession, Depends(open_session)]) -> int:
        return int((await session.execute(ONE)).scalar_one())

    @app.get("/function")
    async def function(
        session: Annotated[AsyncSession, Depends(open_session, scope="function")],
    ) -> int:
        return int((await session.execute(ONE)).scalar_one())

    @app.get("/explicit")
    async def explicit(session: Annotated[AsyncSession, Depends(open_session)]) -> int:
        async with session.begin():
            return int((await session.execute(ONE)).scalar_one())

    @app.get("/nothing")
    async def nothing() -> int:
        return 1

    yield app


def test_the_stages_of_a_request(database: LabDatabase, recording: Recording) -> None:
    async def work() -> None:
        async with async_engine(database.url) as engine:
            with request_and_function_scope(engine) as app:
                for path in ("/request", "/function", "/explicit", "/nothing"):
                    await ask(app, path)

    asyncio.run(work())
    trace = recording.read()
    request, function, explicit, nothing = trace.requests
    held = {c.request.path: c for c in trace.checkouts if c.request is not None}

    for one in (request, function, explicit):
        found = stages(one)
        assert in_order(
            *(one.started, found["dependencies"].started, found["session"].started),
            *(found["dependencies"].ended, found["endpoint"].started, found["endpoint"].ended),
            *(found["serialization"].started, found["serialization"].ended),
            *(found["exit stack"].started, found["session"].ended, found["exit stack"].ended),
            one.ended,
        )
    assert list(stages(nothing)) == ["dependencies", "endpoint", "serialization"]

    # The default: the response is sent, then the dependencies are unwound.
    unwound = stages(request)["exit stack"]
    assert in_order(request.responded, unwound.started, held["/request"].returned, unwound.ended)
    # Of scope "function" they are unwound before the response is sent.
    unwound = stages(function)["exit stack"]
    assert in_order(unwound.started, held["/function"].returned, unwound.ended, function.responding)
    # An explicit transaction returns the connection within the endpoint.
    endpoint = stages(explicit)["endpoint"]
    assert in_order(endpoint.started, held["/explicit"].returned, endpoint.ended)
    assert {checkout.outcome for checkout in trace.checkouts} == {Outcome.RETURNED}


def test_each_dependency_is_unwound_in_a_stage_of_its_own(
    sqlite: sa.Engine, recording: Recording
) -> None:
    async def settings() -> AsyncIterator[str]:
        yield "first in, last out"

    class OpenSession:
        def __call__(self, _: Annotated[str, Depends(settings)]) -> Iterator[Session]:
            with Session(sqlite) as session:
                yield session

    async def audit() -> AsyncIterator[str]:
        yield "last in, first out"
        await asyncio.sleep(0.02)

    app = FastAPI()

    @app.get("/")
    async def root(
        session: Annotated[Session, Depends(OpenSession())],
        _: Annotated[str, Depends(audit)],
    ) -> int:
        return int(session.execute(ONE).scalar_one())

    asyncio.run(ask(app, "/"))
    trace = recording.read()
    (request,), (checkout,) = trace.requests, trace.checkouts
    unwound = [stage for stage in request.stages if stage.name == "exit stack"]
    closed = [stage.site.function.rpartition(">.")[2] for stage in unwound if stage.site]
    assert closed == ["audit", "OpenSession.__call__", "settings"]
    assert all(in_order(one.ended, other.started) for one, other in pairwise(unwound))
    assert unwound[0].site is not None
    assert unwound[0].site.source == "async def audit() -> AsyncIterator[str]:"
    assert in_order(unwound[1].started, checkout.returned, unwound[1].ended)


class Span(telemetry.NonRecordingSpan):
    """A span that remembers when it began and ended, on the clock that poolhog uses."""

    def __init__(self, name: str) -> None:
        super().__init__(telemetry.INVALID_SPAN_CONTEXT)
        self.name = name
        self.began_ns = time.monotonic_ns()
        self.ended_ns: int | None = None

    def is_recording(self) -> bool:
        return True

    def end(self, end_time: int | None = None) -> None:
        self.ended_ns = time.monotonic_ns()


class Provider(telemetry.TracerProvider):
    """As much of OpenTelemetry's SDK as keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def get_tracer(self, *_: Any, **__: Any) -> telemetry.Tracer:
        return SpanTracer(self.spans)


class SpanTracer(telemetry.Tracer):
    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans

    def start_span(self, name: str, *_: Any, **__: Any) -> telemetry.Span:
        span = Span(name)
        self._spans.append(span)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override] # the supertype's manager is private
        self, name: str, *_: Any, **__: Any
    ) -> Iterator[telemetry.Span]:
        span = self.start_span(name)
        with telemetry.use_span(span, record_exception=False, set_status_on_exception=False):
            yield span
        span.end()


def test_the_stages_agree_with_fastapis_own_spans(sqlite: sa.Engine, recording: Recording) -> None:
    provider = Provider()
    app = FastAPI(telemetry={"tracer_provider": provider, "auto_configure": False})

    async def open_session() -> AsyncIterator[Session]:
        await asyncio.sleep(0.01)
        with Session(sqlite) as session:
            yield session

    @app.get("/notes/{note_id}")
    async def note(
        note_id: int, session: Annotated[Session, Depends(open_session)]
    ) -> dict[str, int]:
        await asyncio.sleep(0.01)
        return {"one": session.execute(ONE).scalar_one()}

    async def work() -> None:
        # The first request builds the application, which takes time between the two.
        for _ in range(3):
            await ask(app, "/notes/7")

    asyncio.run(work())
    trace = recording.read()
    names = ["fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"]
    assert [span.name for span in provider.spans] == 3 * ["GET", *names]
    for index, request in enumerate(trace.requests):
        server, *spans = provider.spans[index * 4 : index * 4 + 4]
        ours = [s for s in request.stages if s.name not in ("session", "exit stack")]
        assert [f"fastapi.{stage.name}" for stage in ours] == names
        for stage, span in zip(ours, spans, strict=True):
            began, ended = instants(trace, span)
            assert stage.ended is not None
            within = began <= stage.started <= stage.ended <= ended
            around = stage.started <= began <= ended <= stage.ended
            assert within or around
        for span, following in zip(spans, ours[1:], strict=False):
            assert instants(trace, span)[1] <= following.started
        began, ended = instants(trace, server)
        # FastAPI's span ends with the response; ours when the dependencies are unwound as well.
        assert in_order(began, request.started, request.responding, ended, request.ended)


def instants(trace: poolhog.Trace, span: Span) -> tuple[float, float]:
    assert span.ended_ns is not None
    return trace.at(span.began_ns), trace.at(span.ended_ns)


@pytest.mark.parametrize("left", [None, "surprise"])
def test_a_scope_that_is_tampered_with_is_not_the_applications_fault(
    left: object, recording_all: Recording
) -> None:
    async def tamper(request: Any) -> PlainTextResponse:
        request.scope["fastapi"] = left
        return PlainTextResponse("answered")

    answered = asyncio.run(ask(Starlette(routes=[Route("/", tamper)]), "/"))
    assert answered[1]["body"] == b"answered"
    (request,) = recording_all.read().requests
    assert request.ended is not None


def test_an_application_without_a_database_leaves_nothing(recording: Recording) -> None:
    asyncio.run(ask(Starlette(routes=[Route("/", plain)]), "/"))
    poolhog.uninstall()
    assert not recording.directory.exists()


def test_a_fault_in_a_probe_is_not_the_applications(
    database: LabDatabase,
    recording: Recording,
    sqlite: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every way into the recorder is broken, and every answer is what it is without it."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a fault of poolhog's")

    for name in ("pool", "request", "ask", "operate"):
        monkeypatch.setattr(Recorder, name, fail)

    async def work() -> None:
        async with async_engine(database.url) as engine:
            with request_and_function_scope(engine) as app:
                for path in ("/request", "/function", "/explicit"):
                    assert (await ask(app, path))[1]["body"] == b"1"
        async with (
            asyncpg.create_pool(database.url, min_size=0, max_size=1) as pool,
            pool.acquire() as connection,
            connection.transaction(),
        ):
            assert await connection.fetchval("SELECT 1") == 1
        with Session(sqlite) as session:
            assert session.execute(ONE).scalar_one() == 1

    asyncio.run(work())
    poolhog.uninstall()
    assert caplog.text.count("poolhog failed to record a fact and goes on") == 1
    assert not recording.directory.exists()
