"""What the gaps of a checkout are: parked, running or ready, and at which line.

Handlers of real applications hold a connection and do something else two functions deeper, behind
middlewares of both kinds. Shares of a gap are compared, never times.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import anyio.from_thread
import httpx
import pytest
import requests
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request
from places import line_of
from recorded_app import Recording, async_url, served
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from views import gaps_of, with_spans

import poolhog
from poolhog import Checkout, Site, Trace
from poolhog.analysis.accounting import State

ONE = sa.text("SELECT 1")
GAP_S = 0.4
MOST = 0.8
"""The part of a gap that must be told right: a sample at its edges may see something else."""

BURNERS = 4

HTTPX: list[httpx.AsyncClient] = []
"""A client that is not used yet: making one takes a part of a gap, which is not parked."""


# What a handler does while it holds its connection. The line with "HERE" is the one to find.


async def sleeping(url: str) -> None:
    await asyncio.sleep(GAP_S)  # HERE


async def asking_by_httpx(url: str) -> None:
    async with HTTPX.pop() as client:
        await client.get(url)  # HERE


async def asking_by_aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as client, client.get(url) as response:  # HERE
        await response.read()


async def locked_out(url: str) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    asyncio.get_running_loop().call_later(GAP_S, lock.release)
    async with lock:  # HERE
        pass


async def queueing(url: str) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    asyncio.get_running_loop().call_later(GAP_S, queue.put_nowait, 1)
    await queue.get()  # HERE


async def leaving_it_to_a_thread(url: str) -> None:
    await asyncio.to_thread(time.sleep, GAP_S)  # HERE


async def gathering(url: str) -> None:
    await asyncio.gather(asyncio.sleep(GAP_S), asyncio.sleep(GAP_S / 2))  # HERE


async def waiting_for_a_task(url: str) -> None:
    await asyncio.create_task(asyncio.sleep(GAP_S))  # HERE


async def waiting_with_a_timeout(url: str) -> None:
    try:
        async with asyncio.timeout(GAP_S):
            await asyncio.Event().wait()  # HERE
    except TimeoutError:
        pass


async def iterating(url: str) -> None:
    async def things() -> AsyncIterator[int]:
        await asyncio.sleep(GAP_S)  # HERE
        yield 1

    async for _ in things():
        pass


async def blocking(url: str) -> None:
    time.sleep(GAP_S)  # HERE


async def burning(url: str) -> None:
    burn()


async def starved_of_the_loop(url: str) -> None:
    event = asyncio.Event()

    def wake_and_burn() -> None:
        event.set()
        burn()

    asyncio.get_running_loop().call_soon(wake_and_burn)
    await event.wait()


async def starved_by_a_blocked_loop(url: str) -> None:
    asyncio.get_running_loop().call_soon(block)
    await asyncio.sleep(0)


def block() -> None:
    time.sleep(GAP_S)  # HERE


def burn() -> None:
    until = time.monotonic() + GAP_S
    while time.monotonic() < until:
        sum(range(100))


def sleeping_in_a_thread(url: str) -> None:
    time.sleep(GAP_S)  # HERE


def asking_by_requests(url: str) -> None:
    requests.get(url, timeout=60)  # HERE


def waiting_for_an_event(url: str) -> None:
    threading.Event().wait(GAP_S)  # HERE


def burning_in_a_thread(url: str) -> None:
    burn()


def leaving_a_blocked_loop(url: str) -> None:
    anyio.from_thread.run_sync(schedule_block)


def schedule_block() -> None:
    asyncio.get_running_loop().call_soon(block)


async def outer(name: str, url: str) -> None:
    await WAITS[name](url)


def outer_in_thread(name: str, url: str) -> None:
    WAITS_IN_THREADS[name](url)


PARKED = (
    *(sleeping, asking_by_httpx, asking_by_aiohttp, locked_out, queueing, leaving_it_to_a_thread),
    *(gathering, waiting_for_a_task, waiting_with_a_timeout, iterating),
)
PARKED_IN_THREADS = (sleeping_in_a_thread, asking_by_requests, waiting_for_an_event)

WAITS: dict[str, Callable[[str], Awaitable[None]]] = {
    wait.__name__: wait
    for wait in (*PARKED, blocking, burning, starved_of_the_loop, starved_by_a_blocked_loop)
}
WAITS_IN_THREADS: dict[str, Callable[[str], None]] = {
    wait.__name__: wait
    for wait in (*PARKED_IN_THREADS, burning_in_a_thread, leaving_a_blocked_loop)
}


# The application around it.


class PureMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class OtherMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


async def open_async_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(request.app.state.async_engine) as session:
        await session.execute(ONE)
        yield session


def open_session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        session.execute(ONE)
        yield session


AsyncSessionOfRequest = Annotated[AsyncSession, Depends(open_async_session)]
SessionOfRequest = Annotated[Session, Depends(open_session)]


async def endpoint(name: str, request: Request, session: AsyncSessionOfRequest) -> None:
    await outer(name, request.app.state.url)
    await session.execute(ONE)


def endpoint_in_thread(name: str, request: Request, session: SessionOfRequest) -> None:
    outer_in_thread(name, request.app.state.url)
    session.execute(ONE)


async def endpoint_of_sync_dependency(
    name: str, request: Request, session: SessionOfRequest
) -> None:
    await outer(name, request.app.state.url)


def endpoint_of_async_dependency(
    name: str, request: Request, session: AsyncSessionOfRequest
) -> None:
    outer_in_thread(name, request.app.state.url)


async def endpoint_that_works_in_a_thread(name: str, request: Request) -> None:
    await asyncio.to_thread(work, name, request.app.state)  # HERE


def work(name: str, state: Any) -> None:
    with Session(state.engine) as session:
        session.execute(ONE)
        outer_in_thread(name, state.url)


async def endpoint_that_queues_for_a_thread(
    name: str, request: Request, session: AsyncSessionOfRequest
) -> None:
    """What it waits for is the same while it queues and while the thread works for it."""
    executor = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    executor.submit(time.sleep, GAP_S / 4)
    await asyncio.to_thread(outer_in_thread, name, request.app.state.url)


ENDPOINTS: tuple[Callable[..., Any], ...] = (
    *(endpoint, endpoint_in_thread, endpoint_of_sync_dependency, endpoint_of_async_dependency),
    *(endpoint_that_works_in_a_thread, endpoint_that_queues_for_a_thread),
)


@asynccontextmanager
async def application(postgresql_url: str, slow_url: str) -> AsyncIterator[FastAPI]:
    app = FastAPI()
    for function in ENDPOINTS:
        app.get(f"/{function.__name__}/{{name}}")(function)
    app.add_middleware(PureMiddleware)
    app.add_middleware(OtherMiddleware)
    app.add_middleware(PureMiddleware)
    app.state.url = slow_url
    app.state.async_engine = create_async_engine(async_url(postgresql_url))
    app.state.engine = sa.create_engine(
        sa.make_url(postgresql_url).set(drivername="postgresql+psycopg")
    )
    try:
        yield app
    finally:
        await app.state.async_engine.dispose()
        app.state.engine.dispose()


class Slow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(GAP_S)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def slow_url() -> Iterator[str]:
    """Of a server that takes its time."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Asking:
    """Asks an application for paths, in the process or over HTTP, and reads the trace."""

    def __init__(self, directory: Path, postgresql_url: str, slow_url: str) -> None:
        self._directory = directory
        self._urls = postgresql_url, slow_url

    def get(self, *paths: str, over_http: bool = False) -> Trace:
        """All at once."""
        if any("httpx" in path for path in paths):
            HTTPX.append(httpx.AsyncClient(verify=False))
        recording = Recording(self._directory)
        asyncio.run(self._get(paths, over_http))
        return recording.read()

    async def _get(self, paths: tuple[str, ...], over_http: bool) -> None:
        async with application(*self._urls) as app, AsyncExitStack() as stack:
            transport = None if over_http else httpx.ASGITransport(app)
            base_url = stack.enter_context(served(app)) if over_http else "http://here"
            async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
                answers = await asyncio.gather(*(client.get(path, timeout=60) for path in paths))
            assert [answer.status_code for answer in answers] == [200] * len(paths)


@pytest.fixture(scope="module")
def imported(slow_url: str) -> None:
    """What httpx imports when it is first used, which takes a good part of a gap."""
    HTTPX.append(httpx.AsyncClient(verify=False))
    asyncio.run(asking_by_httpx(slow_url))


@pytest.fixture
def asking(tmp_path: Path, postgresql_url: str, slow_url: str, imported: None) -> Iterator[Asking]:
    yield Asking(tmp_path / "trace", postgresql_url, slow_url)
    poolhog.uninstall()


# What the trace says.


def shares(checkout: Checkout) -> Counter[tuple[State, Site | None]]:
    """The parts of the longest gap, by what its samples say."""
    (shown,) = with_spans(checkout)
    began, ended = max(gaps_of(checkout), key=lambda gap: gap[1] - gap[0])
    assert ended - began >= 0.9 * GAP_S
    found: Counter[tuple[State, Site | None]] = Counter()
    for span in shown.spans:
        if began <= span.started < ended:
            found[span.state, span.site] += span.duration / (ended - began)  # type: ignore[assignment]
    assert sum(found.values()) == pytest.approx(1)
    return found


def share_of(found: Counter[tuple[State, Site | None]], state: State) -> float:
    return sum(share for (told, _), share in found.items() if told is state)


def lines(site: Site | None) -> list[tuple[str, int]]:
    """The application's frames, the innermost first."""
    assert site is not None
    return [(s.file, s.line) for s in site.stack if s.is_application]


def assert_is(state: State, trace: Trace, expected: list[tuple[str, int]]) -> None:
    """The only checkout's longest gap is of this state, at these lines."""
    (checkout,) = trace.checkouts
    found: Counter[tuple[State, tuple[tuple[str, int], ...]]] = Counter()
    # An HTTP client waits in several places of its own: for a connection, for the answer.
    for (told, site), share in shares(checkout).items():
        found[told, tuple(lines(site)) if site is not None else ()] += share
    (most, share), *_ = found.most_common()
    assert most == (state, tuple(expected))
    assert share >= MOST


def stack(wait: Callable[..., Any], function: Callable[..., Any]) -> list[tuple[str, int]]:
    """Where the wait is: its own line, the helper's, and the endpoint's."""
    in_thread = wait.__name__ in WAITS_IN_THREADS
    return [
        line_of(wait, "# HERE"),
        line_of(outer_in_thread, "](url)") if in_thread else line_of(outer, "](url)"),
        line_of(function, "outer_in_thread(" if in_thread else "await outer("),
    ]


@pytest.mark.parametrize("wait", PARKED, ids=lambda wait: wait.__name__)
def test_an_await_is_parked_at_its_line(asking: Asking, wait: Callable[..., Any]) -> None:
    trace = asking.get(f"/endpoint/{wait.__name__}")
    expected = stack(wait, endpoint)
    if wait is iterating:
        # The generator is a function of its own, between the line and its caller.
        expected.insert(1, line_of(iterating, "async for"))
    assert_is(State.PARKED, trace, expected)


def test_a_call_that_waits_on_the_loop_is_running_as_nobody_else_goes_on(asking: Asking) -> None:
    trace = asking.get("/endpoint/blocking")
    assert_is(State.RUNNING, trace, stack(blocking, endpoint))


@pytest.mark.parametrize("wait", PARKED_IN_THREADS, ids=lambda wait: wait.__name__)
def test_a_blocking_call_in_a_thread_is_parked_at_its_line(
    asking: Asking, wait: Callable[..., Any]
) -> None:
    trace = asking.get(f"/endpoint_in_thread/{wait.__name__}")
    assert_is(State.PARKED, trace, stack(wait, endpoint_in_thread))


@pytest.mark.parametrize(
    ("function", "wait"),
    [
        (endpoint, sleeping),
        (endpoint, asking_by_httpx),
        (endpoint_in_thread, sleeping_in_a_thread),
        (endpoint_of_sync_dependency, sleeping),
        (endpoint_of_async_dependency, sleeping_in_a_thread),
    ],
    ids=lambda function: function.__name__,
)
def test_it_is_the_same_under_a_server(
    asking: Asking, function: Callable[..., Any], wait: Callable[..., Any]
) -> None:
    trace = asking.get(f"/{function.__name__}/{wait.__name__}", over_http=True)
    assert_is(State.PARKED, trace, stack(wait, function))


def test_an_async_endpoint_is_found_behind_a_dependency_in_a_thread(asking: Asking) -> None:
    trace = asking.get("/endpoint_of_sync_dependency/sleeping")
    assert_is(State.PARKED, trace, stack(sleeping, endpoint_of_sync_dependency))


def test_an_endpoint_in_a_thread_is_found_behind_an_async_dependency(asking: Asking) -> None:
    trace = asking.get("/endpoint_of_async_dependency/sleeping_in_a_thread")
    assert_is(State.PARKED, trace, stack(sleeping_in_a_thread, endpoint_of_async_dependency))


def test_work_in_a_thread_of_asyncios_is_found_in_the_thread(asking: Asking) -> None:
    trace = asking.get("/endpoint_that_works_in_a_thread/sleeping_in_a_thread")
    inner, outer, _ = stack(sleeping_in_a_thread, endpoint_in_thread)
    around = [line_of(work, "outer_in_thread("), line_of(endpoint_that_works_in_a_thread, "# HERE")]
    assert_is(State.PARKED, trace, [inner, outer, *around])


@pytest.mark.parametrize(
    "path",
    [
        "/endpoint_that_works_in_a_thread/burning_in_a_thread",
        "/endpoint/burning",
        "/endpoint_in_thread/burning_in_a_thread",
        "/endpoint_of_sync_dependency/burning",
        "/endpoint_of_async_dependency/burning_in_a_thread",
    ],
)
def test_computing_is_running(asking: Asking, path: str) -> None:
    """However much of the processor it gets: what it waits for it with is not parked."""
    trace = asking.get(path)
    (checkout,) = trace.checkouts
    found = shares(checkout)
    assert share_of(found, State.PARKED) <= 1 - MOST
    assert share_of(found, State.RUNNING) > share_of(found, State.PARKED)
    inside = sum(
        share
        for (told, site), share in found.items()
        # Of a thread that is ready, it is not known what runs instead.
        if told is (State.READY if site is None else State.RUNNING)
        and (site is None or lines(site)[1:2] == [line_of(burning_of(path), "burn()")])
    )
    assert inside >= MOST


def test_a_thread_that_the_application_awaits_is_not_the_owner(asking: Asking) -> None:
    """It queues for the thread, and then the thread computes without the connection."""
    trace = asking.get("/endpoint_that_queues_for_a_thread/burning_in_a_thread")
    (checkout,) = trace.checkouts
    assert share_of(shares(checkout), State.PARKED) >= MOST


def burning_of(path: str) -> Callable[..., Any]:
    return burning_in_a_thread if path.endswith("in_a_thread") else burning


def test_threads_that_compute_at_once_share_one_interpreter(asking: Asking) -> None:
    """One of them runs at a time, and the others are ready."""
    trace = asking.get(*["/endpoint_in_thread/burning_in_a_thread"] * BURNERS)
    assert len(trace.checkouts) == BURNERS
    found = [shares(checkout) for checkout in trace.checkouts]
    running = sum(share_of(shares, State.RUNNING) for shares in found) / BURNERS
    parked = sum(share_of(shares, State.PARKED) for shares in found) / BURNERS
    ready = sum(share_of(shares, State.READY) for shares in found) / BURNERS
    assert parked <= 1 - MOST
    # Never two at a time; on a busy machine, they do not compute all the time.
    assert running < 2 / BURNERS
    assert running < ready


@pytest.mark.parametrize(
    ("path", "blocker"),
    [
        ("/endpoint/starved_of_the_loop", burn),
        ("/endpoint/starved_by_a_blocked_loop", block),
        ("/endpoint_of_async_dependency/leaving_a_blocked_loop", block),
    ],
)
def test_waiting_for_a_blocked_loop_is_ready_and_says_what_blocked_it(
    asking: Asking, path: str, blocker: Callable[..., Any]
) -> None:
    trace = asking.get(path)
    (checkout,) = trace.checkouts
    found = shares(checkout)
    assert share_of(found, State.READY) >= MOST
    blamed: Counter[str] = Counter()
    for (told, site), share in found.items():
        if told is State.READY and site is not None:
            function = next((s for s in site.stack if s.is_application), site)
            blamed[function.function] += share
            if blocker is block and function.function == blocker.__name__:
                assert (function.file, function.line) == line_of(blocker, "# HERE")
    assert blamed[blocker.__name__] >= MOST
