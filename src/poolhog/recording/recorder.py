"""The recorder: makes records, and hands each to the writer once."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import weakref
from collections import deque
from contextvars import ContextVar
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from poolhog.recording.records import (
    CheckoutRecord,
    OperationRecord,
    PoolRecord,
    Record,
    RequestRecord,
    StageRecord,
)
from poolhog.recording.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.model import OperationKind

logger = logging.getLogger("poolhog")

current_request: ContextVar[RequestRecord | None] = ContextVar("poolhog_request", default=None)
"""The request that this task or thread works for."""

asking: ContextVar[CheckoutRecord | None] = ContextVar("poolhog_asking", default=None)
"""The checkout that this task or thread waits for, so that its connect and ping find it."""

MOST_BUFFERED = 200_000
"""Records that wait for the writer at the most; more are dropped, and counted."""

_inherited: list[Writer] = []


class Recorder:
    """Collects facts of this process and writes them into ``directory``.

    The file is created when the first fact arrives, by a thread that starts then. After a fork,
    the child records into a file of its own.
    """

    def __init__(self, directory: Path, most_buffered: int = MOST_BUFFERED) -> None:
        # An application may change its working directory before there is a first fact.
        self.directory = directory.absolute()
        self.most_buffered = most_buffered
        self.pools: list[PoolRecord] = []
        self._starting = threading.Lock()
        self._reset()
        # The hook cannot be taken back: it must not keep a stopped recorder alive.
        os.register_at_fork(after_in_child=functools.partial(_forked, weakref.ref(self)))

    def _reset(self) -> None:
        self.queue: deque[Record] = deque()
        self.began_ns = monotonic_ns()
        self.began_wall_ns = time_ns()
        self.dropped = 0
        self.errors = 0
        self._writer: Writer | None = None
        self._stopped = False

    def start_anew(self) -> None:
        """Forget what the parent process recorded: a forked child calls this first."""
        if self._writer is not None:
            # SQLite forbids a child to close a connection that it inherited: keep it for ever.
            _inherited.append(self._writer)
        stopped = self._stopped
        self._starting = threading.Lock()
        self._reset()
        self._stopped = stopped

    def pool(self, record: PoolRecord) -> PoolRecord:
        """Announce a pool; it is written when a fact is, and first in every file."""
        self.pools.append(record)
        self.queue.append(record)
        return record

    def request(self, record: RequestRecord) -> RequestRecord:
        """Record a request from now on."""
        self._put(record)
        return record

    def stage(self, request: RequestRecord, name: str) -> StageRecord:
        """Record a part of a request's life from now on."""
        record = StageRecord(request, name)
        self._put(record)
        return record

    def ask(self, pool: PoolRecord) -> CheckoutRecord:
        """Record that the running task or thread asks the pool for a connection."""
        record = CheckoutRecord(pool, current_request.get(), owner())
        self._put(record)
        return record

    def operate(
        self, checkout: CheckoutRecord, kind: OperationKind, statement: str | None = None
    ) -> OperationRecord | None:
        """Record an operation from now on; one inside another is part of it, and ``None``."""
        if checkout.operation is not None:
            return None
        record = OperationRecord(checkout, kind, statement)
        checkout.operation = record
        self._put(record)
        return record

    def failed(self) -> None:
        """Count an exception inside poolhog, and tell the first."""
        self.errors += 1
        if self.errors == 1:
            logger.warning("poolhog failed to record a fact and goes on", exc_info=True)

    def settle(self) -> None:
        """Write what is left and say that nothing is missing; recording goes on if facts come."""
        if self._writer is not None:
            self._writer.settle()

    def stop(self) -> None:
        """Write what is left and close the file; nothing is recorded afterwards."""
        self._stopped = True
        with self._starting:
            if self._writer is not None:
                self._writer.stop()

    def _put(self, record: Record) -> None:
        if self._stopped:
            return
        if len(self.queue) >= self.most_buffered:
            self.dropped += 1
            return
        self.queue.append(record)
        if self._writer is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._writer is None and not self._stopped:
                writer = Writer(self)
                writer.start()
                self._writer = writer


def owner() -> str:
    """The name of the running asyncio task, or of the thread where there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task.get_name() if task is not None else threading.current_thread().name


def _forked(reference: weakref.ref[Recorder]) -> None:
    recorder = reference()
    if recorder is not None:
        recorder.start_anew()
