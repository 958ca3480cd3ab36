"""Where a suspended task is: the chain of awaits from the task down to what it waits for."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FrameType

    Places = list[tuple[CodeType, int]]
    Task = asyncio.Task[Any]

DEEPEST = 200

DATABASE_LIBRARIES = frozenset(
    [
        *("aiomysql", "aiosqlite", "asyncmy", "asyncpg", "databases", "psycopg", "psycopg2"),
        *("psycopg_pool", "pymysql", "sqlalchemy"),
    ]
)
"""Packages that wait for nothing but a database or one of its connections."""

_SUSPENDED = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""The attributes of coroutines, generators and asynchronous generators: frame, and what is next."""

_IN_WORKER_THREAD = "run_sync_in_worker_thread"
"""anyio's function that waits for a thread; its local variable ``worker`` is the thread."""

_GROUPS = ("TaskGroup.__aexit__", "TaskGroup._aexit")
_WAITING_FOR = {
    "wait_for": "fut",
    "_cancel_and_wait": "fut",
    "_wait": "fs",
    **dict.fromkeys(_GROUPS, "self"),
}
"""Functions of asyncio's and anyio's that wait for tasks, and the variable that has these."""

_SHIELD = "shield.<locals>._outer_done_callback"
"""The function that a future of ``asyncio.shield`` calls; its variable ``inner`` is the task."""

_GREENLET = "greenlet_spawn"
"""SQLAlchemy's function that awaits whatever a greenlet wants, also the application's in it."""

_CYTHON = ".pyx"
_ASYNC_LIBRARIES = (os.path.join("asyncio", ""), os.path.join("anyio", ""))  # noqa: PTH118
_SITE_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_POOLHOG = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_NEUTRAL = (_STANDARD_LIBRARY, "<", *(_POOLHOG + part for part in ("probes", "recording")))


class Worker(NamedTuple):
    """A thread that works for a task, by its Python and native ids.

    It ``is_done`` if it has nothing to do any more, and its result is on its way to the loop.
    """

    ident: int
    native_id: int
    is_done: bool


class Chain(NamedTuple):
    """Where a suspended task is.

    ``places`` are its frames, the innermost first, as code and instruction. ``worker`` is the
    thread that it waits for, if any; ``tasks`` those that it awaits, as far as they are known to be
    all that it waits for.
    """

    places: Places
    worker: Worker | None
    tasks: tuple[Task, ...]


def await_chain(task: Task) -> Chain:
    """Where a task is that does not run."""
    places: Places = []
    worker: Worker | None = None
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
        if frame.f_code.co_name == _IN_WORKER_THREAD:
            worker = _worker(frame)
        innermost = frame
        awaitable = after
    places.reverse()
    tasks = _tasks(getattr(task, "_fut_waiter", None), innermost) if worker is None else ()
    return Chain(places, worker, tasks)


def waits_for_thread(places: Iterable[tuple[CodeType, int]]) -> bool:
    """Whether the frames are those of a task that waits for a thread, begun or not."""
    return any(code.co_name == _IN_WORKER_THREAD for code, _ in places)


def waits_for_group(places: Sequence[tuple[CodeType, int]]) -> bool:
    """Whether the innermost frame waits for a group of tasks, of asyncio's or anyio's."""
    return bool(places) and places[0][0].co_qualname in _GROUPS


def is_in_database(places: Sequence[tuple[CodeType, int]]) -> bool:
    """Whether it is a database library that waits, itself and not by calling something else."""
    for code, _ in places:
        package = _package(code.co_filename)
        if package is not None:
            return package in DATABASE_LIBRARIES and code.co_name != _GREENLET
    return False


@functools.lru_cache(maxsize=10_000)
def _package(file: str) -> str | None:
    """The package of a file, "" for the application's own; ``None`` for the standard library."""
    for mark in _SITE_PACKAGES:
        if mark in file:
            return file.rpartition(mark)[2].partition(os.sep)[0].removesuffix(".py")
    return None if file.startswith(_NEUTRAL) else ""


def _tasks(waiter: Any, frame: FrameType | None) -> tuple[Task, ...]:
    """The tasks that must be done before the future is, or none if it may wait for others too."""
    awaited: Iterable[Any] = ()
    if issubclass(type(waiter), asyncio.Task):
        awaited = (waiter,)
    elif type(waiter).__name__ == "_GatheringFuture":
        awaited = tuple(getattr(waiter, "_children", ()))
    elif frame is not None and frame.f_code.co_qualname in _WAITING_FOR:
        awaited = _waited_for(frame)
    else:
        awaited = _shielded(waiter)
    unfinished = tuple(other for other in awaited if not other.done())
    if all(issubclass(type(other), asyncio.Task) for other in unfinished):
        return unfinished
    return ()


def _waited_for(frame: FrameType) -> tuple[Any, ...]:
    """What a function of asyncio's or anyio's waits for, if it is for all of it."""
    code = frame.f_code
    if not any(library in code.co_filename for library in _ASYNC_LIBRARIES):
        return ()
    variables = frame.f_locals
    if variables.get("return_when", asyncio.ALL_COMPLETED) != asyncio.ALL_COMPLETED:
        return ()
    found = variables.get(_WAITING_FOR[code.co_qualname])
    found = getattr(found, "_tasks", found)
    if issubclass(type(found), asyncio.Future):
        return (found,)
    return tuple(found) if isinstance(found, set | frozenset | list | tuple) else ()


def _shielded(waiter: Any) -> tuple[Any, ...]:
    """What is behind a future of ``asyncio.shield``."""
    for callback, *_ in getattr(waiter, "_callbacks", None) or ():
        if type(callback) is FunctionType and callback.__qualname__ == _SHIELD:
            names = callback.__code__.co_freevars
            return tuple(
                cell.cell_contents
                for name, cell in zip(names, callback.__closure__ or (), strict=True)
                if name == "inner"
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


_WRAPPERS = frozenset(
    ["async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"]
)


def _worker(frame: FrameType) -> Worker | None:
    worker = frame.f_locals.get("worker")
    ident, native_id = getattr(worker, "ident", None), getattr(worker, "native_id", None)
    if ident is None or native_id is None:
        return None
    unfinished = getattr(getattr(worker, "queue", None), "unfinished_tasks", None)
    return Worker(ident, native_id, is_done=unfinished == 0)
