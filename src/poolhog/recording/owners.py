"""What the owner of a checkout is doing in a gap, seen from outside.

It is parked (suspended on something that is not the database, or blocked in a call), running, or
ready (it could run, and waits for the event loop or the interpreter). If the library that it called
waits for the database in an operation that no probe sees, such as the cancelling of a statement, it
is busy. An owner that awaits other tasks does what these do.
"""

from __future__ import annotations

import asyncio
import time
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
from poolhog.recording.loops import Loops, Round, due_ns
from poolhog.recording.processor import Processors
from poolhog.recording.records import id_of
from poolhog.recording.sites import Rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.recording.awaiting import Chain, Places
    from poolhog.recording.journal import Journal
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord
    from poolhog.recording.threads import Worker

    Task = asyncio.Task[Any]

MOST_REMEMBERED = 10_000

MOST_TASKS = 50
"""Tasks that are looked at behind one owner; if it awaits more, it is parked."""

DEEPEST = 5
"""Tasks behind tasks that are looked at."""

_URGENCY = (
    *(Activity.READY, Activity.RUNNING, Activity.BLOCKING, Activity.BUSY, Activity.COMPUTING),
    *(Activity.QUEUED, Activity.PARKED, Activity.IDLE),
)
"""Who awaits several tasks goes on when the last one is done: the later of these counts."""

_GOES_ON = (Activity.READY, Activity.RUNNING, Activity.BLOCKING)


class Seen(NamedTuple):
    """What an owner does, and where.

    ``since_ns`` is since when, if that is known, and ``call_ns`` since when the code at the site
    has had the event loop, as far as looks tell. A ``doubt`` is about one that waits: something has
    waited for its event loop since then, which the code at this site keeps. It may be what the
    owner waits for. ``worker`` is the thread that the owner awaits.
    """

    activity: Activity
    site: SiteRecord | None
    since_ns: int | None = None
    call_ns: int | None = None
    doubt: tuple[int, SiteRecord | None] | None = None
    worker: Worker | None = None


class _Suspended(NamedTuple):
    """Where a task is suspended, as long as it awaits the same future."""

    # Weak: a future keeps its result, which the application may have let go of long ago.
    waiter: Callable[[], Any]
    parked: Seen
    is_in_database: bool
    behind: tuple[weakref.ref[Task], ...]
    helpers: tuple[weakref.ref[Task], ...]
    due_ns: int | None


class _Sender(NamedTuple):
    """A task that works for one which waits in a library, and where its application was last."""

    task: weakref.ref[Task]
    site: SiteRecord | None


class Owners:
    """Says what the owner of a checkout is doing; also asked when a pool times out."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._processors = Processors()
        self._suspended: dict[int, _Suspended] = {}
        self._senders: dict[int, _Sender] = {}
        self._children = Children(journal.libraries)
        self._loops = Loops(journal.sites)
        self._engaged: set[tuple[int, int]] | None = None
        # By the id of the loop, in this round.
        self._doubts: dict[int, tuple[int, SiteRecord | None] | None] = {}
        self._round = Round(0, 0)

    def begin(self, hole_ns: int | None = None) -> None:
        """A round of looks: processor times are read once in it.

        ``hole_ns`` is when it should have been, if somebody kept the interpreter until now.
        """
        self._engaged = None
        self._doubts.clear()
        self._processors.begin()
        number, now_ns = self._round.number + 1, time.monotonic_ns()
        self._round = Round(number, now_ns, hole_ns, self._processors.used_ns)
        self._loops.begin(self._round)
        self._children.forget()
        for known in (self._suspended, self._senders):
            if len(known) > MOST_REMEMBERED:
                known.clear()

    def look(self, checkout: CheckoutRecord) -> Seen:
        """What the owner is doing now, and where."""
        if checkout.task is None:
            return self._own_thread(checkout)
        task = _owner(checkout)
        if task is None:
            return Seen(Activity.PARKED, None)
        if not checkout.in_thread and checkout.task() is task:
            self._loops.learn(task, checkout.thread, checkout.thread_id)
        return self._task(checkout, task, 0)

    def _task(self, checkout: CheckoutRecord, task: Task, depth: int) -> Seen:
        """What a task does: the owner, or one that the owner awaits."""
        if asyncio.current_task(task.get_loop()) is task:
            return self._current(checkout, task)
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return self._instead(task)
        known = self._suspended.get(id(task))
        if known is None or known.waiter() is not waiter:
            chain = await_chain(task, self._journal.libraries)
            if chain.worker is not None:
                return self._worker(checkout, task, chain, chain.worker)
            known = self._learn(checkout, task, waiter, chain, depth)
        if known.helpers and (seen := self._helping(checkout, task, known, depth)) is not None:
            return seen
        if known.behind:
            return self._behind(checkout, task, known, depth)
        doubt = None
        if known.due_ns is not None:
            if self._round.now_ns >= known.due_ns:
                return self._instead(task, known.due_ns)
        else:
            key = id(task.get_loop())
            if key not in self._doubts:
                self._doubts[key] = self._loops.of(task).doubt
            doubt = self._doubts[key]
        if known.is_in_database and not self._is_engaged(checkout, task):
            return Seen(Activity.BUSY, known.parked.site, doubt=doubt)
        return known.parked if doubt is None else known.parked._replace(doubt=doubt)

    def _current(self, checkout: CheckoutRecord, task: Task) -> Seen:
        """What a task does that has the event loop: nobody else of it goes on meanwhile."""
        loop = self._loops.of(task)
        if loop.thread is None or (loop.is_kept and loop.is_delayed):
            return Seen(Activity.READY if loop.thread else Activity.RUNNING, None)
        seen = self._thread(checkout, *loop.thread, [])
        since_ns = loop.kept_ns if loop.is_kept else None
        if seen.activity is not Activity.PARKED:
            is_kept = loop.is_kept and seen.activity is not Activity.BUSY
            return Seen(Activity.BLOCKING, loop.site, since_ns, since_ns) if is_kept else seen
        # If it waits for another connection, that is what matters.
        places = self._journal.sites.places(loop.thread[0])
        if is_in_database(places, self._journal.libraries):
            return seen
        return Seen(Activity.BLOCKING, seen.site, since_ns, since_ns)

    def _worker(self, checkout: CheckoutRecord, task: Task, chain: Chain, worker: Worker) -> Seen:
        """What a task does that goes on in a thread, which does one thing after the other."""
        sites = self._journal.sites
        if worker.ident is None:
            return Seen(Activity.QUEUED, sites.chain(chain.places))
        if worker.ended_ns is not None:
            # The loop has not told the task yet.
            return self._instead(task, worker.ended_ns)
        seen = self._thread(checkout, worker.ident, worker.native_id, chain.places)
        computes = seen.activity in (Activity.READY, Activity.RUNNING)
        if not computes or _is_used_by(worker, checkout) or not self._is_called(chain.places):
            return seen
        # What it computes does not matter to who holds a connection meanwhile.
        return Seen(Activity.COMPUTING, sites.chain(chain.places), worker=worker)

    def _is_called(self, places: Places) -> bool:
        """Whether the application awaits the thread, not the framework that calls it in one."""
        for code, _ in places:
            rank = self._journal.sites.rank(code.co_filename)
            if rank in (Rank.APPLICATION, Rank.ROOT):
                return rank is Rank.APPLICATION
        return False

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
            Seen(Activity.PARKED, sites.chain(places)),
            is_in_database(chain.places, libraries)
            and (not waits_for_lock(chain.places) or waits_for_own_event(task)),
            tuple(map(weakref.ref, chain.tasks)) if is_followed else (),
            tuple(helpers),
            due_ns(task, chain.innermost),
        )
        # A group of tasks may get others meanwhile.
        if not waits_for_group(chain.places, libraries):
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
            seen = self._task(checkout, other, depth + 1)
            if seen.activity is not Activity.READY and self._is_own(seen.site):
                self._senders[id(task)] = _Sender(reference, seen.site)
                return seen
            if last is not None and reference is last.task:
                # It is sending the last that was yielded, or could run.
                return seen if seen.activity is Activity.READY else seen._replace(site=last.site)
        return None

    def _is_own(self, site: SiteRecord | None) -> bool:
        """Whether a stack has a frame of the application's."""
        return any(self._journal.sites.is_application(frame.code) for frame in _frames(site))

    def _behind(self, checkout: CheckoutRecord, task: Task, known: _Suspended, depth: int) -> Seen:
        """What a task does that awaits others."""
        found: Seen | None = None
        for reference in known.behind:
            other = reference()
            if other is None or other.done():
                continue
            seen = self._task(checkout, other, depth + 1)
            if found is None or _URGENCY.index(seen.activity) > _URGENCY.index(found.activity):
                found = seen
            if seen.activity is Activity.PARKED and seen.doubt is None:
                break
        if found is None:
            # The last one is done, which the loop has not told yet.
            return self._instead(task)
        return found if found.activity in _GOES_ON else found._replace(site=known.parked.site)

    def _own_thread(self, checkout: CheckoutRecord) -> Seen:
        """What the thread does that asked for the connection."""
        seen = self._thread(checkout, checkout.thread, checkout.thread_id, [])
        if seen.activity is Activity.PARKED and self._is_at_rest(checkout, seen.site):
            return Seen(Activity.IDLE, None)
        return seen

    def _is_at_rest(self, checkout: CheckoutRecord, site: SiteRecord | None) -> bool:
        """Whether a thread has come to the end of what asked for the connection, and waits."""
        asked = [frame.code for frame in _frames(checkout.site)]
        if site is None or not asked:
            return False
        rank = self._journal.sites.rank
        return not any(
            frame.code is asked[-1] or rank(frame.code.co_filename) is Rank.APPLICATION
            for frame in _frames(site)
        )

    def _thread(self, checkout: CheckoutRecord, thread: int, thread_id: int, outer: Places) -> Seen:
        """What a thread does, and where; ``outer`` is the stack of the task that waits for it."""
        places = self._journal.sites.places(thread)
        if not places:
            return Seen(Activity.PARKED, None)
        libraries = self._journal.libraries
        activity = self._processors.activity(thread_id, places[0])
        since_ns = None
        hole_ns = self._round.hole_ns
        if hole_ns is not None and activity in (Activity.READY, Activity.RUNNING):
            # Most of the time in which nobody could look is somebody's: its own, or another's.
            since_ns = hole_ns
            is_own = self._round.is_taken(self._processors.used_lately_ns(thread_id))
            activity = Activity.RUNNING if is_own else Activity.READY
        if activity is Activity.READY:
            # The interpreter or the processor is somebody else's: it cannot be told whose.
            return Seen(activity, None, since_ns)
        in_database = activity is Activity.PARKED and is_in_database(places, libraries)
        if in_database and not self._is_engaged(checkout):
            waits = waits_for_lock(places) or self._processors.waits_for_lock(thread_id)
            activity = Activity.PARKED if waits else Activity.BUSY
        moving = activity is Activity.RUNNING
        site = self._journal.sites.chain([*places, *outer], moving=moving)
        return Seen(activity, site, since_ns)

    def _is_engaged(self, checkout: CheckoutRecord, task: Task | None = None) -> bool:
        """Whether the database is waited for because of another checkout of the owner's.

        The ``task`` is one that the owner awaits, or the owner.
        """
        if self._engaged is None:
            unfinished = self._journal.open.copy().values()
            self._engaged = {c.owner_id for c in unfinished if _is_engaging(c)}
        engaged = self._engaged
        return checkout.owner_id in engaged or (task is not None and id_of(task) in engaged)

    def _instead(self, task: Task, since_ns: int | None = None) -> Seen:
        """What occupies the event loop of a task that could run, since then if that is known."""
        loop = self._loops.of(task)
        if since_ns is None and loop.has_hole:
            since_ns = loop.kept_ns
        return Seen(Activity.READY, loop.site, since_ns, loop.kept_ns if loop.is_kept else None)


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


def _is_used_by(worker: Worker, checkout: CheckoutRecord) -> bool:
    """Whether the connection was used in the thread since that began to work for the task."""
    operations = checkout.operations
    used_ns = operations[-1].started_ns if operations else checkout.asked_ns
    return used_ns >= worker.began_ns


def _frames(site: SiteRecord | None) -> Iterator[SiteRecord]:
    while site is not None:
        yield site
        site = site.caller


def _nothing() -> None:
    """What has gone."""


def _is_engaging(checkout: CheckoutRecord) -> bool:
    return checkout.outcome is Outcome.WAITING or checkout.operation is not None
