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
from poolhog.recording.journal import Journal
from poolhog.recording.lengths import SHORT_STATEMENT, STATEMENT
from poolhog.recording.libraries import Libraries
from poolhog.recording.options import Options
from poolhog.recording.records import (
    CHECKOUT_BYTES,
    OPERATION_BYTES,
    REQUEST_BYTES,
    CheckoutRecord,
    OperationRecord,
    PoolRecord,
)
from poolhog.recording.sampler import Sampler
from poolhog.recording.threads import carrier, current_task
from poolhog.recording.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

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

_ROOM = 32
"""Operations that a checkout gets room for at once."""

_SITED = (OperationKind.STATEMENT, OperationKind.FETCH, OperationKind.COMMIT)
"""Operations whose site is taken: those that the application asks for in so many words."""

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
    ) -> None:
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
        self._reset()
        # The hook cannot be taken back: it must not keep a stopped recorder alive.
        os.register_at_fork(after_in_child=functools.partial(_forked, weakref.ref(self)))

    def _reset(self) -> None:
        self.sites = self.journal.sites
        self._open = self.journal.open
        self._statements: dict[str, str] = {}
        self._thread = _ThreadIds()
        self._starting = threading.Lock()
        self._writer: Writer | None = None
        self._sampler: Sampler | None = None
        self._explainer = Explainer(self.journal)

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
        _inherited.extend(t for t in (self._writer, self._sampler) if t is not None)
        if self._writer is not None:
            self._writer.disown()
        self.journal.begin()
        self._reset()

    def pool(self, record: PoolRecord) -> PoolRecord:
        """Announce a pool; it is written before the first checkout that names it."""
        self._has_pool = True
        return record

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
        owner = task.get_name() if task is not None else threading.current_thread().name
        record = CheckoutRecord(pool, request, owner, self.sites.here(sys._getframe(1)))
        if task is None:
            record.in_thread = True
            task = carrier.get()
        elif not pool.is_async and self._sampler is not None:
            # If it has to wait, its event loop does.
            self._sampler.watch_wait(record)
        if task is not None:
            record.task = weakref.ref(task)
        record.thread, record.thread_id = self._thread.ids
        handled = sys.exception()
        if handled is not None:
            record.handled = id(handled)
        self._open[record.id] = record
        if not self._put(record, CHECKOUT_BYTES):
            record.room = -1
            self.journal.dropped_checkouts += not self.journal.closed
        return record

    def grant(self, checkout: CheckoutRecord, connection: int) -> None:
        """Record that the pool lent a connection, the one of this number."""
        checkout.grant(connection)
        if self._sampler is not None:
            self._sampler.watch(checkout)

    def give_up(self, checkout: CheckoutRecord, outcome: Outcome, error: BaseException) -> None:
        """Record that the wait ended without a connection; a timeout explains itself."""
        if outcome is Outcome.TIMEOUT:
            try:
                self._explainer.explain(error, checkout)
            except Exception:  # the application gets its exception all the same
                self.failed()
        checkout.give_up(outcome)
        self._open.pop(checkout.id, None)

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
        if checkout.operation is not None or checkout.returned_ns is not None:
            return None
        if len(checkout.operations) >= checkout.room and not self._extend(checkout):
            return None
        if statement is not None and len(statement) > SHORT_STATEMENT:
            statement = self._shared(statement)
            if statement is None:
                return None
        sited = cause is _ASKED or kind in _SITED
        site = self.sites.here(sys._getframe(1)) if sited else None
        record = OperationRecord(checkout, kind, statement, site, cause)
        checkout.operation = record
        checkout.operations.append(record)
        return record

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
            if self._writer is not None:
                self._writer.stop()

    def _put_request(self, record: RequestRecord) -> None:
        record.queued = True
        self._put(record, REQUEST_BYTES + record.path.__sizeof__())

    def _extend(self, checkout: CheckoutRecord) -> bool:
        """Give a checkout room for more operations, if there is any."""
        if checkout.room < 0 or not self.journal.take(_ROOM * OPERATION_BYTES):
            return False
        checkout.room += _ROOM
        return True

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
            return
        writer = Writer(self.journal)
        writer.start()
        self._writer = writer
        self.journal.begin_writing()
        interval_s = self.journal.options.sampling_interval_s
        if interval_s > 0:
            sampler = Sampler(self.journal, interval_s)
            sampler.start()
            self._sampler = sampler
            writer.before_end = sampler.settle


class _ThreadIds(threading.local):
    """What each thread finds out about itself once: its Python and native ids."""

    def __init__(self) -> None:
        self.ids = threading.get_ident(), threading.get_native_id()


def _forked(reference: weakref.ref[Recorder]) -> None:
    recorder = reference()
    if recorder is not None:
        recorder.start_anew()
