"""The Starlette probe: which request is being answered, and how far its response is."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import guard
from poolhog.recording.recorder import current_request
from poolhog.recording.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Message, Receive, Send], Awaitable[None]]


SEEN = "poolhog.seen"
"""A key of the scope: the outermost application recorded the request, a mounted one does not.

The context cannot tell: a server may start a request in the context of the one before it.
"""


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record every HTTP request and websocket that a Starlette (or FastAPI) application gets."""
    from starlette.applications import Starlette

    begin = guard(recorder, lambda scope: recorder.request(_request(scope)))
    note = guard(recorder, _note)
    end = guard(recorder, RequestRecord.end)
    settle = guard(recorder, recorder.settle)

    def wrap(call: App) -> App:
        async def answer(app: Any, scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await call(app, scope, receive, send)
                # The application has shut down. Servers may end the process by a signal now,
                # without any exit hook.
                settle()
                return
            if scope["type"] not in ("http", "websocket") or SEEN in scope:
                await call(app, scope, receive, send)
                return
            scope[SEEN] = True
            request = begin(scope)
            if request is None:
                await call(app, scope, receive, send)
                return

            async def noting_send(message: Message) -> None:
                if message["type"] != "http.response.body":
                    note(request, message)
                await send(message)
                if message["type"] == "http.response.body":
                    note(request, message)

            token = current_request.set(request)
            try:
                await call(app, scope, receive, noting_send)
            finally:
                current_request.reset(token)
                end(request)

        return answer

    patches.wrap(Starlette, "__call__", wrap)


def _request(scope: Message) -> RequestRecord:
    kind = str(scope["type"])
    method = str(scope.get("method", "")) if kind == "http" else "WS"
    return RequestRecord(kind, method, str(scope.get("path", "")), scope)


def _note(request: RequestRecord, message: Message) -> None:
    """A response starts before it is sent, and is complete after its last part was."""
    kind = message["type"]
    if kind in ("http.response.start", "websocket.accept"):
        request.status = message.get("status", 101)
        request.responding_ns = monotonic_ns()
    elif (kind == "http.response.body" and not message.get("more_body", False)) or (
        kind == "websocket.close"
    ):
        request.responded_ns = monotonic_ns()
