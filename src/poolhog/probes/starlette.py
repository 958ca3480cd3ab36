"""The Starlette probe: the requests of its applications, and their routes as templates."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from poolhog.probes.asgi import (
    REST,
    begin_stage,
    enter_mount,
    learn_route,
    watch_application,
    watch_background,
    watch_routes,
)
from poolhog.probes.guard import recording
from poolhog.probes.probe import Probe

if TYPE_CHECKING:
    from poolhog.probes.asgi import Message
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import RequestRecord


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record every HTTP request and websocket that a Starlette (or FastAPI) application gets."""
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.routing import Mount, Route, WebSocketRoute

    watch_application(recorder, patches, Starlette)
    for route in (Route, WebSocketRoute):
        watch_routes(recorder, patches, route, learn_route)
    watch_routes(recorder, patches, Mount, _learn_mount)
    watch_background(recorder, patches, BackgroundTask)
    watch_exceptions(recorder, patches)


def watch_exceptions(recorder: Recorder, patches: Patches) -> None:
    """Record when a handler is looked for, for an exception that a request's endpoint raised.

    A response or another exception follows, and both are recorded: so the stage needs no end.
    """
    with suppress(ImportError):  # versions before 0.28 have it elsewhere
        from starlette import _exception_handler

        begin = functools.partial(begin_stage, "exception handling")
        patches.wrap(_exception_handler, "_lookup_exception_handler", recording(recorder, begin))


def _learn_mount(request: RequestRecord, mount: Any, _: Message) -> None:
    enter_mount(request, mount.path_format.removesuffix(REST))


PROBE = Probe(
    watches=(("starlette.applications", watch_requests),),
    infrastructure=("starlette",),
    distributions=("starlette",),
    # It calls the endpoints.
    roots=("starlette/routing.py",),
)
