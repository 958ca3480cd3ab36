"""Which task waits for another one, or holds open the group that it is in: its parent.

What a library does in a task of its own, such as ``gather(pool.fetch(…))``, is its parent's.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.recording.awaiting import await_chain
from poolhog.recording.libraries import package_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.recording.libraries import Libraries
    from poolhog.recording.sites import SiteRecord, Sites

    Task = asyncio.Task[Any]

MOST_TASKS = 5_000
"""Tasks of a loop that are asked for their parent; of more, nobody's children are known."""

_LONGEST = 5
"""Futures between a task and the one that awaits it, as ``gather`` of a ``shield`` has."""

_GROUP = "TaskGroup"
_HOSTS = (("_parent_task",), ("cancel_scope", "_host_task"))
"""Where the groups of asyncio and anyio have the task that opened them."""


def parent_of(task: Task, libraries: Libraries) -> Task | None:
    """The task that goes on when this one is done; ``None`` if none is known to.

    It is found from the callbacks that a task calls when it is done: those of ``await``,
    ``gather``, ``wait``, ``wait_for``, ``shield``, and of groups of tasks.
    """
    seen = {id(task)}
    futures: list[Any] = [task]
    for _ in range(_LONGEST):
        following: list[Any] = []
        for held in (held for future in futures for held in _held(future, libraries)):
            if id(held) in seen:
                continue
            seen.add(id(held))
            if issubclass(type(held), asyncio.Task):
                return held if not held.done() else None
            if issubclass(type(held), asyncio.Future):
                following.append(held)
            elif type(held).__name__ == _GROUP and (host := _host(held)) is not None:
                return host
        futures = following
    return None


def _held(future: Any, libraries: Libraries) -> Iterator[Any]:
    """What a future's callbacks have at hand that asyncio or a library of groups made."""
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        if isinstance(callback, functools.partial):
            yield from callback.args
        elif type(callback) is FunctionType:
            package = package_of(callback.__code__.co_filename)
            if package is None or any(package == known for known, _ in libraries.groups):
                for cell in callback.__closure__ or ():
                    try:
                        yield cell.cell_contents
                    except ValueError:  # it is empty
                        continue
        else:
            yield getattr(callback, "__self__", None)


def _host(group: Any) -> Task | None:
    for names in _HOSTS:
        found = group
        for name in names:
            found = getattr(found, name, None)
        if found is not None and issubclass(type(found), asyncio.Task) and not found.done():
            task: Task = found
            return task
    return None


class Parents:
    """Where the parents of tasks are in the application, of tasks that are not in it themselves."""

    def __init__(self, sites: Sites, libraries: Libraries) -> None:
        self._sites, self._libraries = sites, libraries
        self._known: dict[int, Parent] = {}

    def of(self, task: Task | None, request: weakref.ref[Task] | None = None) -> Parent | None:
        """The nearest of the task's ancestors that is in the application.

        If it has no parent, the task that answers the ``request`` is.
        """
        if task is None:
            return None
        known = self._known.get(id(task))
        if known is not None and known.child() is task:
            return known
        found = self._find(task, request() if request is not None else None)
        if found is not None:
            if len(self._known) >= MOST_TASKS:
                self._known.clear()
            self._known[id(task)] = found
        return found

    def _find(self, task: Task, answering: Task | None) -> Parent | None:
        at: Task | None = task
        for _ in range(_LONGEST):
            parent = parent_of(at, self._libraries) if at is not None else None
            at = parent or (answering if at is not answering else None)
            if at is None or at is task or at.done():
                return None
            places = self._sites.within_application(await_chain(at, self._libraries).places)
            site = self._sites.chain(places)
            if site is not None:
                return Parent(weakref.ref(task), weakref.ref(at), site)
        return None


class Parent(NamedTuple):
    """An ancestor of a task, and where it waits for that."""

    child: weakref.ref[Task]
    task: weakref.ref[Task]
    site: SiteRecord


class Children:
    """The tasks of loops by their parents, found out when they are first asked for."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries
        self._known: dict[int, dict[int, list[weakref.ref[Task]]]] = {}

    def forget(self) -> None:
        """Tasks come and go: find them anew when they are next asked for."""
        self._known.clear()

    def of(self, task: Task) -> Sequence[weakref.ref[Task]]:
        """The tasks whose parent this one is, and their children, its own first."""
        by_parent = self._of_loop(task.get_loop())
        found: list[weakref.ref[Task]] = []
        generation = [id(task)]
        for _ in range(_LONGEST):
            children = [child for parent in generation for child in by_parent.get(parent, ())]
            found += children
            generation = [id(child) for reference in children if (child := reference()) is not None]
        return found

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> dict[int, list[weakref.ref[Task]]]:
        by_parent = self._known.get(id(loop))
        if by_parent is None:
            by_parent = self._known[id(loop)] = {}
            tasks = asyncio.all_tasks(loop)
            if len(tasks) <= MOST_TASKS:
                for task in tasks:
                    parent = parent_of(task, self._libraries)
                    if parent is not None:
                        by_parent.setdefault(id(parent), []).append(weakref.ref(task))
        return by_parent
