"""Where a suspended task is: the chain of awaits from the task down to what it waits for."""

from __future__ import annotations

import asyncio
import gc
import os
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.recording.libraries import package_of
from poolhog.recording.sites import DEEPEST
from poolhog.recording.threads import Worker, jobs, workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FrameType

    from poolhog.recording.libraries import Libraries

    Places = list[tuple[CodeType, int]]
    Task = asyncio.Task[Any]

_SUSPENDED = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""The attributes of coroutines, generators and asynchronous generators: frame, and what is next."""

_WRAPPERS = frozenset(
    ["async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"]
)
"""What stands between a coroutine and what it awaits, and shows it to nobody."""

_GROUPS = ("TaskGroup.__aexit__", "TaskGroup._aexit")
_WAITING_FOR = {
    "wait_for": "fut",
    "_cancel_and_wait": "fut",
    "_wait": "fs",
    **dict.fromkeys(_GROUPS, "self"),
}
"""Functions of asyncio's that wait for tasks, and the variable that has these."""

_SHIELD = "shield.<locals>._outer_done_callback"
"""The function that a future of ``asyncio.shield`` calls; its variable ``inner`` is the task."""

_CHAINED = "_chain_future.<locals>._call_check_cancel"
"""The function that a future of ``run_in_executor`` calls; its variable ``source`` is the job's."""

_CYTHON = ".pyx"
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep  # noqa: PTH120 - compared with files


class Chain(NamedTuple):
    """Where a suspended task is.

    ``places`` are its frames, the innermost first, as code and instruction. ``worker`` is the
    thread that it waits for, if any, begun or not. ``tasks`` are those that it awaits, as far as
    they are known to be all that it waits for. ``innermost`` is the frame that awaits something.
    """

    places: Places
    worker: Worker | None
    tasks: tuple[Task, ...]
    innermost: FrameType | None = None


def await_chain(task: Task, libraries: Libraries) -> Chain:
    """Where a task is that does not run."""
    places: Places = []
    innermost: FrameType | None = None
    awaitable: Any = task.get_coro()
    while awaitable is not None and len(places) < DEEPEST:
        frame, after = _suspended(awaitable)
        if frame is None:
            # The object between a generator and `async for`, or a coroutine's `__await__`, shows
            # what it goes on with to the garbage collector only.
            awaitable = _behind(awaitable)
            continue
        # Cython's coroutines show frames that are none, of files that are nowhere.
        if not frame.f_code.co_filename.endswith(_CYTHON):
            places.append((frame.f_code, frame.f_lasti))
        innermost = frame
        awaitable = after
    places.reverse()
    waiter = getattr(task, "_fut_waiter", None)
    worker = workers.get(id(task)) or _job_of(waiter)
    if worker is not None:
        return Chain(places, worker, (), innermost)
    tasks = _tasks(waiter, innermost, libraries)
    return Chain(places, None, tasks, innermost)


def waits_for_group(places: Sequence[tuple[CodeType, int]], libraries: Libraries) -> bool:
    """Whether the innermost frame waits for a group of tasks."""
    if not places:
        return False
    code = places[0][0]
    return code.co_qualname in _GROUPS or _group_variable(code, libraries) is not None


def is_in_database(places: Sequence[tuple[CodeType, int]], libraries: Libraries) -> bool:
    """Whether it is a database library that waits, itself and not by calling something else."""
    for code, _ in places:
        package = package_of(code.co_filename)
        if package is not None:
            return package in libraries.databases and code.co_name not in libraries.relays
    return False


def _group_variable(code: CodeType, libraries: Libraries) -> str | None:
    """The variable of a library's function that has the tasks which it waits for."""
    return libraries.groups.get((package_of(code.co_filename) or "", code.co_qualname))


def _tasks(waiter: Any, frame: FrameType | None, libraries: Libraries) -> tuple[Task, ...]:
    """The tasks that must be done before the future is, or none if it may wait for others too."""
    awaited: Iterable[Any] = ()
    if issubclass(type(waiter), asyncio.Task):
        awaited = (waiter,)
    elif type(waiter).__name__ == "_GatheringFuture":
        awaited = tuple(getattr(waiter, "_children", ()))
    elif frame is not None and (name := _task_variable(frame.f_code, libraries)) is not None:
        awaited = _waited_for(frame, name)
    else:
        awaited = _shielded(waiter)
    unfinished = tuple(other for other in awaited if not other.done())
    if all(issubclass(type(other), asyncio.Task) for other in unfinished):
        return unfinished
    return ()


def _task_variable(code: CodeType, libraries: Libraries) -> str | None:
    """The variable of a function that has the tasks which it waits for, if it is known to."""
    if code.co_filename.startswith(_ASYNCIO):
        return _WAITING_FOR.get(code.co_qualname)
    return _group_variable(code, libraries)


def _waited_for(frame: FrameType, name: str) -> tuple[Any, ...]:
    """What a function has in the variable of this name, if it waits for all of it."""
    variables = frame.f_locals
    if variables.get("return_when", asyncio.ALL_COMPLETED) != asyncio.ALL_COMPLETED:
        return ()
    found = variables.get(name)
    found = getattr(found, "_tasks", found)
    if issubclass(type(found), asyncio.Future):
        return (found,)
    return tuple(found) if isinstance(found, set | frozenset | list | tuple) else ()


def _job_of(waiter: Any) -> Worker | None:
    """The worker of the executor's job that a future waits for, begun or not."""
    for future in (waiter, *_shielded(waiter)):
        for job in _called_with(future, _CHAINED, "source"):
            if getattr(job, "_state", None) == "PENDING":
                return Worker()
            if id(job) in jobs:
                return jobs.get(id(job))
    return None


def _shielded(waiter: Any) -> tuple[Any, ...]:
    """What is behind a future of ``asyncio.shield``."""
    return _called_with(waiter, _SHIELD, "inner")


def _called_with(waiter: Any, function: str, variable: str) -> tuple[Any, ...]:
    """What a function of asyncio's that a future calls has in its variable of this name."""
    for callback, *_ in getattr(waiter, "_callbacks", None) or ():
        if type(callback) is FunctionType and callback.__qualname__ == function:
            names = callback.__code__.co_freevars
            return tuple(
                cell.cell_contents
                for name, cell in zip(names, callback.__closure__ or (), strict=True)
                if name == variable
            )
    return ()


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
