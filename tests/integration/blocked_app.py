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
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as PoolTimeout
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


async def hashing(engine: AsyncEngine) -> float:
    """The holder awaits a thread that computes."""
    await asyncio.to_thread(int)  # starting a thread takes a while
    async with engine.connect() as connection:
        await connection.execute(ONE)
        began = time.monotonic()
        await asyncio.to_thread(steps)  # HERE it is held
        took = time.monotonic() - began
        await connection.execute(ONE)
    return took


async def hashing_in_executor(engine: AsyncEngine) -> float:
    await asyncio.to_thread(int)  # starting a thread takes a while
    async with engine.connect() as connection:
        await connection.execute(ONE)
        began = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, steps)  # HERE it is held
        took = time.monotonic() - began
        await connection.execute(ONE)
    return took


async def using_it_there(engine: AsyncEngine) -> float:
    """The thread computes for statements of its own: that is use."""
    sync = create_engine(engine)
    began = time.monotonic()

    def work() -> None:
        with sync.connect() as connection:
            connection.execute(ONE)
            steps()
            connection.execute(ONE)

    await asyncio.to_thread(work)
    with sync.connect() as handed:
        handed.execute(ONE)

        def go_on() -> None:
            steps()
            handed.execute(ONE)

        await asyncio.to_thread(go_on)
    sync.dispose()
    return time.monotonic() - began


async def leaving_it_open(engine: AsyncEngine) -> float:
    """Jobs of a pool of threads do not close what they opened."""
    sync = create_engine(engine)
    kept = threading.local()
    together = threading.Barrier(2)

    def job() -> None:
        together.wait()  # so that each job has a thread of its own
        kept.connection = sync.connect()
        kept.connection.execute(ONE)  # HERE a job returns

    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(job) for _ in range(2)]
        for one in jobs:
            one.result()
        began = time.monotonic()
        time.sleep(BLOCKED_S)
        took = time.monotonic() - began
    return 2 * took


async def without_a_thread(engine: AsyncEngine) -> float:
    """Who has the connection waits for a thread, and all threads for the connection."""
    sync = create_engine(engine, pool_size=1, max_overflow=0, pool_timeout=BLOCKED_S)
    limiter = CapacityLimiter(2)

    def ask() -> Connection | None:
        try:
            connection = sync.connect()
        except PoolTimeout:
            return None
        connection.execute(ONE)
        return connection

    async def serve() -> None:
        connection = await to_thread.run_sync(ask, limiter=limiter)
        if connection is not None:
            await to_thread.run_sync(connection.close, limiter=limiter)  # HERE it waits

    began = time.monotonic()
    await asyncio.gather(*(serve() for _ in range(4)))
    took = time.monotonic() - began
    sync.dispose()
    return took


async def waiting_on_the_loop(engine: AsyncEngine) -> float:
    """A synchronous pool is waited for by a task, and who has its connection needs the loop."""
    sync = create_engine(engine, pool_size=1, max_overflow=0, pool_timeout=BLOCKED_S)
    going = asyncio.Event()

    async def hold() -> None:
        with sync.connect() as connection:
            connection.execute(ONE)
            going.set()
            await asyncio.sleep(SOON_S)

    held = asyncio.create_task(hold())
    await going.wait()
    began = time.monotonic()
    try:
        sync.connect()  # HERE the loop waits
    except PoolTimeout:
        took = time.monotonic() - began
    await held
    sync.dispose()
    return took


def create_engine(other: AsyncEngine, **options: Any) -> sa.Engine:
    """A pool of threads' connections to the same database."""
    url = other.url.set(drivername="sqlite")
    args = {"check_same_thread": False}
    return sa.create_engine(url, poolclass=sa.QueuePool, connect_args=args, **options)


SERVICES = {
    service.__name__: service
    for service in (
        *(timer, socket, many, interpreter, own, client, computing, later),
        *(hashing, hashing_in_executor, using_it_there, leaving_it_open, without_a_thread),
        waiting_on_the_loop,
    )
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
