"""The names of owners: a task or thread has one that no other has, whatever it is called.

anyio names each task after its function, and all of its threads alike. Whoever reads a trace knows
an owner by its name only, and would take all workers of a group for one.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.recording.lengths import LONGEST_NAME

if TYPE_CHECKING:
    import asyncio

    Task = asyncio.Task[Any]

MOST_NAMES = 10_000
"""Names whose first owner is remembered; if there are more, all that are new get a number."""

_DEFAULT = "Task-"
"""What asyncio numbers tasks with that have no name: those numbers are used once."""

_LONGEST_NUMBER = 16


class OwnerNames:
    """Gives the second owner of a name, and all others, a number behind it."""

    def __init__(self) -> None:
        self._first: dict[str, object] = {}
        self._tasks: weakref.WeakKeyDictionary[Task, str] = weakref.WeakKeyDictionary()
        self._thread = _Thread()
        self._numbers = itertools.count(2)

    def of_task(self, task: Task) -> str:
        """The name of a task that asks."""
        name = task.get_name()
        if name.startswith(_DEFAULT) and name[len(_DEFAULT) :].isdecimal():
            return name
        # A task has one reference, as long as anybody has it.
        return name if self._is_first(name, weakref.ref(task)) else self._other(task, name)

    def of_thread(self, carried: Task | None) -> str:
        """The name of the thread that runs, or of the first one that asked for a ``carried`` task.

        A task may go on in several threads, one after the other: it is one owner.
        """
        name = threading.current_thread().name
        if carried is not None:
            return self._other(carried, name)
        own = self._thread
        if self._is_first(name, own.key):
            return name
        known = own.names.get(name)
        if known is None:
            known = own.names[name] = self._numbered(name)
        return known

    def _other(self, task: Task, name: str) -> str:
        known = self._tasks.get(task)
        if known is None:
            is_first = self._is_first(name, weakref.ref(task))
            known = self._tasks[task] = name if is_first else self._numbered(name)
        return known

    def _is_first(self, name: str, owner: object) -> bool:
        first = self._first.get(name)
        if first is None and len(self._first) < MOST_NAMES:
            # Of two threads at once, one is the first.
            first = self._first.setdefault(name, owner)
        return first is owner

    def _numbered(self, name: str) -> str:
        return f"{name[: LONGEST_NAME - _LONGEST_NUMBER]} ({next(self._numbers)})"


class _Thread(threading.local):
    """What stands for a thread, and its names that are another's as well."""

    def __init__(self) -> None:
        self.key = object()
        self.names: dict[str, str] = {}
