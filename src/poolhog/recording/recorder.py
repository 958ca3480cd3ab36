"""The recorder: makes records, and hands each to the writer once."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING

from poolhog.model import Cause, OperationKind, Outcome
from poolhog.recording.descriptors import TooFewDescriptorsError
from poolhog.recording.explanation import Explainer
from poolhog.recording.families import Parents
from poolhog.recording.journal import Journal
from poolhog.recording.lengths import SHORT_STATEMENT, STATEMENT
from poolhog.recording.libraries import Libraries
from poolhog.recording.lock_watch import LockWatch
from poolhog.recording.options import Options
from poolhog.recording.owner_names import OwnerNames
from poolhog.recording.records import (
    CHECKOUT_BYTES,
    OPERATION_BYTES,
    REQUEST_BYTES,
    CheckoutRecord,
    OperationRecord,
)
from poolhog.recording.sampler import Sampler
from poolhog.recording.sharing import Sharings, current_user
from poolhog.recording.threads import ThreadIds, carrier, current_task
from poolhog.recording.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path
    from types import FrameType

    from poolhog.recording.families import Parent
    from poolhog.recording.lock_watch import LockServer
    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.requests import RequestRecord

current_request: ContextVar[RequestRecord | None] = ContextVar("poolhog_request", default=None)
"""The request that this task or thread works for."""

asking: ContextVar[CheckoutRecord | None] = ContextVar("poolhog_asking", default=None)
"""The checkout that this task or thread waits for, so that its connect and ping find it."""

MOST_WAITING = 64_000_000
"""Bytes of facts that wait for the writer at the most, with those that are not over yet; more are
dropped, and counted. They are estimated: see ``records.REQUEST_BYTES``."""

MOST_SHARED = 1_000
"""Long statements that are known, so that one that is sent again takes no room."""

MOST_DATABASES = 10_000
"""Databases that are told apart: tests may make one each."""

_INHERITED = -2
"""The room of a checkout that a parent process recorded: the first operation adopts it."""

_ROOM = 32
"""Operations that a checkout gets room for at once."""

_SITED = (OperationKind.STATEMENT, OperationKind.FETCH, OperationKind.COMMIT)
"""Operations whose site is taken: those that the application asks for in so many words."""

_WORK = (OperationKind.STATEMENT, OperationKind.FETCH)
"""Operations that no end of a session or connection asks for, which may be in another task."""

_ASKED = Cause.ASKED

_inherited: list[threading.Thread] = []


class Recorder:
    """Collects facts of this process and writes them into ``directory``.

    The file is created when there is a pool and a fact about it, by a thread that starts then.
    After a fork, the child records into a file of its own.
    """

    def __init__(
        self,
        directory: Path,
        most_waiting: int = MOST_WAITING,
        *,
        options: Options | None = None,
        libraries: Libraries | None = None,
        locks: LockServer | None = None,
    ) -> None:
        self._locks = locks
        self.journal = Journal(
            # An application may change its working directory before there is a first fact.
            directory.absolute(),
            options or Options(),
            libraries or Libraries(),
            most_waiting,
            self._start,
        )
        self.failed = self.journal.failed
        self._put = self.journal.put
        self._has_pool = False
        self._pools: weakref.WeakSet[PoolRecord] = weakref.WeakSet()
        self._databases: dict[Hashable, int] = {}
        self._reset()
        # The hook cannot be taken back: it must not keep a stopped recorder alive.
        os.register_at_fork(after_in_child=functools.partial(_forked, weakref.ref(self)))

    def _reset(self) -> None:
        self.sites = self.journal.sites
        self._open = self.journal.open
        self._statements: dict[str, str] = {}
        self._thread = ThreadIds()
        self._names = OwnerNames()
        self._starting = threading.Lock()
        self._writer: Writer | None = None
        # It is there before its thread: what is lent until that runs is looked at as well.
        interval_s = self.journal.options.sampling_interval_s
        self._sampler = Sampler(self.journal, interval_s) if interval_s > 0 else None
        self._lock_watch: LockWatch | None = None
        self._explainer = Explainer(self.journal)
        self._parents = Parents(self.sites, self.libraries)
        self._sharings = Sharings(self.journal, self._parents)

    @property
    def directory(self) -> Path:
        """Where the trace goes."""
        return self.journal.directory

    @property
    def libraries(self) -> Libraries:
        """What is known of libraries: the probes ask it whose code calls them."""
        return self.journal.libraries

    def start_anew(self) -> None:
        """Forget what the parent process recorded: a forked child calls this first."""
        # SQLite forbids a child to close a connection that it inherited: keep it for ever.
        threads = self._writer, self._sampler, self._lock_watch
        _inherited.extend(thread for thread in threads if thread is not None)
        if self._writer is not None:
            self._writer.disown()
        for checkout in tuple(self._open.values()):
            checkout.room = _INHERITED
        self.journal.begin()
        self._reset()
        for pool in tuple(self._pools):
            pool.inherit()
            pool.made_at = self.sites.again(pool.made_at)

    def pool(self, record: PoolRecord) -> PoolRecord:
        """Announce a pool; it is written before the first checkout that names it."""
        self._has_pool = True
        # The site may be one that the parent process learned.
        record.made_at = self.sites.again(record.made_at)
        self._pools.add(record)
        return record

    def database(self, key: Hashable) -> int:
        """The number of a database, by what identifies it: only the number is written."""
        if len(self._databases) >= MOST_DATABASES:
            return self._databases.get(key, 0)
        return self._databases.setdefault(key, len(self._databases) + 1)

    def request(self, record: RequestRecord) -> RequestRecord:
        """Record a request from now on; before there is a pool, once it asks for a connection."""
        if self._has_pool:
            self._put_request(record)
        return record

    def ask(self, pool: PoolRecord) -> CheckoutRecord:
        """Record that the running task or thread asks the pool for a connection."""
        request = current_request.get()
        if request is not None and not request.queued:
            self._put_request(request)
        task = current_task()
        in_thread = task is None
        if task is not None:
            owner = self._names.of_task(task)
        else:
            task = carrier.get()
            owner = self._names.of_thread(task)
        record = CheckoutRecord(pool, request, owner, self.sites.here(sys._getframe(1)))
        record.in_thread = in_thread
        if not in_thread and not pool.is_async and self._sampler is not None:
            # If it has to wait, its event loop does.
            self._sampler.watch_wait(record)
        if task is not None:
            record.task = weakref.ref(task)
        if record.site is None and (parent := self._parent(request)) is not None:
            record.site, record.parent = parent.site, parent.task
        record.thread, record.thread_id = self._thread.ids
        handled = sys.exception()
        if handled is not None:
            record.handled = id(handled)
        self._open[record.id] = record
        if not self._put(record, CHECKOUT_BYTES):
            record.room = -1
            self.journal.dropped_checkouts += not self.journal.closed
        return record

    def grant(self, checkout: CheckoutRecord, connection: int, lent: object = None) -> None:
        """Record that the pool lent a connection, the one of this number.

        ``lent`` is the driver's, or what has it as its ``driver_connection``.
        """
        checkout.grant(connection)
        if self._locks is not None:
            checkout.backend = self._locks.pid_of(lent)
        if self._sampler is not None:
            self._sampler.watch(checkout)

    def give_up(self, checkout: CheckoutRecord, outcome: Outcome, error: BaseException) -> None:
        """Record that the wait ended without a connection; a timeout explains itself."""
        if outcome is Outcome.TIMEOUT:
            try:
                self._explainer.explain(error, checkout)
            except Exception:  # the application gets its exception all the same
                self.failed()
        if outcome is Outcome.ERROR and not any(o.error for o in checkout.operations):
            self._fail(checkout, error)
        checkout.give_up(outcome)
        self._open.pop(checkout.id, None)

    def fail_to_connect(self, pool: PoolRecord, error: BaseException) -> None:
        """Record that a pool could not open a connection, which it did by itself.

        It belongs to whoever has waited the longest for that pool. If nobody waits (a pool opens
        its first connections), it is as if the pool had asked, where it was made.
        """
        waiting = (c for c in tuple(self._open.values()) if c.pool is pool)
        checkout = next((c for c in waiting if c.outcome is Outcome.WAITING), None)
        if checkout is not None:
            self._fail(checkout, error)
            return
        checkout = self.ask(pool)
        # While an exception is thrown into a coroutine, Python leaves out frames.
        checkout.site = pool.made_at or checkout.site
        self.give_up(checkout, Outcome.ERROR, error)

    def _fail(self, checkout: CheckoutRecord, error: BaseException) -> None:
        operation = self.operate(checkout, OperationKind.CONNECT)
        if operation is not None:
            operation.end(error)

    def end(self, checkout: CheckoutRecord, outcome: Outcome = Outcome.RETURNED) -> None:
        """Record that the pool has the connection back, or never will."""
        if checkout.operation is not None:
            checkout.operation.end()
        checkout.end(outcome)
        self._open.pop(checkout.id, None)

    def operate(
        self,
        checkout: CheckoutRecord,
        kind: OperationKind,
        statement: str | None = None,
        cause: Cause | None = None,
    ) -> OperationRecord | None:
        """Record an operation from now on; ``cause`` says why a rollback or reset is.

        ``None`` if it is inside another, of which it is a part, if the checkout is over (what was
        detached from its pool goes on), or if there is no room for it.
        """
        user = current_user()
        if checkout.operation is not None or checkout.returned_ns is not None:
            if user != checkout.user and kind in _WORK and checkout.operation is not None:
                self._share(checkout, sys._getframe(1))
            return None
        if len(checkout.operations) >= checkout.room and not self._extend(checkout):
            return None
        if statement is not None and len(statement) > SHORT_STATEMENT:
            statement = self._shared(statement)
            if statement is None:
                return None
        sited = cause is _ASKED or kind in _SITED
        site = self.sites.here(sys._getframe(1)) if sited else None
        if site is None and sited and (parent := self._parent(checkout.request)) is not None:
            site = parent.site
        record = OperationRecord(checkout, kind, statement, site, cause)
        checkout.user = user
        checkout.operation = record
        checkout.operations.append(record)
        return record

    def share(self) -> None:
        """Record that the running task wants a session which another one gets a connection for."""
        try:
            self._sharings.note_asking(current_request.get(), sys._getframe(1))
        except Exception:  # the application must go on
            self.failed()

    def _share(self, checkout: CheckoutRecord, frame: FrameType) -> None:
        try:
            self._sharings.note(checkout, frame)
        except Exception:  # the application must go on
            self.failed()

    def _parent(self, request: RequestRecord | None) -> Parent | None:
        """Who waits for the running task, which is in no code of the application's."""
        try:
            return self._parents.of(current_task(), request.task if request is not None else None)
        except Exception:  # the application must go on
            self.failed()
            return None

    def settle(self) -> None:
        """Write what is left and say that nothing is missing; recording goes on if facts come."""
        if self._writer is not None:
            self._writer.settle()

    def stop(self) -> None:
        """Write what is left and close the file; nothing is recorded afterwards."""
        self.journal.close()
        with self._starting:
            # Once more: whoever was starting the writer may have opened it.
            self.journal.close()
            if self._sampler is not None:
                self._sampler.stop()
            if self._lock_watch is not None:
                self._lock_watch.stop()
            if self._writer is not None:
                self._writer.stop()

    def _put_request(self, record: RequestRecord) -> None:
        record.queued = True
        self._put(record, REQUEST_BYTES + record.path.__sizeof__())

    def _extend(self, checkout: CheckoutRecord) -> bool:
        """Give a checkout room for more operations, if there is any."""
        if checkout.room == _INHERITED:
            self._adopt(checkout)
            return checkout.room > 0
        if checkout.room < 0 or not self.journal.take(_ROOM * OPERATION_BYTES):
            return False
        checkout.room += _ROOM
        return True

    def _adopt(self, checkout: CheckoutRecord) -> None:
        """Record a checkout of the parent process that goes on in this one, a forked child."""
        checkout.begin_anew(current_request.get(), self.sites.here(sys._getframe(2)))
        checkout.thread, checkout.thread_id = self._thread.ids
        self._open[checkout.id] = checkout
        if not self._put(checkout, CHECKOUT_BYTES):
            checkout.room = -1
            self.journal.dropped_checkouts += not self.journal.closed
        if self._sampler is not None:
            self._sampler.watch(checkout)

    def _shared(self, statement: str) -> str | None:
        """What is kept of a long statement, in one object for all that send it."""
        kept = statement[STATEMENT]
        known = self._statements.get(kept)
        if known is not None:
            return known
        if not self.journal.take(kept.__sizeof__()):
            return None
        if len(self._statements) >= MOST_SHARED:
            self._statements.clear()
        self._statements[kept] = kept
        return kept

    def _start(self) -> None:
        # Who comes second does not wait: it may be a signal handler, in the midst of the first.
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._writer is None and not self.journal.closed:
                self._start_threads()
        except RuntimeError:  # there are too many threads: the next fact tries again
            self.failed()
        finally:
            self._starting.release()

    def _start_threads(self) -> None:
        try:
            self.journal.descriptors.take()
        except TooFewDescriptorsError as error:
            self.journal.refuse(str(error))
            self._sampler = None
            return
        writer = Writer(self.journal)
        writer.start()
        self._writer = writer
        self.journal.begin_writing()
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.start()
            self._sampler, writer.before_end = sampler, sampler.settle
        if self._locks is not None:
            watch = LockWatch(self.journal, self._locks)
            watch.start()
            self._lock_watch = watch


def _forked(reference: weakref.ref[Recorder]) -> None:
    recorder = reference()
    if recorder is not None:
        recorder.start_anew()
