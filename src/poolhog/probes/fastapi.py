"""The FastAPI probe: routes of included routers, and stages, at the places of FastAPI's own spans.

FastAPI's OpenTelemetry spans need a tracer provider, which a process has only one of and which is
the application's to choose. So the probe wraps the three functions that the spans enclose.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any

from poolhog.probes.asgi import begin_stage, learn_route, watch_routes
from poolhog.probes.guard import recording_async
from poolhog.probes.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolhog.probes.asgi import Message
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import RequestRecord, StageRecord
    from poolhog.recording.sites import SiteRecord

    _Callbacks = deque[tuple[bool, Callable[..., object]]]

STAGES = {
    "solve_dependencies": "dependencies",
    "run_endpoint_function": "endpoint",
    "serialize_response": "serialization",
}
"""FastAPI's function, and the stage that it is."""

ENTERING = ("_solve_generator", "solve_generator")
"""FastAPI's function that enters a dependency which yields, in newer and older versions."""


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record what FastAPI's requests have beyond Starlette's."""
    watch_included_routes(recorder, patches)
    watch_stages(recorder, patches)


def watch_stages(recorder: Recorder, patches: Patches) -> None:
    """Record how long each stage of a request took, and when its dependencies unwound."""
    from fastapi import routing
    from fastapi.dependencies import utils

    for function, stage in STAGES.items():
        begin = functools.partial(begin_stage, stage)
        patches.wrap(routing, function, recording_async(recorder, begin))
    for function in ENTERING:
        entering = functools.partial(_Entering, recorder)
        patches.wrap(utils, function, recording_async(recorder, entering))


def watch_included_routes(recorder: Recorder, patches: Patches) -> None:
    """Learn the routes of included routers, which do without Starlette's ``Route.handle``."""
    from fastapi.routing import APIRoute

    # Versions that copy the routes of an included router have nothing of their own here.
    if "handle" in vars(APIRoute):
        watch_routes(recorder, patches, APIRoute, _learn_route)


def _learn_route(request: RequestRecord, route: Any, scope: Message) -> None:
    kept = scope.get("fastapi")
    included: Any = kept.get("effective_route_context") if isinstance(kept, dict) else None
    if getattr(included, "original_route", None) is route:
        learn_route(request, included, scope)


class _Entering:
    """A dependency is entered into an exit stack: there it unwinds later.

    Callbacks of a stack run in reverse: one below those of the dependency runs after them, and one
    on top of them before.
    """

    __slots__ = ("_arguments", "_before", "_callbacks", "_recorder")

    def __init__(self, recorder: Recorder, *_: Any, **arguments: Any) -> None:
        self._recorder = recorder
        self._arguments = arguments
        self._callbacks: _Callbacks = getattr(
            arguments.get("stack"), "_exit_callbacks", _NO_CALLBACKS
        )
        self._before = len(self._callbacks)

    def end(self, error: BaseException | None = None) -> None:
        """It was entered, or is no dependency that yields."""
        if error is None and len(self._callbacks) > self._before:
            _watch_unwinding(self._recorder, self._callbacks, self._before, self._arguments)


_NO_CALLBACKS: _Callbacks = deque()


def _watch_unwinding(
    recorder: Recorder, callbacks: _Callbacks, before: int, arguments: Mapping[str, Any]
) -> None:
    """Make a stage of the unwinding of what was entered since there were so many callbacks."""
    dependant = arguments.get("dependant")
    dependency = arguments.get("call") if dependant is None else dependant.call
    unwinding = _Unwinding(recorder.sites.function(dependency))
    callbacks.insert(before, (True, unwinding.end))
    callbacks.append((True, unwinding.begin))


class _Unwinding:
    """The stage in which a dependency is closed; its methods are exit callbacks."""

    __slots__ = ("_site", "_stage")

    def __init__(self, site: SiteRecord | None) -> None:
        self._site = site
        self._stage: StageRecord | None = None

    def begin(self, *_: object) -> None:
        """It is going to be closed."""
        self._stage = begin_stage("exit stack")
        if self._stage is not None:
            self._stage.site = self._site

    def end(self, *_: object) -> None:
        """It was closed."""
        if self._stage is not None:
            self._stage.end()


PROBE = Probe(
    watches=(("fastapi.routing", watch_requests),),
    infrastructure=("fastapi", "pydantic", "typer"),
    distributions=("fastapi",),
    # It calls the endpoints.
    roots=("fastapi/routing.py",),
)
