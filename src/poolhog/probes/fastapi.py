"""The FastAPI probe: routes of included routers, and stages, at the places of FastAPI's own spans.

FastAPI's OpenTelemetry spans need a tracer provider, which a process has only one of and which is
the application's to choose. So the probe wraps the three functions that the spans enclose.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from poolhog.probes.asgi import begin_stage, learn_route, watch_routes
from poolhog.probes.guard import guard, recording_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack

    from poolhog.probes.asgi import Message
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import RequestRecord, StageRecord

    Step = Callable[..., Awaitable[Any]]

STAGES = {
    "solve_dependencies": "dependencies",
    "run_endpoint_function": "endpoint",
    "serialize_response": "serialization",
}
"""FastAPI's function, and the stage that it is."""


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record what FastAPI's requests have beyond Starlette's."""
    watch_included_routes(recorder, patches)
    watch_stages(recorder, patches)


def watch_stages(recorder: Recorder, patches: Patches) -> None:
    """Record how long each stage of a request took, and when its dependencies unwound."""
    from fastapi import routing

    begin = functools.partial(begin_stage, recorder)
    for function, stage in STAGES.items():
        wrap = recording_async(recorder, functools.partial(_begin_named, begin, stage))
        patches.wrap(routing, function, wrap)
    patches.wrap(routing, "solve_dependencies", functools.partial(_wrap_exit_stacks, recorder))


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


def _begin_named(
    begin: Callable[[str], StageRecord | None], name: str, *_: Any, **__: Any
) -> StageRecord | None:
    return begin(name)


def _wrap_exit_stacks(recorder: Recorder, solve: Step) -> Step:
    """Wrap ``solve_dependencies``: what it enters into an exit stack unwinds later."""
    begin = guard(recorder, functools.partial(begin_stage, recorder))
    watch = guard(recorder, _watch_exit_stacks)

    async def solve_dependencies(*args: Any, **kwargs: Any) -> Any:
        watched = watch(kwargs, begin) or ()
        try:
            return await solve(*args, **kwargs)
        finally:
            for exit_stack in watched:
                exit_stack.entered()

    return solve_dependencies


class _WatchedExitStack:
    """An exit stack whose unwinding is a stage, if a dependency entered it.

    Callbacks run in reverse: the one pushed before the dependencies runs after them, and the one
    pushed after them runs before.
    """

    def __init__(self, stack: AsyncExitStack, begin: Callable[[str], StageRecord | None]) -> None:
        self._stack = stack
        self._begin = begin
        self._record: StageRecord | None = None
        stack.callback(self._unwound)
        self._before = self._dependencies()

    def entered(self) -> None:
        """The dependencies were solved."""
        if self._dependencies() > self._before:
            self._stack.callback(self._unwind)

    def _unwind(self) -> None:
        self._record = self._begin("exit stack")

    def _unwound(self) -> None:
        if self._record is not None:
            self._record.end()

    def _dependencies(self) -> int:
        # They are entered as asynchronous contexts; FastAPI's own callbacks are synchronous.
        callbacks = getattr(self._stack, "_exit_callbacks", ())
        return len([True for is_sync, _ in callbacks if not is_sync])


def _watch_exit_stacks(
    arguments: Mapping[str, Any], begin: Callable[[str], StageRecord | None]
) -> list[_WatchedExitStack]:
    """The request's exit stack, and the function's where FastAPI has one (from 0.121 on)."""
    request_stack = arguments.get("async_exit_stack")
    function_stack = arguments["request"].scope.get("fastapi_function_astack")
    return [
        _WatchedExitStack(stack, begin)
        for stack in (request_stack, function_stack)
        if stack is not None
    ]
