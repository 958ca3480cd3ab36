"""Facts while they happen: small mutable records that the application fills and the writer reads.

A record is handed to the writer once, when it is made. The application then only sets attributes;
the writer looks at unfinished records again until they are ``done``. So the last attribute that
is set must be the one that makes a record done, and an instant is never changed once set.
Operations are parts of a checkout's record: they are written with it.
"""

from __future__ import annotations

import weakref
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from poolhog.layout import (
    CheckoutRow,
    OperationsRow,
    SampleRow,
    pack_list,
    pack_operation,
    row_maker,
)
from poolhog.model import OperationKind, Outcome
from poolhog.recording.lengths import LONGEST_NAME, NAME, SHORT_STATEMENT, shortened
from poolhog.recording.record import Record, ids, since
from poolhog.recording.refusals import refusal_of
from poolhog.recording.requests import RequestRecord

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from poolhog.model import Activity, Cause, SharingKind
    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.record import Row, Texts
    from poolhog.recording.sites import SiteRecord

    Seen = Activity | SharingKind

OPERATIONS_PER_ROW = 100
"""Operations in the row of a checkout; of more, the earlier ones go into rows of their own."""

MOST_IN_ROW = 2 * OPERATIONS_PER_ROW
"""Operations of a checkout that are written anew while it goes on."""

REQUEST_BYTES = 1_300
CHECKOUT_BYTES = 1_500
OPERATION_BYTES = 200
SAMPLE_BYTES = 300
STAGE_BYTES = 200
"""What a record takes in memory until it is written, with what belongs to it alone: a request with
six stages, a checkout with ``FIRST_ROOM`` operations, an operation with a short statement."""

FIRST_ROOM = 5
"""Operations that a checkout has room for from the start."""

_ROWS_LEARNT = 5
"""Rows of earlier operations whose statements are looked up together."""

_checkout_row = row_maker(CheckoutRow)
_operations_row = row_maker(OperationsRow)
_sample_row = row_maker(SampleRow)


class CheckoutRecord(Record):
    """A connection asked for, and then lent, or not.

    ``task`` is the task that asked, or that waits for the thread that did; ``in_thread`` tells
    these two apart. ``parent`` waits for it, if a library started it. ``thread_id`` is the
    operating system's number of the thread that asked.
    """

    __slots__ = (
        *("asked_ns", "backend", "busy_us", "connecting_us", "connection", "earlier", "gave_up_ns"),
        *("granted_ns", "handled", "in_thread", "in_transaction", "looks", "operation"),
        *("operations", "outcome", "owner", "parent", "parting", "pinging_us", "pool", "request"),
        *("returned_ns", "room", "sample", "shared", "site", "task", "thread", "thread_id", "user"),
    )
    table = "packed_checkouts"

    def __init__(
        self, pool: PoolRecord, request: RequestRecord | None, owner: str, site: SiteRecord | None
    ) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        self.pool = pool
        self.request = request
        self.owner = owner[NAME]
        self.site = site
        self.connection: int | None = None
        self.operation: OperationRecord | None = None
        self.operations: list[OperationRecord] = []
        # Operations that it may have at once, which are paid for; -1 if it was dropped itself.
        self.room = FIRST_ROOM
        # Rows of earlier operations: those that were committed, and those that are being written.
        self.earlier = 0
        self.parting = 0
        # Not of the row: whether a transaction is open; None if none was ever seen to begin.
        self.in_transaction: bool | None = None
        # The id of the exception that was being handled when it was asked: it explains no rollback.
        self.handled = 0
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        self.parent: weakref.ref[asyncio.Task[Any]] | None = None
        self.in_thread = False
        self.thread = 0
        self.thread_id = 0
        self.backend: int | None = None  # the server's number of the connection's process
        # Not of the row: who asked for the last operation, and where others did meanwhile.
        self.user = 0
        self.shared: tuple[int, ...] = ()
        # The sampler's: what it saw last, and how many operations had begun then.
        self.sample: SampleRecord | None = None
        self.looks: Any = None
        self.outcome = Outcome.WAITING
        self.connecting_us = 0
        self.pinging_us = 0
        self.busy_us = 0
        self.granted_ns: int | None = None
        self.gave_up_ns: int | None = None
        self.returned_ns: int | None = None
        self.asked_ns = monotonic_ns()

    def grant(self, connection: int) -> None:
        """The pool lent a connection."""
        self.connection = connection
        self.outcome = Outcome.OPEN
        self.granted_ns = monotonic_ns()

    def give_up(self, outcome: Outcome) -> None:
        """The wait ended without a connection; if there was one, it is gone."""
        if self.granted_ns is not None:
            self.end(outcome)
        elif not self.done:
            self.outcome = outcome
            self.gave_up_ns = monotonic_ns()

    def end(self, outcome: Outcome = Outcome.RETURNED) -> None:
        """The pool has the connection back, or never will."""
        if not self.done:
            self.outcome = outcome
            self.returned_ns = monotonic_ns()

    def begin_anew(self, request: RequestRecord | None, site: SiteRecord | None) -> None:
        """A forked child uses a connection that its parent process lent: from now on."""
        self.written = None
        self.checksum = 0
        self.request = request
        self.site = site
        self.operations = []
        self.earlier = self.parting = 0
        self.room = FIRST_ROOM
        self.sample = None
        self.connecting_us = self.pinging_us = self.busy_us = 0
        self.asked_ns = self.granted_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.returned_ns is not None or self.gave_up_ns is not None

    @property
    def owner_id(self) -> tuple[int, int]:
        """What is the same for all checkouts of one owner, and of no other that is alive."""
        # A task has one weak reference, which its checkouts keep; a dead one may not be hashed.
        return (id(self.task), 0) if self.task is not None else (0, self.thread)

    def earlier_rows(self, texts: Texts) -> list[Row]:
        """Rows of the oldest operations if there are many; once committed, ``forget`` them.

        The newest stay in the checkout's own row. Operations follow one another, so the oldest
        are over.
        """
        self.parting = max(len(self.operations) // OPERATIONS_PER_ROW - 1, 0)
        rows = []
        for number in range(self.parting):
            first = number * OPERATIONS_PER_ROW
            if number % _ROWS_LEARNT == 0:
                last = first + _ROWS_LEARNT * OPERATIONS_PER_ROW
                texts.learn(statements_of(self.operations[first:last]))
            some = self.operations[first : first + OPERATIONS_PER_ROW]
            packed = pack_list([o.packed(self.asked_ns // 1000, texts) for o in some]) or "[]"
            made = _operations_row(
                checkout_id=self.id, number=self.earlier + number, operations=packed
            )
            rows.append(made)
        return rows

    def forget(self) -> None:
        """The ``earlier_rows`` were committed."""
        written = self.parting * OPERATIONS_PER_ROW
        del self.operations[:written]
        self.room -= written
        self.earlier += self.parting
        self.parting = 0

    def row(self, texts: Texts) -> Row:
        asked_us = self.asked_ns // 1000
        # What comes last is asked first: a row never says that something came back unlent.
        returned = since(asked_us, self.returned_ns)
        gave_up = since(asked_us, self.gave_up_ns)
        granted = since(asked_us, self.granted_ns)
        # Those that are not in rows of their own. What comes while these are made waits for the
        # next time: otherwise a busy checkout would have ever longer rows, and take ever longer.
        first = self.parting * OPERATIONS_PER_ROW
        operations = self.operations[first : first + MOST_IN_ROW]
        return _checkout_row(
            id=self.id,
            pool_id=self.pool.id,
            request_id=self.request.id if self.request is not None else None,
            owner=shortened(self.owner, LONGEST_NAME),
            connection=self.connection,
            site_id=self.site.id if self.site is not None else None,
            outcome=texts.numbers[self.outcome._value_],
            asked=asked_us - texts.began_ns // 1000,
            granted=granted,
            gave_up=gave_up,
            returned=returned,
            connecting=self.connecting_us or None,
            pinging=self.pinging_us or None,
            busy=self.busy_us or None,
            operations=pack_list([operation.packed(asked_us, texts) for operation in operations]),
        )


class OperationRecord:
    """Something that the driver is doing for a checkout."""

    __slots__ = (
        *("cause", "checkout", "ended_ns", "error", "kind", "site", "started_ns"),
        "statement",
    )

    def __init__(
        self,
        checkout: CheckoutRecord,
        kind: OperationKind,
        statement: str | None,
        site: SiteRecord | None,
        cause: Cause | None = None,
    ) -> None:
        self.checkout = checkout
        self.kind = kind
        self.statement = statement
        self.site = site
        self.cause = cause
        self.error: str | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The operation is over; a second end changes nothing."""
        if self.ended_ns is not None:
            return
        if error is not None:
            self.error = type(error).__name__[NAME]
            if self.kind is OperationKind.CONNECT:
                self.error += refusal_of(error)
        self.ended_ns = ended = monotonic_ns()
        checkout = self.checkout
        if checkout.operation is self:
            checkout.operation = None
        spent_us = ended // 1000 - self.started_ns // 1000
        if checkout.granted_ns is not None:
            checkout.busy_us += spent_us
        elif self.kind is OperationKind.CONNECT:
            checkout.connecting_us += spent_us
        elif self.kind is OperationKind.PING:
            checkout.pinging_us += spent_us

    def packed(self, asked_us: int, texts: Texts) -> str:
        """The operation as the row of its checkout has it, without what is missing at its end."""
        numbers = texts.numbers
        started_us, ended_ns = self.started_ns // 1000, self.ended_ns
        site, statement, error, cause = self.site, self.statement, self.error, self.cause
        sent: int | None = None
        if statement is not None:
            sent = texts.statements[self.checkout.pool.dialect][statement]
        return pack_operation(
            numbers[self.kind._value_],
            started_us - asked_us,
            None if ended_ns is None else ended_ns // 1000 - started_us,
            None if site is None else site.id,
            sent,
            None if error is None else numbers[shortened(error, LONGEST_NAME)],
            None if cause is None else numbers[cause._value_],
        )


class SampleRecord(Record):
    """What the owner of a checkout was seen doing, as long as it stays the same."""

    __slots__ = ("activity", "checkout", "ended_ns", "seen_ns", "site", "started_ns")
    table = "packed_samples"

    def __init__(
        self, checkout: CheckoutRecord, activity: Seen, site: SiteRecord | None, now_ns: int
    ) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        self.checkout = checkout
        self.activity = activity
        self.site = site
        self.started_ns = now_ns
        # Not of the row: when it was last seen so.
        self.seen_ns = now_ns
        self.ended_ns: int | None = None

    def end(self) -> None:
        """It was not so any more at the look after the last."""
        self.ended_ns = self.seen_ns

    @property
    def done(self) -> bool:
        return self.ended_ns is not None

    def row(self, texts: Texts) -> Row:
        return _sample_row(
            id=self.id,
            checkout_id=self.checkout.id,
            activity=texts.numbers[self.activity._value_],
            site_id=self.site.id if self.site is not None else None,
            started=self.started_ns // 1000 - texts.began_ns // 1000,
            ended=since(self.started_ns // 1000, self.ended_ns),
        )


def statements_of(operations: Iterable[OperationRecord]) -> list[tuple[str | None, str]]:
    """The statements that operations sent, each with its dialect."""
    return [
        (operation.checkout.pool.dialect, operation.statement)
        for operation in operations
        if operation.statement is not None
    ]


def id_of(task: asyncio.Task[Any]) -> tuple[int, int]:
    """The ``owner_id`` of the checkouts of a task."""
    return id(weakref.ref(task)), 0


def bytes_of(records: Iterable[Record]) -> int:
    """What records take in memory, about; a statement that several operations share counts once."""
    total = 0
    statements: dict[int, int] = {}
    for record in records:
        if isinstance(record, CheckoutRecord):
            operations = tuple(record.operations)
            total += CHECKOUT_BYTES + max(len(operations) - FIRST_ROOM, 0) * OPERATION_BYTES
            for operation in operations:
                statement = operation.statement
                if statement is not None and len(statement) > SHORT_STATEMENT:
                    statements[id(statement)] = statement.__sizeof__()
        elif isinstance(record, RequestRecord):
            total += REQUEST_BYTES + record.path.__sizeof__() + len(record.stages) * STAGE_BYTES
        else:
            total += SAMPLE_BYTES
    return total + sum(statements.values())
