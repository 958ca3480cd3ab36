"""Where a suspended task is: the chain of awaits from the task down to what it waits for."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from types import CodeType, FrameType

DEEPEST = 200

_SUSPENDED = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""The attributes of coroutines, generators and asynchronous generators: frame, and what is next."""

_IN_WORKER_THREAD = "run_sync_in_worker_thread"
"""anyio's function that waits for a thread; its local variable ``worker`` is the thread."""


def await_chain(
    task: asyncio.Task[Any],
) -> tuple[list[tuple[CodeType, int]], tuple[int, int] | None]:
    """The task's frames, the innermost first, as code and instruction.

    With them come the Python and native ids of the anyio worker thread that it waits for, if any.
    """
    places: list[tuple[CodeType, int]] = []
    worker: tuple[int, int] | None = None
    awaitable: Any = task.get_coro()
    while awaitable is not None and len(places) < DEEPEST:
        frame, after = _suspended(awaitable)
        if frame is None:
            # The object between a generator and `async for`, or a coroutine's `__await__`, shows
            # what it goes on with to the garbage collector only.
            awaitable = _behind(awaitable)
            continue
        places.append((frame.f_code, frame.f_lasti))
        if frame.f_code.co_name == _IN_WORKER_THREAD:
            worker = _worker(frame)
        awaitable = after
    places.reverse()
    return places, worker


def waits_for_thread(places: Iterable[tuple[CodeType, int]]) -> bool:
    """Whether the frames are those of a task that waits for a thread, begun or not."""
    return any(code.co_name == _IN_WORKER_THREAD for code, _ in places)


def _suspended(awaitable: Any) -> tuple[FrameType | None, Any]:
    for frame_name, next_name in _SUSPENDED:
        # Asked of the type: an object of the application may answer anything, or run its code.
        if hasattr(type(awaitable), frame_name):
            return getattr(awaitable, frame_name), getattr(awaitable, next_name)
    return None, None


def _behind(awaitable: Any) -> Any:
    if type(awaitable).__name__ not in _WRAPPERS:
        return None
    for referent in gc.get_referents(awaitable):
        if _suspended(referent)[0] is not None or type(referent).__name__ in _WRAPPERS:
            return referent
    return None


_WRAPPERS = frozenset(
    ["async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"]
)


def _worker(frame: FrameType) -> tuple[int, int] | None:
    worker = frame.f_locals.get("worker")
    ident, native_id = getattr(worker, "ident", None), getattr(worker, "native_id", None)
    return (ident, native_id) if ident is not None and native_id is not None else None
