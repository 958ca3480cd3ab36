"""What the owner of a checkout is doing in a gap, seen from outside.

It is parked (suspended on something that is not the database, or blocked in a call), running, or
ready (it could run, and waits for the event loop or the interpreter). If the library that it called
waits for the database in an operation that no probe sees, such as the cancelling of a statement, it
is busy. An owner that awaits other tasks does what these do.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.model import Activity, Outcome
from poolhog.recording.awaiting import (
    await_chain,
    is_in_database,
    iterated,
    talks_to_client,
    waits_for_group,
    waits_for_lock,
    waits_for_own_event,
)
from poolhog.recording.families import Children
from poolhog.recording.processor import Processors
from poolhog.recording.records import id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.recording.awaiting import Chain, Places
    from poolhog.recording.journal import Journal
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

    Task = asyncio.Task[Any]
    Seen = tuple[Activity, SiteRecord | None]

MOST_REMEMBERED = 10_000

MOST_TASKS = 50
"""Tasks that are looked at behind one owner; if it awaits more, it is parked."""

DEEPEST = 5
"""Tasks behind tasks that are looked at."""

_URGENCY = (Activity.READY, Activity.RUNNING, Activity.BUSY, Activity.PARKED)
"""Who awaits several tasks goes on when the last one is done: the later of these counts."""


class _Suspended(NamedTuple):
    """Where a task is suspended, as long as it awaits the same future."""

    # Weak: a future keeps its result, which the application may have let go of long ago.
    waiter: Callable[[], Any]
    site: SiteRecord | None
    is_in_database: bool
    behind: tuple[weakref.ref[Task], ...]
    helpers: tuple[weakref.ref[Task], ...]


class _Sender(NamedTuple):
    """A task that works for one which waits in a library, and where its application was last."""

    task: weakref.ref[Task]
    site: SiteRecord | None


class _Ran(NamedTuple):
    """What a loop did in a round of looks, and whether it did that in the round before."""

    round: int
    task: Callable[[], Any]
    is_same: bool


class Owners:
    """Says what the owner of a checkout is doing; also asked when a pool times out."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._processors = Processors()
        self._suspended: dict[int, _Suspended] = {}
        self._loop_threads: dict[int, tuple[int, int]] = {}
        self._ran: dict[int, _Ran] = {}
        self._senders: dict[int, _Sender] = {}
        self._children = Children(journal.libraries)
        self._engaged: set[tuple[int, int]] | None = None
        self._round = 0

    def begin(self) -> None:
        """A round of looks: processor times are read once in it."""
        self._round += 1
        self._engaged = None
        self._processors.begin()
        self._children.forget()
        for known in (self._suspended, self._loop_threads, self._ran, self._senders):
            if len(known) > MOST_REMEMBERED:
                known.clear()

    def look(self, checkout: CheckoutRecord) -> Seen:
        """What the owner is doing now, and where."""
        if checkout.task is None:
            return self._thread(checkout, checkout.thread, checkout.thread_id, [])
        task = _owner(checkout)
        if task is None:
            return Activity.PARKED, None
        if not checkout.in_thread and checkout.task() is task:
            self._loop_threads[id(task.get_loop())] = checkout.thread, checkout.thread_id
        return self._task(checkout, task, 0)

    def _task(self, checkout: CheckoutRecord, task: Task, depth: int) -> Seen:
        """What a task does: the owner, or one that the owner awaits."""
        if asyncio.current_task(task.get_loop()) is task:
            thread = self._loop_thread(task)
            return self._thread(checkout, *thread, []) if thread else (Activity.RUNNING, None)
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return Activity.READY, self._instead(task)
        known = self._suspended.get(id(task))
        if known is None or known.waiter() is not waiter:
            chain = await_chain(task, self._journal.libraries)
            worker = chain.worker
            if worker is not None and worker.ident is not None:
                if worker.is_done:
                    # The loop has not told the task yet.
                    return Activity.READY, self._instead(task)
                # It goes on in a thread, which does one thing after the other.
                return self._thread(checkout, worker.ident, worker.native_id, chain.places)
            known = self._learn(checkout, task, waiter, chain, depth)
        if known.helpers and (seen := self._helping(checkout, task, known, depth)) is not None:
            return seen
        if known.behind:
            return self._behind(checkout, task, known, depth)
        if known.is_in_database and not self._is_engaged(checkout, task):
            return Activity.BUSY, known.site
        return Activity.PARKED, known.site

    def _learn(
        self, checkout: CheckoutRecord, task: Task, waiter: Any, chain: Chain, depth: int
    ) -> _Suspended:
        """Remember where a task is suspended."""
        libraries, sites = self._journal.libraries, self._journal.sites
        is_followed = depth < DEEPEST and len(chain.tasks) <= MOST_TASKS
        reference: Callable[[], Any]
        try:
            reference = weakref.ref(waiter)
        except TypeError:  # a future of a kind that cannot be remembered so
            reference = _nothing
        places = chain.places
        helpers: Sequence[weakref.ref[Task]] = ()
        if self._is_for_library(checkout, places):
            # What a library sends for the application may be made in a task of its own, while
            # this one waits for the client to leave, or for that task.
            places = iterated(task, sites.is_application) or places
            if depth == 0:
                awaited = [weakref.ref(other) for other in chain.tasks]
                helpers = (awaited or self._children.of(task))[:MOST_TASKS]
        known = _Suspended(
            reference,
            sites.chain(places),
            is_in_database(chain.places, libraries)
            and (not waits_for_lock(chain.places) or waits_for_own_event(task)),
            tuple(map(weakref.ref, chain.tasks)) if is_followed else (),
            tuple(helpers),
        )
        # Who queues for a thread awaits the same future when it gets one, and a group of tasks may
        # get others meanwhile.
        if chain.worker is None and not waits_for_group(chain.places, libraries):
            self._suspended[id(task)] = known
        return known

    def _is_for_library(self, checkout: CheckoutRecord, places: Places) -> bool:
        """Whether no code of the application's waits, or only code that passes a response on."""
        if not self._journal.sites.within_application(places):
            return True
        request = checkout.request
        if request is None or request.kind != "http" or request.responding_ns is None:
            return False
        return talks_to_client(places)

    def _helping(
        self, checkout: CheckoutRecord, task: Task, known: _Suspended, depth: int
    ) -> Seen | None:
        """What a task does that works for one which waits in a library, and is in the application.

        ``None``: there is none.
        """
        last = self._senders.get(id(task))
        helpers = (last.task,) if last is not None and last.task in known.helpers else known.helpers
        for reference in helpers:
            other = reference()
            if other is None or other.done():
                continue
            activity, site = seen = self._task(checkout, other, depth + 1)
            if activity is not Activity.READY and self._is_own(site):
                self._senders[id(task)] = _Sender(reference, site)
                return seen
            if last is not None and reference is last.task:
                # It is sending the last that was yielded, or could run.
                return seen if activity is Activity.READY else (activity, last.site)
        return None

    def _is_own(self, site: SiteRecord | None) -> bool:
        """Whether a stack has a frame of the application's."""
        while site is not None:
            if self._journal.sites.is_application(site.code):
                return True
            site = site.caller
        return False

    def _behind(self, checkout: CheckoutRecord, task: Task, known: _Suspended, depth: int) -> Seen:
        """What a task does that awaits others."""
        found: Seen | None = None
        for reference in known.behind:
            other = reference()
            if other is None or other.done():
                continue
            seen = self._task(checkout, other, depth + 1)
            if found is None or _URGENCY.index(seen[0]) > _URGENCY.index(found[0]):
                found = seen
            if seen[0] is Activity.PARKED:
                break
        if found is None:
            # The last one is done, which the loop has not told yet.
            return Activity.READY, self._instead(task)
        return found if found[0] in (Activity.READY, Activity.RUNNING) else (found[0], known.site)

    def _thread(self, checkout: CheckoutRecord, thread: int, thread_id: int, outer: Places) -> Seen:
        """What a thread does, and where; ``outer`` is the stack of the task that waits for it."""
        places = self._journal.sites.places(thread)
        if not places:
            return Activity.PARKED, None
        libraries = self._journal.libraries
        activity = self._processors.activity(thread_id, places[0])
        if activity is Activity.READY:
            # The interpreter or the processor is somebody else's: it cannot be told whose.
            return activity, None
        in_database = activity is Activity.PARKED and is_in_database(places, libraries)
        if in_database and not self._is_engaged(checkout):
            waits = waits_for_lock(places) or self._processors.waits_for_lock(thread_id)
            activity = Activity.PARKED if waits else Activity.BUSY
        moving = activity is Activity.RUNNING
        return activity, self._journal.sites.chain([*places, *outer], moving=moving)

    def _is_engaged(self, checkout: CheckoutRecord, task: Task | None = None) -> bool:
        """Whether the database is waited for because of another checkout of the owner's.

        The ``task`` is one that the owner awaits, or the owner.
        """
        if self._engaged is None:
            unfinished = self._journal.open.copy().values()
            self._engaged = {c.owner_id for c in unfinished if _is_engaging(c)}
        engaged = self._engaged
        return checkout.owner_id in engaged or (task is not None and id_of(task) in engaged)

    def _instead(self, task: Task) -> SiteRecord | None:
        """What occupies the event loop of a task that could run."""
        thread = self._loop_thread(task)
        if thread is None or not self._is_blocked(task.get_loop()):
            return None
        return self._journal.sites.chain(self._journal.sites.places(thread[0]), moving=True)

    def _is_blocked(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether one task keeps the loop, as far as the last round of looks tells.

        If it was another then, the loop has many things to do, and none is to blame.
        """
        running = asyncio.current_task(loop)
        last = self._ran.get(id(loop))
        if last is None or last.round != self._round:
            is_same = last is None or last.round != self._round - 1 or last.task() is running
            task = weakref.ref(running) if running is not None else _nothing
            last = self._ran[id(loop)] = _Ran(self._round, task, is_same)
        return last.is_same

    def _loop_thread(self, task: Task) -> tuple[int, int] | None:
        """The Python and native ids of the thread that the task's loop runs in.

        uvloop does not tell: it is known once a connection was asked for in that thread.
        """
        loop = task.get_loop()
        known = self._loop_threads.get(id(loop))
        if known is None:
            ident = getattr(loop, "_thread_id", None)
            native_ids = {thread.ident: thread.native_id for thread in threading.enumerate()}
            native_id = native_ids.get(ident)
            if ident is not None and native_id is not None:
                known = self._loop_threads[id(loop)] = ident, native_id
        return known


def _owner(checkout: CheckoutRecord) -> Task | None:
    """The task that asked, or else its parent, if a library started it for that; neither is over.

    In a request, the task that answers it goes on with what others asked for.
    """
    request = checkout.request
    answering = request.task if request is not None and request.ended_ns is None else None
    for reference in (checkout.task, checkout.parent, answering):
        task = reference() if reference is not None else None
        if task is not None and not task.done():
            return task
    return None


def _nothing() -> None:
    """What has gone."""


def _is_engaging(checkout: CheckoutRecord) -> bool:
    return checkout.outcome is Outcome.WAITING or checkout.operation is not None
