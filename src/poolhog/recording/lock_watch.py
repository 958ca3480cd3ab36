"""The lock watch: a thread with a connection of its own, which asks the server who blocks whom.

It asks only while a recorded statement is in flight, and compares the numbers of the server's
processes with those of the connections that are lent.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from poolhog.layout import LockWaitRow, row_maker
from poolhog.recording.record import Record, ids, since
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.recording.journal import Journal
    from poolhog.recording.record import Row, Texts
    from poolhog.recording.records import CheckoutRecord, OperationRecord

logger = logging.getLogger("poolhog")

INTERVAL_S = 0.05
"""The time between two questions to the server, while a statement lasts for longer."""

MOST_SHARE = 0.1
"""The part of the time that the questions take: a slow server is asked less often."""

LONGEST_INTERVAL_S = 0.25
"""However slow it is, it is asked this often."""

WAITS_BEFORE_RETRY_S = 5.0
"""How long to wait before a connection that was lost is opened again."""

LOCK_WAIT_BYTES = 300
"""What a record takes in memory until it is written."""

ON = "on"

_MOST_STATEMENTS = 1_000
_LEAST_NS = round(INTERVAL_S / 2 * 1e9)
"""A statement in flight for less is not asked about."""

_MOST_WORK_NS = round(INTERVAL_S * 1e9)

_row = row_maker(LockWaitRow)


class Blocked(NamedTuple):
    """A process of the server's that waits for a lock, and one that it waits for.

    ``waited_s`` is for how long, ``None`` if the server does not know. ``session`` describes the
    other process.
    """

    pid: int
    blocker: int
    waited_s: float | None
    session: str


class LockSession(Protocol):
    """A connection to the server that nobody else uses."""

    def blocked(self) -> Sequence[Blocked]:
        """Who waits for whom now; of those that one waits for, the first is the most important."""

    def close(self) -> None:
        """Close the connection."""


class LockServer(Protocol):
    """A server that can be asked. No text of it says a password."""

    def open(self) -> LockSession:
        """Connect. Raises whatever the driver raises."""

    def pid_of(self, connection: object) -> int | None:
        """The number of the server's process that a driver's connection talks to."""

    def described(self, error: BaseException) -> str:
        """What went wrong, in one line."""


class LockWaitRecord(Record):
    """A checkout whose statement waits for a lock, as long as the same one holds it."""

    __slots__ = ("blocker", "checkout", "ended_ns", "operation", "seen_ns", "session", "started_ns")
    table = "packed_lock_waits"

    def __init__(
        self,
        checkout: CheckoutRecord,
        operation: OperationRecord,
        blocker: CheckoutRecord | None,
        session: str | None,
        started_ns: int,
    ) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        self.checkout = checkout
        # Not of the row: the statement that waits, and when it was last seen to.
        self.operation = operation
        self.seen_ns = started_ns
        self.blocker = blocker
        self.session = session
        self.started_ns = started_ns
        self.ended_ns: int | None = None

    def end(self, interval_ns: int) -> None:
        """It does not wait any more: until its statement ended, if that was not long after."""
        ended_ns = self.operation.ended_ns
        if ended_ns is None or ended_ns > self.seen_ns + 3 * interval_ns:
            ended_ns = self.seen_ns + interval_ns // 2
        self.ended_ns = max(min(ended_ns, time.monotonic_ns()), self.started_ns)

    @property
    def done(self) -> bool:
        """Whether it does not wait any more."""
        return self.ended_ns is not None

    def row(self, texts: Texts) -> Row:
        """The columns of its table."""
        return _row(
            id=self.id,
            checkout_id=self.checkout.id,
            blocker_id=self.blocker.id if self.blocker is not None else None,
            session=texts.numbers[self.session] if self.session is not None else None,
            started=self.started_ns // 1000 - texts.began_ns // 1000,
            ended=since(self.started_ns // 1000, self.ended_ns),
        )


class LockWatch(threading.Thread):
    """Asks a server until it is stopped."""

    def __init__(self, journal: Journal, server: LockServer) -> None:
        super().__init__(name="poolhog-lock-watch", daemon=True)
        self._journal = journal
        self._server = server
        self._stopping = threading.Event()
        self._session: LockSession | None = None
        self._waits: dict[int, LockWaitRecord] = {}
        self._pause_s = INTERVAL_S
        self._has_told = False
        self._asked_ns = 0
        # By statement, how long one worked before it waited: the least that was seen.
        self._work_ns: dict[str | None, int] = {}

    def stop(self) -> None:
        """Ask no more, and wait until the last question is answered (a second at the most)."""
        self._stopping.set()
        self.join(timeout=1)

    def run(self) -> None:
        """Ask while a statement lasts; connect again if the connection is lost."""
        while not self._stopping.is_set() and not self._journal.closed:
            try:
                self._watch()
            except Exception as error:  # the run goes on
                self._tell(error)
            self._end({})
            self._close()
            self._stopping.wait(WAITS_BEFORE_RETRY_S)

    def _watch(self) -> None:
        self._session = self._server.open()
        self._session.blocked()
        self._journal.lock_watch = ON
        while not self._stopping.wait(self._pause_s):
            in_flight = self._in_flight()
            began = time.monotonic()
            # Nobody who has just begun can be told of: what is shorter is not seen anyway.
            asked_ns = time.monotonic_ns()
            if in_flight:
                self._note(self._session.blocked())
            else:
                self._end({})
                asked_ns -= _LEAST_NS
            self._asked_ns = asked_ns
            pause_s = (time.monotonic() - began) / MOST_SHARE
            self._pause_s = min(max(INTERVAL_S, pause_s), LONGEST_INTERVAL_S)

    def _in_flight(self) -> bool:
        least_ns = time.monotonic_ns() - _LEAST_NS
        for checkout in self._journal.open.copy().values():
            operation = checkout.operation
            if operation is not None and operation.started_ns < least_ns:
                return True
        return False

    def _note(self, blocked: Sequence[Blocked]) -> None:
        now_ns = time.monotonic_ns()
        known = {c.backend: c for c in self._journal.open.copy().values() if c.backend is not None}
        first: dict[int, Blocked] = {}
        for one in blocked:
            first.setdefault(one.pid, one)
        found: dict[int, LockWaitRecord] = {}
        for pid, one in first.items():
            checkout = known.get(pid)
            operation = checkout.operation if checkout is not None else None
            if checkout is None or operation is None or checkout.room < 0:
                continue
            last = _last(one, first)
            record = self._record(checkout, operation, one, last, known.get(last.blocker), now_ns)
            record.seen_ns = now_ns
            found[checkout.id] = record
        self._end(found)

    def _record(
        self,
        checkout: CheckoutRecord,
        operation: OperationRecord,
        blocked: Blocked,
        last: Blocked,
        blocker: CheckoutRecord | None,
        now_ns: int,
    ) -> LockWaitRecord:
        """What is noted of a checkout that waits: still the same, or something new."""
        session = None if blocker is not None else visible(last.session)
        old = self._waits.get(checkout.id)
        is_same_wait = old is not None and old.operation is operation
        if old is not None and is_same_wait and (old.blocker, old.session) == (blocker, session):
            return old
        if old is not None and is_same_wait:
            started_ns = old.seen_ns
            old.ended_ns = started_ns
        else:
            started_ns = self._started_ns(operation, blocked.waited_s, now_ns)
        record = LockWaitRecord(checkout, operation, blocker, session, started_ns)
        self._journal.put(record, LOCK_WAIT_BYTES)
        return record

    def _started_ns(self, operation: OperationRecord, waited_s: float | None, now_ns: int) -> int:
        """When a statement began to wait that did not, or was not in flight, at the last look.

        One that waits for several others in turn begins to wait anew each time.
        """
        since_ns = now_ns if waited_s is None else now_ns - round(waited_s * 1e9)
        if self._asked_ns > operation.started_ns:
            return max(since_ns, self._asked_ns)
        known_ns = self._work_ns.get(operation.statement, _MOST_WORK_NS)
        work_ns = min(max(since_ns - operation.started_ns, 0), known_ns)
        if len(self._work_ns) < _MOST_STATEMENTS:
            self._work_ns[operation.statement] = work_ns
        return operation.started_ns + work_ns

    @property
    def _interval_ns(self) -> int:
        return round(self._pause_s * 1e9)

    def _end(self, found: Mapping[int, LockWaitRecord]) -> None:
        """End what is not found any more."""
        for key, record in self._waits.items():
            if found.get(key) is not record and not record.done:
                record.end(self._interval_ns)
        self._waits = dict(found)

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()

    def _tell(self, error: Exception) -> None:
        reason = visible(self._server.described(error))
        self._journal.lock_watch = reason
        if not self._has_told:
            self._has_told = True
            # An application's handler of what is logged may raise.
            with contextlib.suppress(Exception):
                logger.warning("poolhog cannot watch locks and goes on without: %s", reason)


def _last(one: Blocked, first: Mapping[int, Blocked]) -> Blocked:
    """The wait at the end of a chain: its blocker waits for nobody, or it is a deadlock."""
    seen = {one.pid}
    while one.blocker in first and one.blocker not in seen:
        seen.add(one.blocker)
        one = first[one.blocker]
    return one
