"""The recorder: makes records, and hands each to the writer once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
import threading
import weakref
from collections import deque
from contextvars import ContextVar
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from poolhog.model import Cause, OperationKind, Outcome
from poolhog.recording.descriptors import Descriptors, TooFewDescriptorsError
from poolhog.recording.explanation import Explainer
from poolhog.recording.lengths import SHORT_STATEMENT, STATEMENT
from poolhog.recording.options import Options
from poolhog.recording.records import (
    CHECKOUT_BYTES,
    OPERATION_BYTES,
    REQUEST_BYTES,
    SAMPLE_BYTES,
    CheckoutRecord,
    OperationRecord,
    PoolRecord,
    Record,
    RequestRecord,
    SampleRecord,
    SiteRecord,
)
from poolhog.recording.sampler import Sampler
from poolhog.recording.sites import Sites
from poolhog.recording.writer import Writer
from poolhog.texts import visible

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

logger = logging.getLogger("poolhog")

current_request: ContextVar[RequestRecord | None] = ContextVar("poolhog_request", default=None)
"""The request that this task or thread works for."""

asking: ContextVar[CheckoutRecord | None] = ContextVar("poolhog_asking", default=None)
"""The checkout that this task or thread waits for, so that its connect and ping find it."""

carrier: ContextVar[asyncio.Task[Any] | None] = ContextVar("poolhog_carrier", default=None)
"""The task that waits for the thread that runs this."""

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
    ) -> None:
        # An application may change its working directory before there is a first fact.
        self.directory = directory.absolute()
        self.most_waiting = most_waiting
        self.options = options or Options()
        self._has_pool = False
        self._reset()
        self._stopped = False
        # The hook cannot be taken back: it must not keep a stopped recorder alive.
        os.register_at_fork(after_in_child=functools.partial(_forked, weakref.ref(self)))

    def _reset(self) -> None:
        self.queue: deque[Record] = deque()
        # What the facts took that were ever recorded, up to where that may go before the writer
        # says how much of it is on disk. Only differences count, so a sum that another thread
        # overtakes does no harm. A limit of 0 has the first fact start the writer.
        self._taken = 0
        self._limit = 0
        self._statements: dict[str, str] = {}
        self.sites = Sites(self.options, self._learn_site, self.lose_site)
        self.learned: list[SiteRecord] = []
        self.open: dict[int, CheckoutRecord] = {}
        # Whole microseconds: instants are written as microseconds from here.
        self.began_ns = monotonic_ns() // 1000 * 1000
        self.began_wall_ns = time_ns()
        self.dropped = 0
        self.dropped_checkouts = 0
        self.errors = 0
        self.descriptors = Descriptors()
        self._thread = _Thread()
        self._starting = threading.Lock()
        self._writer: Writer | None = None
        self._sampler: Sampler | None = None
        self._explainer = Explainer(self)

    def start_anew(self) -> None:
        """Forget what the parent process recorded: a forked child calls this first."""
        # SQLite forbids a child to close a connection that it inherited: keep it for ever.
        _inherited.extend(t for t in (self._writer, self._sampler) if t is not None)
        if self._writer is not None:
            self._writer.disown()
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
        if task is not None:
            record.task = weakref.ref(task)
        record.thread, record.thread_id = self._thread.ids
        handled = sys.exception()
        if handled is not None:
            record.handled = id(handled)
        self.open[record.id] = record
        if not self._put(record, CHECKOUT_BYTES):
            record.room = -1
            self.dropped_checkouts += not self._stopped
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
        self.open.pop(checkout.id, None)

    def end(self, checkout: CheckoutRecord, outcome: Outcome = Outcome.RETURNED) -> None:
        """Record that the pool has the connection back, or never will."""
        if checkout.operation is not None:
            checkout.operation.end()
        checkout.end(outcome)
        self.open.pop(checkout.id, None)

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

    def sample(self, record: SampleRecord) -> None:
        """Record what the owner of a checkout is doing from now on."""
        self._put(record, SAMPLE_BYTES)

    @property
    def taken(self) -> int:
        """Bytes that all facts up to now took, written or not: see ``free``."""
        return self._taken

    def free(self, taken: int, kept: int) -> None:
        """All is on disk that was ``taken`` at an earlier moment, and ``kept`` is unfinished."""
        self._limit = 0 if self._stopped else taken + self.most_waiting - kept

    def lose_site(self) -> None:
        """Count a fact that has no site because there are too many of them."""
        self.dropped += 1

    def failed(self) -> None:
        """Count an exception inside poolhog, and tell the first."""
        self.errors += 1
        if self.errors == 1:
            # An application's handler of what is logged may raise.
            with contextlib.suppress(Exception):
                error = _loggable(sys.exception())
                logger.warning("poolhog failed to record a fact and goes on", exc_info=error)

    def settle(self) -> None:
        """Write what is left and say that nothing is missing; recording goes on if facts come."""
        if self._writer is not None:
            self._writer.settle()

    def stop(self) -> None:
        """Write what is left and close the file; nothing is recorded afterwards."""
        self._stopped = True
        with self._starting:
            self._limit = 0
            if self._sampler is not None:
                self._sampler.stop()
            if self._writer is not None:
                self._writer.stop()

    def _put_request(self, record: RequestRecord) -> None:
        record.queued = True
        self._put(record, REQUEST_BYTES + record.path.__sizeof__())

    def _put(self, record: Record, size: int) -> bool:
        """Hand a record to the writer, if there is room for it."""
        self._taken = taken = self._taken + size
        if taken > self._limit and not self._has_room():
            return False
        self.queue.append(record)
        return True

    def _has_room(self) -> bool:
        """Whether what is past the limit is recorded all the same: there was no fact before it."""
        if self._writer is None:
            self._start()
        if self._stopped:
            return False
        # Without a thread, facts wait for one that starts.
        if self._taken <= (self._limit or self.most_waiting):
            return True
        self.dropped += 1
        return False

    def _extend(self, checkout: CheckoutRecord) -> bool:
        """Give a checkout room for more operations, if there is any."""
        if checkout.room < 0:
            return False
        self._taken += _ROOM * OPERATION_BYTES
        if self._taken > self._limit and not self._has_room():
            return False
        checkout.room += _ROOM
        return True

    def _shared(self, statement: str) -> str | None:
        """What is kept of a long statement, in one object for all that send it."""
        kept = statement[STATEMENT]
        known = self._statements.get(kept)
        if known is not None:
            return known
        self._taken += kept.__sizeof__()
        if self._taken > self._limit and not self._has_room():
            return None
        if len(self._statements) >= MOST_SHARED:
            self._statements.clear()
        self._statements[kept] = kept
        return kept

    def _learn_site(self, record: SiteRecord) -> None:
        # Never dropped: there is a limit to them, and what is dropped once would be missing.
        if not self._stopped:
            self.learned.append(record)
            self.queue.append(record)

    def _start(self) -> None:
        # Who comes second does not wait: it may be a signal handler, in the midst of the first.
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._writer is None and not self._stopped:
                self._start_threads()
        except RuntimeError:  # there are too many threads: the next fact tries again
            self.failed()
        finally:
            self._starting.release()

    def _start_threads(self) -> None:
        try:
            self.descriptors.take()
        except TooFewDescriptorsError as error:
            self._refuse(str(error))
            return
        writer = Writer(self)
        writer.start()
        self._writer = writer
        self._limit = self.most_waiting
        if self.options.sampling_interval_s > 0:
            sampler = Sampler(self, self.options.sampling_interval_s)
            sampler.start()
            self._sampler = sampler

    def _refuse(self, reason: str) -> None:
        """Record nothing, and say why."""
        self._stopped = True
        self.queue.clear()
        # An application's handler of what is logged may raise.
        with contextlib.suppress(Exception):
            logger.warning(reason)


class _Thread(threading.local):
    """What each thread finds out about itself once: its Python and native ids."""

    def __init__(self) -> None:
        self.ids = threading.get_ident(), threading.get_native_id()


def _loggable(error: BaseException | None) -> BaseException | None:
    """The exception, or one in its place if a text in it could forge lines of the log."""
    every, link = [], error
    while link is not None and link not in every:
        every.append(link)
        link = link.__cause__ or link.__context__
    if error is None or all(visible(str(one)) == str(one) for one in every):
        return error
    told = RuntimeError(f"{type(error).__name__}: {visible(str(error))}")
    return told.with_traceback(error.__traceback__)


def current_task() -> asyncio.Task[Any] | None:
    """The running asyncio task, or ``None`` in a thread without one."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _forked(reference: weakref.ref[Recorder]) -> None:
    recorder = reference()
    if recorder is not None:
        recorder.start_anew()
