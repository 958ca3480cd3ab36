"""The FastAPI probe: routes of included routers, and stages, at the places of FastAPI's own spans.

FastAPI's OpenTelemetry spans need a tracer provider, which a process has only one of and which is
the application's to choose. So the probe wraps the three functions that the spans enclose.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from poolhog.probes.asgi import begin_stage, learn_route, watch_routes
from poolhog.recording.recorder import current_request

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from poolhog.probes.asgi import Message
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import RequestRecord, StageRecord

    Step = Callable[..., Awaitable[Any]]
    _Callbacks = deque[tuple[bool, Callable[..., object]]]

STAGES = {"run_endpoint_function": "endpoint", "serialize_response": "serialization"}
"""FastAPI's function, and the stage that it is; ``solve_dependencies`` is one as well."""


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record what FastAPI's requests have beyond Starlette's."""
    watch_included_routes(recorder, patches)
    watch_stages(recorder, patches)


def watch_stages(recorder: Recorder, patches: Patches) -> None:
    """Record how long each stage of a request took, and when its dependencies unwound."""
    from fastapi import routing

    for function, stage in STAGES.items():
        patches.wrap(routing, function, functools.partial(_wrap_stage, stage))
    patches.wrap(routing, "solve_dependencies", functools.partial(_wrap_dependencies, recorder))


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


def _wrap_stage(name: str, step: Step) -> Step:
    """Record each run of a function as a stage of the current request."""

    async def staged(*args: Any, **kwargs: Any) -> Any:
        request = current_request.get()
        if request is None or request.ended_ns is not None:
            return await step(*args, **kwargs)
        stage = request.begin_stage(name)
        try:
            return await step(*args, **kwargs)
        finally:
            stage.end()

    return staged


def _wrap_dependencies(recorder: Recorder, solve: Step) -> Step:
    """Wrap ``solve_dependencies``: what it enters into an exit stack unwinds later."""
    failed = recorder.failed

    async def solve_dependencies(*args: Any, **kwargs: Any) -> Any:
        request = current_request.get()
        if request is None or request.ended_ns is not None:
            return await solve(*args, **kwargs)
        try:
            stacks = _exit_stacks(kwargs)
        except Exception:  # FastAPI's insides are not what they were
            failed()
            stacks = []
        stage = request.begin_stage("dependencies")
        try:
            return await solve(*args, **kwargs)
        finally:
            stage.end()
            for callbacks, before in stacks:
                if len(callbacks) > before:
                    _watch_unwinding(callbacks, before)

    return solve_dependencies


def _exit_stacks(arguments: Mapping[str, Any]) -> Sequence[tuple[_Callbacks, int]]:
    """What unwinds after the request and, from FastAPI 0.121 on, after its function.

    Each is given by its callbacks, and how many of them there are by now.
    """
    found = []
    for stack in (
        arguments.get("async_exit_stack"),
        arguments["request"].scope.get("fastapi_function_astack"),
    ):
        if stack is not None:
            callbacks = stack._exit_callbacks
            found.append((callbacks, len(callbacks)))
    return found


def _watch_unwinding(callbacks: _Callbacks, before: int) -> None:
    """Make a stage of the unwinding of what was entered into a stack since there were so many.

    Callbacks run in reverse: one below those of the dependencies runs after them, and one on top
    of them before. Dependencies are entered as asynchronous contexts; FastAPI's own callbacks are
    synchronous.
    """
    for at in range(before, len(callbacks)):
        is_sync, _ = callbacks[at]
        if not is_sync:
            unwinding = _Unwinding()
            callbacks.insert(before, (True, unwinding.end))
            callbacks.append((True, unwinding.begin))
            return


class _Unwinding:
    """The stage in which an exit stack closes dependencies; its methods are exit callbacks."""

    __slots__ = ("_stage",)

    def __init__(self) -> None:
        self._stage: StageRecord | None = None

    def begin(self, *_: object) -> None:
        """The first dependency is going to be closed."""
        self._stage = begin_stage("exit stack")

    def end(self, *_: object) -> None:
        """The last dependency was closed."""
        if self._stage is not None:
            self._stage.end()
