"""Every style answers the same; they differ in when they hold a connection, and what is written."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy
from sqlalchemy.exc import InvalidRequestError

from poolhog.lab import children
from poolhog.lab.service import shares
from poolhog.lab.service.sessions import create_engine, create_sessions
from poolhog.lab.service.settings import Settings, Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from poolhog.lab.postgres import LabDatabase

Call = tuple[int, dict[str, Any], http.client.HTTPMessage]
HOLDING = (Style.IMPLICIT, Style.IMPLICIT_FORGOTTEN_COMMIT, Style.IMPLICIT_FUNCTION_SCOPE)
API_TIMEOUT_S = 1.0

fresh_ids = itertools.count(1)


def call(server: children.Server, method: str, path: str) -> Call:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


@dataclass
class Gate:
    """An external API that tells when it is called, and answers when it is opened."""

    called: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def serving(self, port: int) -> Iterator[None]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gate.called.set()
                gate.opened.wait(API_TIMEOUT_S)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"data": "through the gate"}')

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture(scope="module")
def api_port() -> int:
    return children.free_port()


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest, api_port: int, log_directory: Path) -> Iterator[None]:
    """The real external API at the port that all services know, behaving as the test wants.

    ``None`` as its behaviour leaves the port free.
    """
    if request.param is None:
        yield
        return
    command = children.external_api_command(api_port, **request.param)
    with children.Child("external-api-at-port", command, log_directory) as child:
        child.wait_until(lambda: children.answers(f"http://127.0.0.1:{api_port}"))
        yield


def api_that(**behaviour: float) -> pytest.MarkDecorator:
    defaults = {"latency": 0.05, "jitter": 0.0, "failure_rate": 0.0}
    return pytest.mark.parametrize("api", [defaults | behaviour], indirect=True, ids=[""])


no_api = pytest.mark.parametrize("api", [None], indirect=True, ids=[""])


@pytest.fixture(scope="module")
def service_of(api_port: int, start_service: Callable[..., children.Server]) -> Any:
    """One service per style, with a pool of one connection."""
    running: dict[Style, children.Server] = {}

    def get(style: Style) -> children.Server:
        if style not in running:
            running[style] = start_service(
                style,
                f"http://127.0.0.1:{api_port}",
                pool_size=1,
                pool_timeout=5,
                external_api_timeout=API_TIMEOUT_S,
            )
        return running[style]

    return get


ANSWERING_WHEN_DONE = [style for style in Style if style is not Style.BACKGROUND_TASK]


@pytest.fixture(params=ANSWERING_WHEN_DONE)
def style(request: pytest.FixtureRequest) -> Style:
    chosen: Style = request.param
    return chosen


@pytest.fixture
def service(style: Style, service_of: Callable[[Style], children.Server]) -> children.Server:
    return service_of(style)


@pytest.fixture
def note_id() -> int:
    return next(fresh_ids)


def test_a_note_is_answered(service: children.Server, note_id: int) -> None:
    status, note, headers = call(service, "GET", f"/notes/{note_id}")
    assert status == 200
    assert note == {"id": note_id, "data": f"note {note_id}", "synchronized_at": None}
    assert len(headers["x-request-id"]) == 32


def test_an_unknown_note_is_not_found(service: children.Server) -> None:
    for method, path in (("GET", "/notes/1000"), ("POST", "/notes/1000/synchronize")):
        status, body, _ = call(service, method, path)
        assert (status, body) == (404, {"detail": "there is no such note"})


@pytest.mark.parametrize("wrong", ["0", "-1", "2147483648", "one"])
def test_a_wrong_id_is_refused(service: children.Server, wrong: str) -> None:
    for method, path in (("GET", f"/notes/{wrong}"), ("POST", f"/notes/{wrong}/synchronize")):
        status, body, _ = call(service, method, path)
        assert status == 422
        assert body["detail"]


def test_health_needs_no_connection(service: children.Server) -> None:
    assert call(service, "GET", "/healthz")[:2] == (200, {"status": "ok"})


@api_that()
def test_synchronize_answers_and_writes_the_note(
    api: None, service: children.Server, style: Style, note_id: int, database: LabDatabase
) -> None:
    status, note, _ = call(service, "POST", f"/notes/{note_id}/synchronize")
    assert status == 200
    assert note["id"] == note_id
    assert note["data"] == f"note {note_id}, synchronized"
    assert note["synchronized_at"] is not None

    stored = database.note(note_id)
    assert stored is not None
    if style is Style.IMPLICIT_FORGOTTEN_COMMIT:
        assert stored.data == f"note {note_id}"
        assert stored.synchronized_at is None
    else:
        assert stored.data == note["data"]
        assert stored.synchronized_at is not None
        assert call(service, "GET", f"/notes/{note_id}")[1] == note


def check_that_nothing_happened(
    service: children.Server, note_id: int, database: LabDatabase, reason: str
) -> None:
    status, body, _ = call(service, "POST", f"/notes/{note_id}/synchronize")
    assert status == 502
    assert reason in body["detail"]
    stored = database.note(note_id)
    assert stored is not None
    assert (stored.data, stored.synchronized_at) == (f"note {note_id}", None)
    # The only connection of the pool is back.
    assert call(service, "GET", f"/notes/{note_id}")[0] == 200


@api_that(failure_rate=1.0)
def test_a_failure_of_the_external_api_is_a_bad_gateway(
    api: None, service: children.Server, note_id: int, database: LabDatabase
) -> None:
    check_that_nothing_happened(service, note_id, database, "the external API answered 503")


@api_that(latency=60.0)
def test_a_slow_external_api_is_a_bad_gateway(
    api: None, service: children.Server, note_id: int, database: LabDatabase
) -> None:
    check_that_nothing_happened(service, note_id, database, "did not answer within 1 s")


@no_api
def test_an_absent_external_api_is_a_bad_gateway(
    api: None, service: children.Server, note_id: int, database: LabDatabase
) -> None:
    check_that_nothing_happened(service, note_id, database, "the external API failed")


@no_api
def test_who_holds_the_connection_during_the_external_call(
    api: None, service: children.Server, style: Style, note_id: int, api_port: int
) -> None:
    gate = Gate()
    with gate.serving(api_port), ThreadPoolExecutor() as threads:
        synchronizing = threads.submit(call, service, "POST", f"/notes/{note_id}/synchronize")
        assert gate.called.wait(10)
        getting = threads.submit(call, service, "GET", "/notes/100")
        if style in HOLDING:
            with pytest.raises(TimeoutError):
                getting.result(timeout=0.3)
            gate.opened.set()
        else:
            assert getting.result(timeout=10)[0] == 200
            assert not synchronizing.done()
            gate.opened.set()
        assert synchronizing.result(timeout=10)[0] == 200
        assert getting.result(timeout=10)[0] == 200


@api_that(latency=0.3)
def test_a_background_task_writes_after_the_answer(
    api: None, service_of: Callable[[Style], children.Server], note_id: int, database: LabDatabase
) -> None:
    service = service_of(Style.BACKGROUND_TASK)
    unwritten = {"id": note_id, "data": f"note {note_id}", "synchronized_at": None}
    assert call(service, "POST", f"/notes/{note_id}/synchronize")[:2] == (200, unwritten)
    # The pool's only connection is not held by the task.
    assert call(service, "GET", f"/notes/{note_id}")[1] == unwritten
    deadline = time.monotonic() + 10
    while (stored := database.note(note_id)) and stored.synchronized_at is None:
        assert time.monotonic() < deadline
    assert stored is not None
    assert stored.data == f"note {note_id}, synchronized"


def test_without_autobegin_what_is_outside_of_a_transaction_is_refused() -> None:
    settings = Settings(Style.NO_AUTOBEGIN, "postgresql://nobody@127.0.0.1:1/x", "http://x")
    with pytest.raises(InvalidRequestError, match="Autobegin is disabled"):
        asyncio.run(_select_outside_of_a_transaction(create_engine(settings)))


async def _select_outside_of_a_transaction(engine: AsyncEngine) -> None:
    async with create_sessions(engine, autobegin=False)() as session:
        await session.execute(sqlalchemy.select(1))


def test_each_worker_has_a_part_of_the_pool(tmp_path: Path) -> None:
    shares.lay_out(tmp_path, connections=10, workers=4)
    with ThreadPoolExecutor() as workers:
        taken = list(workers.map(lambda _: shares.take(tmp_path), range(4)))
    assert sorted(taken) == [2, 2, 3, 3]
    with pytest.raises(RuntimeError, match="no part"):
        shares.take(tmp_path)
