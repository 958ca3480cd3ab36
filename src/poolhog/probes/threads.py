"""Which task waits for a thread: its request's connection may be asked for in there.

A sync endpoint, and a sync dependency, run in threads that serve one request after another. The
task that waits for them is the owner of what they ask for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import reset
from poolhog.probes.probe import Probe
from poolhog.probes.wrapping import around
from poolhog.recording.threads import Worker, carrier, current_task, jobs, workers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder


def watch_anyio(recorder: Recorder, patches: Patches) -> None:
    """Tell anyio's threads, which Starlette and FastAPI use, which task they carry."""
    from anyio._backends import _asyncio

    def begin(backend: type, *args: Any, **kwargs: Any) -> _Carried | None:
        return _carry((backend,), *args, **kwargs)

    # Whoever runs something in a thread comes here, by whatever name it has been imported.
    wrap = around(recorder.failed, begin, awaits=True, changes=True)
    patches.wrap(_asyncio.AsyncIOBackend, "run_sync_in_worker_thread", wrap)


def watch_asyncio(recorder: Recorder, patches: Patches) -> None:
    """Tell asyncio's threads which task they carry."""
    import asyncio
    import asyncio.threads

    begin = functools.partial(_carry, ())
    wrap = around(recorder.failed, begin, awaits=True, changes=True)
    # It is imported from the one, and pickled by the other.
    patches.wrap(asyncio.threads, "to_thread", wrap)
    patches.replace(asyncio, "to_thread", asyncio.threads.to_thread)


def watch_executors(recorder: Recorder, patches: Patches) -> None:
    """Tell which thread works on which job of a thread pool, whoever awaits it."""
    from concurrent.futures.thread import _WorkItem

    patches.wrap(_WorkItem, "run", around(recorder.failed, _Job))


class _Job:
    """A thread works on a job, whose exceptions the job keeps."""

    __slots__ = ("_key", "_worker")

    def __init__(self, job: Any) -> None:
        self._worker, self._key = Worker(), id(job.future)
        function = getattr(job, "fn", None)
        if function is None:  # of a Python whose jobs have it elsewhere
            self._worker.begin()
        else:
            # The work is over before its result wakes who waits for it.
            job.fn = functools.partial(self._worker.run, function)
        jobs[self._key] = self._worker

    def end(self, _: BaseException | None = None) -> None:
        """The job is done."""
        if self._worker.ended_ns is None:
            self._worker.end()
        jobs.pop(self._key, None)


def _carry(
    before: tuple[Any, ...], function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> _Carried | None:
    """The function that runs in a thread comes after the arguments ``before`` it."""
    task = current_task()
    if task is None:
        return None
    worker = Worker()
    return _Carried(task, worker, (*before, functools.partial(worker.run, function), *args), kwargs)


class _Carried:
    """A task waits for a thread that is told so; these are the arguments that tell it."""

    __slots__ = ("_task", "_token", "args", "kwargs")

    def __init__(
        self,
        task: asyncio.Task[Any],
        worker: Worker,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.args = args
        self.kwargs = kwargs
        self._task = id(task)
        # The context is copied into the thread.
        self._token = carrier.set(task)
        workers[self._task] = worker

    def end(self, _: BaseException | None = None) -> None:
        """The thread is done, or nobody waits for it any more."""
        workers.pop(self._task, None)
        reset(carrier, self._token)


PROBE = Probe(
    watches=(
        ("anyio._backends._asyncio", watch_anyio),
        ("asyncio", watch_asyncio),
        ("concurrent.futures.thread", watch_executors),
    ),
    infrastructure=("anyio",),
    groups={("anyio", "TaskGroup.__aexit__"): "self"},
)
