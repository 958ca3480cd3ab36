"""Which task waits for a thread: its request's connection may be asked for in there.

A sync endpoint, and a sync dependency, run in threads that serve one request after another. The
task that waits for them is the owner of what they ask for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import reset
from poolhog.probes.probe import Probe
from poolhog.recording.threads import Worker, carrier, current_task, jobs, workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Run = Callable[..., Awaitable[Any]]


def watch_anyio(_: Recorder, patches: Patches) -> None:
    """Tell anyio's threads, which Starlette and FastAPI use, which task they carry."""
    from anyio._backends import _asyncio

    # Whoever runs something in a thread comes here, by whatever name it has been imported.
    patches.wrap(_asyncio.AsyncIOBackend, "run_sync_in_worker_thread", _wrap)


def watch_asyncio(_: Recorder, patches: Patches) -> None:
    """Tell asyncio's threads which task they carry."""
    import asyncio

    patches.wrap(asyncio, "to_thread", _wrap)


def watch_executors(_: Recorder, patches: Patches) -> None:
    """Tell which thread works on which job of a thread pool, whoever awaits it."""
    from concurrent.futures.thread import _WorkItem

    patches.wrap(_WorkItem, "run", _wrap_job)


def _wrap_job(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the method that runs a job: it keeps exceptions, so none comes by here."""

    def carried(job: Any, *args: Any, **kwargs: Any) -> Any:
        worker, key = Worker(), id(job.future)
        jobs[key] = worker
        try:
            return worker.run(run, job, *args, **kwargs)
        finally:
            jobs.pop(key, None)

    return carried


def _wrap(run: Run) -> Run:
    """Wrap a coroutine function that runs a function in a thread, and takes it first."""

    async def carried(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        task = current_task()
        if task is None:
            return await run(function, *args, **kwargs)
        # The context is copied into the thread.
        token = carrier.set(task)
        worker = workers[id(task)] = Worker()
        try:
            return await run(functools.partial(worker.run, function), *args, **kwargs)
        finally:
            workers.pop(id(task), None)
            reset(carrier, token)

    return carried


PROBE = Probe(
    watches=(
        ("anyio._backends._asyncio", watch_anyio),
        ("asyncio", watch_asyncio),
        ("concurrent.futures.thread", watch_executors),
    ),
    infrastructure=("anyio",),
    groups={("anyio", "TaskGroup.__aexit__"): "self"},
)
