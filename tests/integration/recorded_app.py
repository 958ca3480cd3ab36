"""A recorded process in small: installing, asking an application, and looking at the trace.

Run as a program, it is a service that records itself: ``recorded_app.py DIRECTORY DATABASE_URL``
serves on the port that it prints.
"""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import uvicorn
import wsproto
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import poolhog
from poolhog import Checkout, Operation, Trace

DEADLINE_S = 30.0
"""Far more than anything here takes: a test that waits this long has failed."""


class Recording:
    """poolhog installed in this process, until the trace is read."""

    def __init__(self, directory: Path) -> None:
        self.directory = poolhog.install(directory)

    def read(self) -> Trace:
        """Finish the trace, and read it."""
        poolhog.uninstall()
        trace = poolhog.open_trace(self.directory)
        assert [(p.dropped, p.errors, p.finished) for p in trace.processes] == [(0, 0, True)]
        return trace

    def read_checkouts(self) -> tuple[Checkout, ...]:
        """Finish the trace, and read its checkouts."""
        return self.read().checkouts


def async_url(url: str) -> sa.URL:
    """SQLAlchemy's name for a PostgreSQL through asyncpg."""
    return sa.make_url(url).set(drivername="postgresql+asyncpg")


@asynccontextmanager
async def async_engine(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An engine that is disposed of afterwards."""
    engine = create_async_engine(async_url(url), **{"max_overflow": 0, **options})
    try:
        yield engine
    finally:
        await engine.dispose()


def kinds(checkout: Checkout) -> list[str]:
    """What the checkout did, in order."""
    return [operation.kind.value for operation in checkout.operations]


def statements(checkout: Checkout) -> list[str]:
    """The SQL that the checkout ran, in order."""
    return [operation.statement for operation in checkout.operations if operation.statement]


def duration(operation: Operation) -> float:
    """Seconds that an operation took, which is over."""
    assert operation.ended is not None
    return operation.ended - operation.started


def most_at_once(checkouts: tuple[Checkout, ...]) -> int:
    """How many connections were lent at once at the most."""
    steps = [(c.granted, 1) for c in checkouts if c.granted is not None]
    steps += [(c.returned, -1) for c in checkouts if c.returned is not None]
    lent = most = 0
    for _, step in sorted(steps):  # at one instant, what is returned comes first
        lent += step
        most = max(most, lent)
    return most


def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; the test fails if it never does."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application under uvicorn, with an event loop and a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", loop="asyncio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


async def ask(
    app: Any,
    path: str,
    method: str = "GET",
    *,
    root_path: str = "",
    body: bytes = b"",
    leave: asyncio.Event | None = None,
) -> list[dict[str, Any]]:
    """What the application sends as the answer to a request; its exceptions are raised.

    The client leaves when ``leave`` is set.
    """
    sent: list[dict[str, Any]] = []
    received = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if received:
            return received.pop()
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "root_path": root_path,
        "query_string": b"token=secret",
        "headers": [],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    return sent


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """The URL under which uvicorn serves the application, in a thread of this process."""
    config = uvicorn.Config(app, log_level="critical", loop="asyncio", ws="wsproto", **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            eventually(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)


def talk(url: str, path: str, *texts: str) -> list[str] | None:
    """What a service answers to texts over a websocket, one to each; ``None`` if it refuses.

    The client leaves then, unless the service did.
    """
    address = urlsplit(url)
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    answers: list[str] = []
    with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) as stream:

        def answer() -> wsproto.events.Event:
            while True:
                for event in client.events():
                    return event
                client.receive_data(stream.recv(4096) or None)

        stream.sendall(client.send(wsproto.events.Request(host="test", target=path)))
        if not isinstance(answer(), wsproto.events.AcceptConnection):
            return None
        for text in texts:
            stream.sendall(client.send(wsproto.events.TextMessage(text)))
            received = answer()
            assert isinstance(received, wsproto.events.TextMessage)
            answers.append(received.data)
        with suppress(wsproto.utilities.LocalProtocolError):
            stream.sendall(client.send(wsproto.events.CloseConnection(code=1000)))
            answer()
    return answers


def make_service(url: str) -> FastAPI:
    """A service with a pool of two that can be made to hold on to both."""
    engine = create_async_engine(async_url(url), pool_size=2, max_overflow=0)
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/sleep/{seconds}")
    async def sleep(seconds: float, session: Annotated[AsyncSession, Depends(open_session)]) -> str:
        await session.execute(sa.text("SELECT 1"))
        await asyncio.sleep(seconds)
        return "awake"

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    return app


def serve(directory: str, url: str) -> None:
    """Record and serve until the process is ended."""
    poolhog.install(directory)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_service(url), log_level="warning", loop="asyncio"))
    announce = threading.Timer(0, print, [listening.getsockname()[1]], {"flush": True})
    announce.start()
    server.run([listening])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
