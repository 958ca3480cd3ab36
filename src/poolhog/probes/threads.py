"""Which task waits for a thread: its request's connection may be asked for in there.

A sync endpoint, and a sync dependency, run in threads that serve one request after another. The
task that waits for them is the owner of what they ask for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import reset
from poolhog.recording.recorder import carrier, current_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Run = Callable[..., Awaitable[Any]]


def watch_anyio(_: Recorder, patches: Patches) -> None:
    """Tell anyio's threads, which Starlette and FastAPI use, which task they carry."""
    from anyio import to_thread

    patches.wrap(to_thread, "run_sync", _wrap_anyio)


def watch_asyncio(_: Recorder, patches: Patches) -> None:
    """Tell asyncio's threads the same."""
    import asyncio

    patches.wrap(asyncio, "to_thread", _wrap_asyncio)


def _wrap_anyio(run_sync: Run) -> Run:
    async def run_carried(*args: Any, **kwargs: Any) -> Any:
        # The context is copied into the thread.
        token = carrier.set(current_task())
        try:
            return await run_sync(*args, **kwargs)
        finally:
            reset(carrier, token)

    return run_carried


def _wrap_asyncio(to_thread: Run) -> Run:
    # Named like anyio's function, and with a variable like anyio's: whoever looks where a task is
    # finds the thread in it that the task waits for.
    async def run_sync_in_worker_thread(
        func: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        worker = _Worker()

        def run() -> Any:
            worker.begin()
            return func(*args, **kwargs)

        token = carrier.set(current_task())
        try:
            return await to_thread(run)
        finally:
            reset(carrier, token)

    return run_sync_in_worker_thread


class _Worker:
    """The thread that works for a task, once it does."""

    ident: int | None = None
    native_id: int | None = None

    def begin(self) -> None:
        self.ident, self.native_id = threading.get_ident(), threading.get_native_id()
