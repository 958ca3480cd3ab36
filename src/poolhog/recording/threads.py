"""Which task a thread works for, and which thread works for a task."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from poolhog.recording.unseen import hide, unseen

if TYPE_CHECKING:
    from collections.abc import Callable

carrier: ContextVar[asyncio.Task[Any] | None] = ContextVar("poolhog_carrier", default=None)
"""The task that waits for the thread that runs this."""


class Worker:
    """The thread that works for a task, by its Python and native ids.

    ``ident`` is ``None`` until it begins, at ``began_ns``. It ends at ``ended_ns``, when the result
    is on its way to the loop.
    """

    __slots__ = ("began_ns", "ended_ns", "ident", "native_id")

    def __init__(self) -> None:
        self.ident: int | None = None
        self.native_id = 0
        self.began_ns = 0
        self.ended_ns: int | None = None

    @unseen
    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in this thread."""
        self.begin()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            hide(error)
            raise
        finally:
            self.end()

    def begin(self) -> None:
        """The running thread begins to work."""
        self.began_ns = monotonic_ns()
        # The last one tells another thread that all are known.
        self.native_id = threading.get_native_id()
        self.ident = threading.get_ident()

    def end(self) -> None:
        """It has done its work."""
        self.ended_ns = monotonic_ns()


workers: dict[int, Worker] = {}
"""The workers of tasks that wait for one, by the id of the task, as long as it waits."""

jobs: dict[int, Worker] = {}
"""The workers of executors' jobs, by the id of the job's future, as long as it runs."""


def current_task() -> asyncio.Task[Any] | None:
    """The running asyncio task, or ``None`` in a thread without one."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class ThreadIds(threading.local):
    """What each thread finds out about itself once: its Python and native ids."""

    def __init__(self) -> None:
        self.ids = threading.get_ident(), threading.get_native_id()
