"""A page of how this process's run stands, to be mounted in an ASGI application.

::

    app.mount("/poolhog", poolhog.integrations.asgi.live())

Nothing is served unless an application mounts it.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import poolhog
from poolhog.recording.recorder import current_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from pathlib import Path

    from poolhog.analysis.live import LiveRun
    from poolhog.recording.requests import RequestRecord

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Authorised = Callable[[Scope], bool | Awaitable[bool]]

INTERVAL_S = 2.0
WINDOW_S = 180.0

_POINTS = 181
"""Instants of the picture."""

_NOT_RECORDED = "This process is not recorded: call poolhog.install() at its start."
_REQUEST = "poolhog.request"
_LOCAL_NAMES = frozenset(["localhost", "127.0.0.1", "::1"])
_OF_PROXIES = frozenset([b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"])
_FORBIDDEN = (
    "Forbidden. This page is for clients on the same machine, without a proxy; "
    "for others, mount live(authorised=...)."
)


def live(
    *,
    authorised: Authorised | None = None,
    source: bool = False,
    interval: float = INTERVAL_S,
    window: float = WINDOW_S,
) -> LivePage:
    """An ASGI application: a page of this process's run, all workers of it, refreshing itself.

    It answers GET and HEAD, and only clients on the same machine that come without a proxy. With
    ``authorised``, a function or coroutine function that gets the ASGI scope, it answers those for
    which that is true, and no others. The page shows lines of code with ``source`` only. It is made
    anew when somebody asks and it is older than ``interval`` seconds, for all viewers together,
    from the trace, in a thread. ``window`` is how many of the last seconds its picture shows.

    Requests for it are not recorded. Raises :class:`poolhog.PoolhogError` if a time is none.
    """
    if not (0 < interval < float("inf") and 0 < window < float("inf")):
        raise poolhog.PoolhogError("interval and window are times in seconds, above 0")
    return LivePage(authorised, source=source, interval=interval, window=window)


class LivePage:
    """The application that :func:`live` makes."""

    def __init__(
        self, authorised: Authorised | None, *, source: bool, interval: float, window: float
    ) -> None:
        self._authorised = authorised
        self._source = source
        self._interval = interval
        self._window = window
        # One thread: it waits for nobody else, and two viewers do not read at once.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="poolhog-live")
        self._run: LiveRun | None = None
        self._made: tuple[float, bytes] | None = None
        self._making: asyncio.Task[bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Any kind of connection that is not HTTP is turned away."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"poolhog's live page answers HTTP, not {scope['type']}")
        _withdraw(scope.get(_REQUEST))
        status, body, headers = await self._answer(scope)
        if scope["method"] == "HEAD":
            headers.append((b"content-length", str(len(body)).encode()))
            body = b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if scope["method"] not in ("GET", "HEAD"):
            return _plain(405, "This page can only be read.", (b"allow", b"GET, HEAD"))
        if not await self._may_see(scope):
            return _plain(403, _FORBIDDEN if self._authorised is None else "Forbidden.")
        if _path_of(scope).strip("/"):
            return _plain(404, "There is only one page here.")
        from poolhog.render.live import headers

        is_paused = b"paused" in scope.get("query_string", b"")
        return 200, await self._page(), headers(None if is_paused else self._interval)

    async def _may_see(self, scope: Scope) -> bool:
        if self._authorised is None:
            return _is_local(scope)
        found = self._authorised(scope)
        return bool(await found if inspect.isawaitable(found) else found)

    async def _page(self) -> bytes:
        """The page, which is shared by all viewers until it is too old."""
        if self._made is not None and time.monotonic() - self._made[0] < self._interval:
            return self._made[1]
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(self._make())
        # A viewer that goes away must not take the page from the others.
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        loop = asyncio.get_running_loop()
        page = await loop.run_in_executor(self._thread, self._read)
        self._made = time.monotonic(), page
        return page

    def _read(self) -> bytes:
        # NumPy, Jinja2 and the reader: an application that nobody looks at does not load them.
        from poolhog.analysis.live import LiveRun
        from poolhog.render.live import live_page, nothing_page

        directory = poolhog.recorded_into()
        if directory is None:
            return nothing_page(_NOT_RECORDED)
        try:
            if self._run is None or self._run.directory != directory:
                self._run = LiveRun(directory)
            found = self._run.look()
            recent = self._run.recent(found, self._window, _POINTS)
        except poolhog.PoolhogError as error:
            return nothing_page(_why(directory, error))
        return live_page(found, recent, directory.name, source=self._source)


def _why(directory: Path, error: poolhog.PoolhogError) -> str:
    """Why there is nothing to show."""
    if not any(directory.glob("*.sqlite")):
        return "No connection was asked for yet: let the application work."
    return f"The trace cannot be read: {error}"


def _withdraw(request: RequestRecord | None) -> None:
    """Have poolhog forget this request: looking at an application is none of its work."""
    if request is not None:
        request.withdraw()
        current_request.set(None)


def _is_local(scope: Scope) -> bool:
    """Whether a client on this machine asked itself.

    No proxy is in between, whose client may be anywhere; and no page of another site asks under a
    name that was made to lead here.
    """
    client = scope.get("client")
    if not client or not _is_loopback(client[0]):
        return False
    headers = scope.get("headers", ())
    names = {name.lower() for name, _ in headers}
    return not names & _OF_PROXIES and _is_local_name(headers)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_local_name(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    hosts = [value.decode("latin-1") for name, value in headers if name.lower() == b"host"]
    return len(hosts) == 1 and _without_port(hosts[0]) in _LOCAL_NAMES


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _path_of(scope: Scope) -> str:
    """The path below the place where this is mounted; servers and frameworks differ in that."""
    path, root = scope["path"], scope.get("root_path", "")
    return str(path).removeprefix(root) if root else str(path)


def _plain(
    status: int, text: str, *more: tuple[bytes, bytes]
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    return status, f"{text}\n".encode(), [*headers, (b"x-content-type-options", b"nosniff"), *more]
