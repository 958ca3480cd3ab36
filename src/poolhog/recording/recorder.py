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
from poolhog.recording.explanation import Explainer
from poolhog.recording.options import Options
from poolhog.recording.records import (
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

MOST_BUFFERED = 50_000
"""Records that wait for the writer at the most, and as many that it could not write yet; more are
dropped, and counted. With their operations, they take some 1.5 kB each."""

MOST_OPERATIONS = 100_000
"""Operations of a checkout that wait for the writer at the most; more are dropped, and counted."""

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
        most_buffered: int = MOST_BUFFERED,
        *,
        options: Options | None = None,
    ) -> None:
        # An application may change its working directory before there is a first fact.
        self.directory = directory.absolute()
        self.most_buffered = most_buffered
        self.options = options or Options()
        self.pools: list[PoolRecord] = []
        self._reset()
        self._stopped = False
        # The hook cannot be taken back: it must not keep a stopped recorder alive.
        os.register_at_fork(after_in_child=functools.partial(_forked, weakref.ref(self)))

    def _reset(self) -> None:
        self.queue: deque[Record] = deque()
        self.sites = Sites(self.options, self._learn_site)
        self.learned: list[SiteRecord] = []
        self.open: dict[int, CheckoutRecord] = {}
        # Whole microseconds: instants are written as microseconds from here.
        self.began_ns = monotonic_ns() // 1000 * 1000
        self.began_wall_ns = time_ns()
        self.dropped = 0
        self.dropped_checkouts = 0
        self.errors = 0
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
        """Announce a pool; it is written when a fact is, and first in every file."""
        self.pools.append(record)
        self.queue.append(record)
        return record

    def request(self, record: RequestRecord) -> RequestRecord:
        """Record a request from now on; before there is a pool, once it asks for a connection."""
        if self.pools:
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
        self._put(record)
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

        ``None`` if it is inside another, of which it is a part, or if the checkout is over: what
        was detached from its pool goes on.
        """
        if checkout.operation is not None or checkout.returned_ns is not None:
            return None
        if len(checkout.operations) >= MOST_OPERATIONS:
            self.dropped += 1
            return None
        sited = cause is _ASKED or kind in _SITED
        site = self.sites.here(sys._getframe(1)) if sited else None
        record = OperationRecord(checkout, kind, statement, site)
        record.cause = cause
        checkout.operation = record
        checkout.operations.append(record)
        return record

    def sample(self, record: SampleRecord) -> None:
        """Record what the owner of a checkout is doing from now on."""
        self._put(record)

    def failed(self) -> None:
        """Count an exception inside poolhog, and tell the first."""
        self.errors += 1
        if self.errors == 1:
            # An application's handler of what is logged may raise.
            with contextlib.suppress(Exception):
                logger.warning("poolhog failed to record a fact and goes on", exc_info=True)

    def settle(self) -> None:
        """Write what is left and say that nothing is missing; recording goes on if facts come."""
        if self._writer is not None:
            self._writer.settle()

    def stop(self) -> None:
        """Write what is left and close the file; nothing is recorded afterwards."""
        self._stopped = True
        with self._starting:
            if self._sampler is not None:
                self._sampler.stop()
            if self._writer is not None:
                self._writer.stop()

    def _put_request(self, record: RequestRecord) -> None:
        record.queued = True
        self._put(record)

    def _put(self, record: Record) -> None:
        if self._stopped:
            return
        if len(self.queue) >= self.most_buffered:
            self.dropped += 1
            self.dropped_checkouts += isinstance(record, CheckoutRecord)
            return
        self.queue.append(record)
        if self._writer is None:
            self._start()

    def _learn_site(self, record: SiteRecord) -> None:
        # Never dropped: there is a limit to them, and what is dropped once would be missing.
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
        writer = Writer(self)
        writer.start()
        self._writer = writer
        if self.options.sampling_interval_s > 0:
            sampler = Sampler(self, self.options.sampling_interval_s)
            sampler.start()
            self._sampler = sampler


class _Thread(threading.local):
    """What each thread finds out about itself once: its Python and native ids."""

    def __init__(self) -> None:
        self.ids = threading.get_ident(), threading.get_native_id()


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
