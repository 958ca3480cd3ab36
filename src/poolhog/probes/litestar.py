"""The Litestar probe: the requests of its applications, and their routes as templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.probes.asgi import (
    enter_mount,
    learn_route,
    watch_application,
    watch_background,
    watch_routes,
)
from poolhog.probes.probe import Probe

if TYPE_CHECKING:
    from poolhog.probes.asgi import Message
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import RequestRecord


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record every HTTP request and websocket that a Litestar application gets."""
    from litestar import Litestar
    from litestar.background_tasks import BackgroundTask
    from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute

    watch_application(recorder, patches, Litestar)
    for route in (HTTPRoute, WebSocketRoute, ASGIRoute):
        watch_routes(recorder, patches, route, _learn_route)
    watch_background(recorder, patches, BackgroundTask)


def _learn_route(request: RequestRecord, route: Any, scope: Message) -> None:
    if getattr(scope["route_handler"], "is_mount", False):
        enter_mount(request, route.path_format.rstrip("/"))
    else:
        learn_route(request, route, scope)


PROBE = Probe(
    watches=(("litestar.app", watch_requests),),
    infrastructure=("litestar",),
    distributions=("litestar",),
)
