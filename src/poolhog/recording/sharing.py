"""One connection in two tasks or threads: where the other one wanted it, while it was in use."""

from __future__ import annotations

import asyncio
from threading import get_ident
from time import monotonic_ns
from typing import TYPE_CHECKING

from poolhog.model import Outcome, SharingKind
from poolhog.recording.families import parent_of
from poolhog.recording.records import SAMPLE_BYTES, SampleRecord
from poolhog.recording.threads import current_task

if TYPE_CHECKING:
    from types import FrameType

    from poolhog.recording.families import Parents, Task
    from poolhog.recording.journal import Journal
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.requests import RequestRecord
    from poolhog.recording.sites import SiteRecord

MOST_NOTED = 5
"""Places that are noted of one checkout."""

_MOST_ANCESTORS = 10

_running_loop = asyncio._get_running_loop
_task_of = asyncio.current_task


def current_user() -> int:
    """A number for the running task, or else thread, that no other has while it is alive."""
    loop = _running_loop()
    task = _task_of(loop) if loop is not None else None
    return id(task) if task is not None else get_ident()


class Sharings:
    """Notes who wants a connection that another task or thread is using."""

    def __init__(self, journal: Journal, parents: Parents) -> None:
        self._journal = journal
        self._parents = parents

    def note(self, checkout: CheckoutRecord, frame: FrameType | None) -> None:
        """The running task or thread asks for something, while another's operation is in flight.

        A task that a library started within that operation is a part of it.
        """
        if len(checkout.shared) >= MOST_NOTED:
            return
        task = current_task()
        site = self._journal.sites.here(frame)
        if site is None and task is not None:
            if checkout.user in map(id, self._ancestors(task)):
                return
            parent = self._parents.of(task)
            site = parent.site if parent is not None else None
        if site is None or site.id in checkout.shared:
            return
        checkout.shared = (*checkout.shared, site.id)
        gathered = self._gathered(checkout, task) if task is not None else None
        now_ns = monotonic_ns()
        for kind, at in ((SharingKind.SHARED, site), (SharingKind.GATHERED, gathered)):
            if at is not None:
                record = SampleRecord(checkout, kind, at, now_ns)
                record.end()
                self._journal.put(record, SAMPLE_BYTES)

    def note_asking(self, request: RequestRecord | None, frame: FrameType | None) -> None:
        """The running task asks a session for something that waits for a connection in another.

        Which checkout that is, is not known: it is the latest of the request, or of a task with
        the same parent.
        """
        task, user = current_task(), current_user()
        parent = parent_of(task, self._journal.libraries) if task is not None else None
        for checkout in reversed(self._journal.open.copy().values()):
            other = checkout.task() if checkout.task is not None else None
            is_asking = (
                checkout.outcome is Outcome.WAITING
                or checkout.operation is not None
                or not checkout.user
            )
            if other is None or other is task or not is_asking or checkout.request is not request:
                continue
            related = parent_of(other, self._journal.libraries)
            if request is not None or (related is not None and related in (parent, task)):
                checkout.user = id(other)
                if checkout.user != user:
                    self.note(checkout, frame)
                return

    def _ancestors(self, task: Task) -> list[Task]:
        found: list[Task] = []
        parent = parent_of(task, self._journal.libraries)
        while parent is not None and len(found) < _MOST_ANCESTORS:
            found.append(parent)
            parent = parent_of(parent, self._journal.libraries)
        return found

    def _gathered(self, checkout: CheckoutRecord, task: Task) -> SiteRecord | None:
        """Where the task waits that started both."""
        libraries = self._journal.libraries
        parent = parent_of(task, libraries)
        users = (t for t in asyncio.all_tasks(task.get_loop()) if id(t) == checkout.user)
        user = next(users, None)
        if parent is None or user is None or parent_of(user, libraries) is not parent:
            return None
        known = self._parents.of(task)
        return known.site if known is not None else None
