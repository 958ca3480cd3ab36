"""Findings about a real service: each bad habit is named with its line, and good ones are not."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from recorded_app import Recording, ask, async_url
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool
from starlette.middleware import Middleware

from poolhog import open_trace
from poolhog.analysis.findings import (
    CONNECTION_CHURN,
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    LOST_WRITE,
    NESTED_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    STARVED_LOOP,
    AnyKind,
    Finding,
)
from poolhog.analysis.report import report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.lab import children
from poolhog.lab.postgres import LabDatabase
from poolhog.lab.service.settings import Settings, Style
from poolhog.render.findings import advice, detail

SELECT = sa.text("SELECT id, data FROM notes WHERE id = 1")
UPDATE = sa.text("UPDATE notes SET data = data || '!' WHERE id = 1")
LONG_S = 0.3

Scenario = Callable[[FastAPI], Awaitable[object]]


def line_of(mark: str) -> int:
    """The number of the line of this file that ends with the comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))


async def call_an_api() -> None:
    await connect_to_it()  # helper


async def connect_to_it() -> None:
    await asyncio.sleep(LONG_S)  # helper's helper


def work_in_a_thread() -> None:
    time.sleep(LONG_S)  # blocking call


async def send_a_mail() -> None:
    await asyncio.sleep(LONG_S)  # background


def block_the_loop() -> None:
    time.sleep(LONG_S)  # blocked loop


async def events(session: AsyncSession) -> AsyncIterator[str]:
    for number in range(3):
        await session.execute(SELECT)
        yield f"data: {number}\n\n"  # part of the stream


class PassingOn:
    """A middleware of the application, which is neither to blame for what it passes on."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def passing_on(message: Any) -> None:
            await send(message)

        await self._app(scope, receive, passing_on)


def make_app(url: str) -> FastAPI:
    app = FastAPI(middleware=[Middleware(PassingOn)])
    engine = create_async_engine(async_url(url), pool_size=5, max_overflow=0)
    small = create_async_engine(async_url(url), pool_size=1, max_overflow=0, pool_timeout=LONG_S)
    no_pool = create_async_engine(async_url(url), poolclass=NullPool)
    sync = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    app.state.engines = [engine, small, no_pool]
    app.state.sync = sync
    app.state.kept = []

    async def open_session() -> AsyncIterator[AsyncSession]:  # dependency
        async with AsyncSession(engine) as session:
            yield session

    def open_sync_session() -> Iterator[sa.Connection]:
        with sync.connect() as connection:
            yield connection

    async def authenticate(session: Annotated[AsyncSession, Depends(open_session)]) -> None:
        await session.execute(SELECT)

    Session = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806
    Connection = Annotated[sa.Connection, Depends(open_sync_session)]  # noqa: N806

    @app.get("/implicit")
    async def implicit(session: Session) -> str:
        await session.execute(SELECT)
        return "fine"

    @app.get("/explicit")
    async def explicit(session: Session) -> str:
        async with session.begin():
            await session.execute(SELECT)
        await call_an_api()
        async with session.begin():
            await session.execute(UPDATE)
        return "fine"

    @app.get("/sync")
    def in_a_thread(connection: Connection) -> str:
        connection.execute(SELECT)
        return "fine"

    @app.get("/rolled-back")
    async def rolled_back(session: Session) -> str:
        await session.execute(UPDATE)
        await session.rollback()
        return "on purpose"

    @app.get("/parked")
    async def parked(session: Session) -> str:
        await session.execute(SELECT)  # select
        await call_an_api()  # parked
        await session.execute(UPDATE)  # update
        await session.commit()
        return "parked"

    @app.get("/authenticated", dependencies=[Depends(authenticate)])
    async def authenticated() -> str:
        await call_an_api()  # parked by a dependency
        return "parked"

    @app.get("/parked-thread")
    def parked_in_a_thread(connection: Connection) -> str:
        connection.execute(SELECT)
        work_in_a_thread()  # parked in a thread
        return "parked"

    @app.get("/background")
    async def background(session: Session, tasks: BackgroundTasks) -> str:
        await session.execute(SELECT)
        tasks.add_task(send_a_mail)
        return "later"

    @app.get("/stream")
    async def stream(session: Session) -> StreamingResponse:
        return StreamingResponse(events(session), media_type="text/event-stream")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, session: Session) -> None:
        await websocket.accept()
        await session.execute(SELECT)
        await websocket.receive_text()  # receive
        await websocket.close()

    @app.get("/nested")
    async def nested(session: Session) -> str:
        await session.execute(SELECT)
        async with AsyncSession(engine) as other:
            await other.execute(sa.text("SELECT pg_sleep(0.1)"))  # nested
        return "nested"

    @app.get("/siblings")
    async def siblings() -> str:
        async def work() -> None:
            async with AsyncSession(engine) as session:
                await session.execute(sa.text("SELECT pg_sleep(0.01)"))

        await asyncio.gather(work(), work())
        return "each of them can go on without the other"

    @app.get("/kept")
    async def keep() -> str:
        session = AsyncSession(engine)
        app.state.kept.append(session)
        await session.execute(sa.text("SELECT 1"))  # kept
        return "kept"

    @app.get("/forgotten")
    async def forget() -> str:
        session = AsyncSession(engine)
        await session.execute(sa.text("SELECT 1"))  # forgotten
        return "forgotten"

    @app.get("/lost")
    async def lost(session: Session) -> str:
        await session.execute(UPDATE)  # lost
        return "lost"

    @app.get("/small")
    async def in_small_pool() -> str:
        async with AsyncSession(small) as session:
            await session.execute(SELECT)  # timeout
            await asyncio.sleep(3 * LONG_S)  # holder
        return "small"

    @app.get("/no-pool")
    async def without_pool() -> str:
        async with AsyncSession(no_pool) as session:
            await session.execute(SELECT)  # churn
        return "churn"

    @app.get("/starved")
    async def starved(session: Session) -> str:
        await session.execute(SELECT)
        app.state.blocked.set()
        while app.state.blocked.is_set():
            await asyncio.sleep(0)
        return "starved"

    @app.get("/blocking")
    async def blocking() -> str:
        app.state.blocked.clear()
        block_the_loop()
        return "blocking"

    return app


class Findings:
    """Runs a scenario in a recording of its own, and finds."""

    def __init__(self, database: LabDatabase, directory: Path) -> None:
        self._url = database.url
        self._schema = database.schema
        self._directory = directory

    def of(self, *paths: str, times: int = 2) -> tuple[Finding, ...]:
        """About an application that is asked for these paths, at the same time."""
        return self.about(lambda app: asyncio.gather(*(ask(app, p) for p in paths * times)))

    def about(self, scenario: Scenario) -> tuple[Finding, ...]:
        """About an application to which this happens."""
        recording = Recording(self._directory)
        return asyncio.run(self._run(recording, scenario))

    async def _run(self, recording: Recording, scenario: Scenario) -> tuple[Finding, ...]:
        app = make_app(self._url)
        engines: list[AsyncEngine] = app.state.engines
        for engine in (*(e.sync_engine for e in engines), app.state.sync):
            sa.event.listen(engine, "connect", self._set_schema)
        try:
            await scenario(app)
            return report_of(recording.read()).findings
        finally:
            for session in app.state.kept:
                await session.close()
            for engine in engines:
                await engine.dispose()
            app.state.sync.dispose()

    def _set_schema(self, connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET search_path TO {self._schema}")
        connection.commit()


@pytest.fixture
def findings(database: LabDatabase, tmp_path: Path) -> Findings:
    return Findings(database, tmp_path / "trace")


def only(found: tuple[Finding, ...], kind: AnyKind, mark: str) -> Finding:
    """The one finding that there is: it is at the marked line."""
    assert [finding.kind for finding in found] == [kind], found
    (finding,) = found
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == (__file__, line_of(mark))
    return finding


def test_what_is_fine_is_not_found(findings: Findings) -> None:
    paths = ("/implicit", "/explicit", "/sync", "/rolled-back", "/siblings")
    assert findings.of(*paths, times=10) == ()


def test_parked_through_two_functions(findings: Findings) -> None:
    found = only(findings.of("/parked"), PARKED_CHECKOUT, "parked")
    assert [(s.function, s.line) for s in found.awaiting[:2]] == [
        ("call_an_api", line_of("helper")),
        ("connect_to_it", line_of("helper's helper")),
    ]
    assert found.awaiting[-1].function == "sleep"
    assert (found.routes, found.checkouts) == (("GET /parked",), 2)
    assert 2 * LONG_S * 0.9 < found.seconds < 2 * LONG_S * 2
    assert found.share > 0.5
    select, update = line_of("select"), line_of("update")
    assert f"`SELECT … FROM notes` (test_findings.py:{select})" in detail(found)
    assert f"`UPDATE notes …` (test_findings.py:{update})" in detail(found)
    assert found.example.ended - found.example.started > LONG_S * 0.9


def test_parked_in_an_endpoint_while_a_dependency_has_the_session(findings: Findings) -> None:
    mark = "parked by a dependency"
    only(findings.of("/authenticated"), PARKED_CHECKOUT, mark)


def test_parked_in_a_thread(findings: Findings) -> None:
    found = only(findings.of("/parked-thread"), PARKED_CHECKOUT, "parked in a thread")
    assert found.awaiting[0].line == line_of("blocking call")


def test_held_after_the_response_by_a_background_task(findings: Findings) -> None:
    found = only(findings.of("/background"), HELD_AFTER_RESPONSE, "dependency")
    assert '`Depends(open_session, scope="function")`' in advice(found)
    assert "by the dependency `open_session`, while background tasks ran, asked" in detail(found)
    assert found.awaiting[0].line == line_of("background")


def test_held_while_a_client_reads_slowly(findings: Findings) -> None:
    async def read_slowly(app: FastAPI) -> None:
        # Like a server's: no code of the application.
        await app(_scope("http", "/stream"), _never, lambda message: asyncio.sleep(LONG_S / 3))

    found = only(findings.about(read_slowly), HELD_WHILE_STREAMING, "part of the stream")
    assert found.routes == ("GET /stream",)


def test_held_while_a_websocket_waits(findings: Findings) -> None:
    async def say_something_late(app: FastAPI) -> None:
        messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]

        async def receive() -> Any:
            message = messages.pop(0)
            if message["type"] == "websocket.receive":
                await asyncio.sleep(LONG_S)
            return message

        async def send(message: Any) -> None:
            pass

        await app(_scope("websocket", "/socket"), receive, send)

    only(findings.about(say_something_late), HELD_WHILE_STREAMING, "receive")


def test_nested(findings: Findings) -> None:
    found = only(findings.of("/nested"), NESTED_CHECKOUT, "nested")
    assert found.checkouts == 2
    assert "With 5 connections in the pool, 5 requests at the same time" in detail(found)
    # The parked seconds of the outer one are told here, and nowhere else.
    assert found.seconds > 0.1


def test_never_returned(findings: Findings) -> None:
    found = only(findings.of("/kept", times=1), NEVER_RETURNED, "kept")
    assert "1 connection did not come back" in detail(found)


def test_returned_by_the_garbage_collector(findings: Findings) -> None:
    async def forget(app: FastAPI) -> None:
        await ask(app, "/forgotten")
        gc.collect()
        await asyncio.sleep(0)

    with warnings.catch_warnings(category=sa.exc.SAWarning, action="ignore"):
        found = only(findings.about(forget), NEVER_RETURNED, "forgotten")
    assert "by the garbage collector" in detail(found)


def test_lost_write(findings: Findings) -> None:
    found = only(findings.of("/lost"), LOST_WRITE, "lost")
    assert found.checkouts == 2
    assert "`UPDATE notes …`" in detail(found)


def test_pool_timeout(findings: Findings) -> None:
    async def ask_twice(app: FastAPI) -> None:
        answers = await asyncio.gather(
            ask(app, "/small"), ask(app, "/small"), return_exceptions=True
        )
        assert [type(a) for a in answers if isinstance(a, Exception)] == [PoolTimeout]

    timeout, parked = findings.about(ask_twice)
    assert parked.kind is PARKED_CHECKOUT
    assert parked.waiters == ("GET /small",)
    assert 0 < parked.made_wait < parked.seconds
    assert timeout.kind is POOL_TIMEOUT
    assert timeout.site is not None
    assert timeout.site.line == line_of("timeout")
    holder = f"GET /small, parked at test_findings.py:{line_of('holder')} (100%)"
    assert holder in detail(timeout)


def test_connection_churn(findings: Findings) -> None:
    found = only(findings.of("/no-pool", times=25), CONNECTION_CHURN, "churn")
    assert "25 connections were opened for 25 checkouts of the NullPool" in detail(found)


def test_starved_loop(findings: Findings) -> None:
    async def block(app: FastAPI) -> None:
        app.state.blocked = asyncio.Event()
        starved = asyncio.create_task(ask(app, "/starved"))
        await app.state.blocked.wait()
        await ask(app, "/blocking")
        await starved

    found = only(findings.about(block), STARVED_LOOP, "blocked loop")
    assert found.routes == ("GET /starved",)
    assert found.seconds > LONG_S * 0.9


async def _never() -> Any:
    await asyncio.Event().wait()


def _scope(kind: str, path: str) -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }


@pytest.fixture(scope="module")
def external_api(log_directory: Path) -> Iterator[str]:
    with children.external_api(LONG_S, 0.0, 0.0, log_directory) as server:
        yield server.url


@pytest.mark.parametrize("style", Style)
def test_styles_of_the_lab(
    style: Style, database: LabDatabase, external_api: str, log_directory: Path, tmp_path: Path
) -> None:
    settings = Settings(style, database.url, external_api, database.schema, pool_size=4)
    trace = tmp_path / "trace"
    with children.service(settings, None, 1, log_directory, trace) as service:
        with ThreadPoolExecutor(8) as clients:
            for note in range(1, 9):
                clients.submit(httpx.post, f"{service.url}/notes/{note}/synchronize", timeout=20)
        for note in range(1, 9):
            assert httpx.get(f"{service.url}/notes/{note}").status_code == 200
    # A busy machine may keep the loop from running for long, which is no matter of style.
    thresholds = Thresholds({"starved_s": 60.0})
    found = {finding.kind: finding for finding in report_of(open_trace(trace), thresholds).findings}
    wanted: set[AnyKind] = {PARKED_CHECKOUT} if style.value.startswith("implicit") else set()
    if style is Style.IMPLICIT_FORGOTTEN_COMMIT:
        wanted.add(LOST_WRITE)
        lost = found[LOST_WRITE]
        assert (lost.checkouts, lost.routes) == (8, ("POST /notes/{note_id}/synchronize",))
    assert found.keys() == wanted
    if wanted:
        parked = found[PARKED_CHECKOUT]
        assert parked.site is not None
        call = "updated_note_data = await external_api.sync_note(note_id)"
        assert (Path(parked.site.file).name, parked.site.source) == ("implicit.py", call)
        assert parked.waiters == ("POST /notes/{note_id}/synchronize",)
        assert parked.awaiting[0].function == "ExternalApi.sync_note"
