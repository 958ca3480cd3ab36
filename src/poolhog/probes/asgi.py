"""What is the same for all ASGI applications: which request is answered, how far its response is.

Frameworks differ in their routes. Whichever application is called first begins the request and
ends it; what is inside of it, such as a mounted application, finds the record in the scope.
"""

from __future__ import annotations

import weakref
from time import monotonic_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import recording_async, reset
from poolhog.probes.wrapping import around
from poolhog.recording.lengths import PATH
from poolhog.recording.recorder import current_request
from poolhog.recording.requests import RequestRecord
from poolhog.recording.threads import current_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import StageRecord

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Learn = Callable[[RequestRecord, Any, Message], None]


REQUEST = "poolhog.request"
"""The key of the scope under which the record is.

The context cannot tell whose a scope is: a server may start a request in the context of the one
before it, and an application may call another.
"""

REST = "/{path}"
"""What the template of a mount ends in: the path below it, as long as no route is known there."""

_STARTS = frozenset(["http.response.start", "websocket.accept", "websocket.http.response.start"])
_PARTS = frozenset(
    [
        *("http.response.body", "http.response.pathsend", "http.response.zerocopysend"),
        *("websocket.close", "websocket.http.response.body"),
    ]
)
_GONE = frozenset(["http.disconnect", "websocket.disconnect"])

_SWITCHING_PROTOCOLS = 101
_FORBIDDEN = 403


def watch_application(recorder: Recorder, patches: Patches, application: type) -> None:
    """Record every HTTP request and websocket that instances of this class are called with."""

    def begin(
        application: Any, scope: Message, receive: Receive, send: Send
    ) -> _Exchange | _Lifespan | None:
        kind = scope["type"]
        if kind == "lifespan":
            return _Lifespan(recorder, application, scope, receive, send)
        if REQUEST in scope or kind not in ("http", "websocket"):
            return None
        method = scope["method"] if kind == "http" else "WS"
        request = RequestRecord(kind, method, scope["path"])
        task = current_task()
        if task is not None:
            request.task = weakref.ref(task)
        recorder.request(request)
        scope[REQUEST] = request
        return _Exchange(request, application, scope, receive, send)

    wrap = around(recorder.failed, begin, awaits=True, changes=True)
    patches.wrap(application, "__call__", wrap)


class _Lifespan:
    """The life of an application, of which a server tells it."""

    kwargs: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, recorder: Recorder, *args: Any) -> None:
        self.args = args
        self._recorder = recorder

    def end(self, error: BaseException | None = None) -> None:
        """The application has shut down.

        Servers may end the process by a signal now, without any exit hook.
        """
        if error is None:
            self._recorder.settle()


class _Exchange:
    """What a server and an application say to each other, noted in the request's record.

    This runs for every message, without a guard: what it asks of a message, every server does.
    """

    __slots__ = ("_receive", "_request", "_scope", "_send", "_token", "args")

    kwargs: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        request: RequestRecord,
        application: Any,
        scope: Message,
        receive: Receive,
        send: Send,
    ) -> None:
        self._request = request
        self._scope = scope
        self._receive = receive
        self._send = send
        self.args: tuple[Any, ...] = application, scope, self.receive, self.send
        self._token = current_request.set(request)

    def end(self, error: BaseException | None = None) -> None:
        """The application returned, or let an exception out."""
        request = self._request
        if request.route is None:
            # Litestar's, where a middleware answered in place of the route.
            request.route = self._scope.get("path_template") or None
        request.end(error)
        # Methods of this object, which would keep it until the garbage collector comes.
        self.args = ()
        reset(current_request, self._token)

    async def receive(self) -> Message:
        """The server's ``receive``."""
        message = await self._receive()
        if message["type"] in _GONE:
            self._cut_off()
        return message

    async def send(self, message: Message) -> None:
        """The server's ``send``: a response starts before it, and is complete after it."""
        kind = message["type"]
        request = self._request
        if kind in _STARTS and request.responding_ns is None:
            request.status = message.get("status", _SWITCHING_PROTOCOLS)
            request.responding_ns = monotonic_ns()
        try:
            await self._send(message)
        except BaseException:
            self._cut_off()
            raise
        if kind in _PARTS and request.responded_ns is None and not message.get("more_body"):
            request.responded_ns = monotonic_ns()
            if request.responding_ns is None:
                # A websocket that is closed before it was accepted.
                request.status = _FORBIDDEN
                request.responding_ns = request.responded_ns

    def _cut_off(self) -> None:
        """The client is gone: what the application still sends reaches nobody."""
        request = self._request
        if request.responding_ns is not None and request.responded_ns is None:
            request.responded_ns = monotonic_ns()


def watch_routes(recorder: Recorder, patches: Patches, route: type, learn: Learn) -> None:
    """Have ``learn`` called with each request that a route of this class handles."""

    def begin(route: Any, scope: Message, *_: Any) -> None:
        request = scope.get(REQUEST)
        if request is not None:
            learn(request, route, scope)

    # Not a coroutine function of its own: it would be one more for each route on the way.
    patches.wrap(route, "handle", around(recorder.failed, begin))


def learn_route(request: RequestRecord, route: Any, _: Message) -> None:
    """The request's route is this one, below the mounts that it has passed."""
    request.route = (request.mounted + route.path_format)[PATH]


def enter_mount(request: RequestRecord, template: str) -> None:
    """The request goes on below a mount of this template."""
    request.mounted = (request.mounted + template)[PATH]
    request.route = (request.mounted + REST)[PATH]


def watch_background(recorder: Recorder, patches: Patches, background_task: type) -> None:
    """Record each run of a background task of this class as a stage of its request."""
    wrap = recording_async(recorder, lambda *_: begin_stage("background"))
    patches.wrap(background_task, "__call__", wrap)


def begin_stage(name: str, *_: Any, **__: Any) -> StageRecord | None:
    """Begin a stage of the current request, if there is one that has not ended.

    The other arguments are those of a function that is the stage.
    """
    request = current_request.get()
    if request is None or request.ended_ns is not None:
        return None
    return request.begin_stage(name)
