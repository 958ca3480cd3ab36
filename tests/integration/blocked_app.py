"""Small services in which one call keeps the event loop, a thread or the interpreter.

Run as a program: ``blocked_app.py SERVICE`` runs one, and prints the seconds that its call took.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ONE = sa.text("SELECT 1")
BLOCKED_S = 0.8
SOON_S = 0.05
"""After so long is done what the holder awaits, well before the loop goes on."""


class Answer(BaseHTTPRequestHandler):
    """A server that takes as long as its path says."""

    def do_GET(self) -> None:
        time.sleep(float(self.path[1:]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def ask_a_server() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{BLOCKED_S}"
        with urllib.request.urlopen(url) as answer:  # HERE a blocking client
            answer.read()
        server.shutdown()


def sleep() -> None:
    time.sleep(BLOCKED_S)  # HERE a call that waits


def sort() -> None:
    sorted(NUMBERS)  # HERE keeps the interpreter


NUMBERS = [hashlib.sha256(b"%d" % n).digest() for n in range(400_000)] if "sort" in sys.argv else []


def steps() -> None:
    for step in STEPS:
        step()  # HERE calls many functions


def _step() -> None:
    until = time.monotonic() + BLOCKED_S / 20
    while time.monotonic() < until:
        sum(range(50))


def _other_step() -> None:
    until = time.monotonic() + BLOCKED_S / 20
    while time.monotonic() < until:
        len("".join(str(n) for n in range(50)))


STEPS = [_step, _other_step] * 10


async def holder(engine: AsyncEngine, going: asyncio.Event, soon: Awaitable[object]) -> None:
    async with engine.connect() as connection:
        await connection.execute(ONE)
        going.set()
        await soon
        await connection.execute(ONE)


async def beside(engine: AsyncEngine, soon: Awaitable[object], block: Callable[[], None]) -> float:
    """Another task blocks the loop, soon after the holder began to wait for something short."""
    going = asyncio.Event()
    held = asyncio.create_task(holder(engine, going, soon))
    await going.wait()
    await asyncio.sleep(SOON_S / 2)
    began = time.monotonic()
    block()
    took = time.monotonic() - began
    await held
    return took


async def timer(engine: AsyncEngine) -> float:
    return await beside(engine, asyncio.sleep(SOON_S), sleep)


async def socket(engine: AsyncEngine) -> float:
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(b"answer")

    # In a loop of its own thread: the one that is blocked does not answer.
    serving = asyncio.new_event_loop()
    threading.Thread(target=serving.run_forever, daemon=True).start()
    start = asyncio.start_server(answer, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(start, serving).result()
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop.call_soon(lambda: serving.call_soon_threadsafe(serving.call_later, SOON_S, answered.set))
    took = await beside(engine, reader.read(6), sleep)
    writer.close()
    return took


async def many(engine: AsyncEngine) -> float:
    return await beside(engine, asyncio.sleep(SOON_S), steps)


async def interpreter(engine: AsyncEngine) -> float:
    return await beside(engine, asyncio.sleep(SOON_S), sort)


async def own(engine: AsyncEngine, block: Callable[[], None] = sleep) -> float:
    """Who blocks the loop is the holder itself."""
    async with engine.connect() as connection:
        await connection.execute(ONE)
        began = time.monotonic()
        block()
        took = time.monotonic() - began
        await connection.execute(ONE)
    return took


async def client(engine: AsyncEngine) -> float:
    return await own(engine, ask_a_server)


async def computing(engine: AsyncEngine) -> float:
    return await own(engine, steps)


async def later(engine: AsyncEngine) -> float:
    """What the holder awaits is not due when the loop goes on: it is parked all the time."""
    await beside(engine, asyncio.sleep(3 * BLOCKED_S), sleep)
    return 3 * BLOCKED_S


SERVICES = {
    service.__name__: service
    for service in (timer, socket, many, interpreter, own, client, computing, later)
}


async def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_async_engine(f"sqlite+aiosqlite:///{Path(folder, 'data')}", pool_size=2)
        async with engine.connect() as connection:
            await connection.execute(ONE)
        print(await SERVICES[name](engine))
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
