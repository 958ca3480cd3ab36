"""Facts while they happen: small mutable records that the application fills and the writer reads.

A record is handed to the writer once, when it is made. The application then only sets attributes;
the writer looks at unfinished records again until they are ``done``. So the last attribute that
is set must be the one that makes a record done, and an instant is never changed once set. Stages
and operations are parts of a request's and a checkout's record: they are written with it.
"""

from __future__ import annotations

import itertools
import linecache
import weakref
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from poolhog.layout import (
    CheckoutRow,
    OperationsRow,
    PoolRow,
    RequestRow,
    SampleRow,
    SiteRow,
    pack_list,
    pack_operation,
    pack_stage,
    row_maker,
)
from poolhog.model import OperationKind, Outcome
from poolhog.recording.lengths import (
    LONGEST_NAME,
    LONGEST_PATH,
    LONGEST_SOURCE,
    NAME,
    PATH,
    SHORT_STATEMENT,
    shortened,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping
    from types import CodeType

    from poolhog.model import Activity, Cause

# One sequence for all records of the process: an id is never used twice, whatever is reinstalled.
_ids = itertools.count(1)

OPERATIONS_PER_ROW = 100
"""Operations in the row of a checkout; of more, the earlier ones go into rows of their own."""

MOST_IN_ROW = 2 * OPERATIONS_PER_ROW
"""Operations of a checkout that are written anew while it goes on."""

MOST_STAGES = 100
"""Stages of a request that are kept, the first ones: a websocket may open sessions for days, and
while it lasts, all of its stages are looked at again and again."""

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

Row = tuple[Any, ...]

_pool_row = row_maker(PoolRow)
_site_row = row_maker(SiteRow)
_request_row = row_maker(RequestRow)
_checkout_row = row_maker(CheckoutRow)
_operations_row = row_maker(OperationsRow)
_sample_row = row_maker(SampleRow)


class Texts(Protocol):
    """Where a record learns the numbers of its texts, and from where instants are counted."""

    began_ns: int

    @property
    def numbers(self) -> Mapping[str, int]:
        """The row of every text, which is written when it is first looked up."""

    @property
    def statements(self) -> Mapping[str | None, Mapping[str, int]]:
        """The row of every statement, without its literals, by the dialect and the text."""

    def source_of(self, site: SiteRecord) -> str:
        """The text of a site's line, if it is wanted."""

    def learn(self, operations: Iterable[OperationRecord]) -> None:
        """Look up the statements of many operations at once."""


class Record:
    """What the writer needs of a fact: its table, its row, and whether it can still change.

    ``written`` is the row as it is in the file, and ``checksum`` that row's; ``None`` and 0 if it
    is not there.
    """

    __slots__ = ("checksum", "id", "written")
    table: ClassVar[str]
    id: int
    written: Row | None
    checksum: int

    @property
    def done(self) -> bool:
        """Whether the row is final."""
        raise NotImplementedError

    def row(self, texts: Texts) -> Row:
        """The columns of the table, in order."""
        raise NotImplementedError


class PoolRecord(Record):
    """A connection pool of this process.

    ``dialect`` is the name of SQLAlchemy's for what its statements are in; ``None`` if unknown.
    """

    __slots__ = (
        *("__weakref__", "connections", "dialect", "file", "kind", "library", "max_overflow"),
        *("name", "size"),
        "timeout_s",
    )
    table = "pools"

    def __init__(
        self,
        *,
        library: str,
        kind: str,
        name: str,
        size: int | None,
        max_overflow: int | None,
        timeout_s: float | None,
        dialect: str | None = None,
    ) -> None:
        self.id = next(_ids)
        self.written = None
        self.checksum = 0
        # Not of the row: the trace file that it was written into, with the first checkout that
        # names it. Nothing keeps a pool that is gone.
        self.file: object = None
        self.library = library
        self.kind = shortened(kind, LONGEST_NAME)
        self.name = shortened(name, LONGEST_NAME)
        # As whole numbers, which a trace has: an application may give others.
        self.size = None if size is None else int(size)
        self.max_overflow = None if max_overflow is None else int(max_overflow)
        self.timeout_s = None if timeout_s is None else float(timeout_s)
        # Not of the row: where literals are in a statement depends on it.
        self.dialect = dialect
        self.connections = itertools.count(1)

    @property
    def done(self) -> bool:
        return True

    def row(self, texts: Texts) -> Row:
        return _pool_row(
            id=self.id,
            library=self.library,
            kind=self.kind,
            name=self.name,
            size=self.size,
            max_overflow=self.max_overflow,
            timeout_s=self.timeout_s,
        )


class SiteRecord(Record):
    """A place in the code, called from another; its line is looked up when it is written."""

    __slots__ = ("caller", "code", "instruction", "is_application")
    table = "sites"

    def __init__(
        self, code: CodeType, instruction: int, caller: SiteRecord | None, *, is_application: bool
    ) -> None:
        self.id = next(_ids)
        self.written = None
        self.checksum = 0
        self.code = code
        self.instruction = instruction
        self.caller = caller
        self.is_application = is_application

    @property
    def done(self) -> bool:
        return True

    @property
    def line(self) -> int:
        """The number of the line that was being executed."""
        for first, last, line in self.code.co_lines():
            if line is not None and first <= self.instruction < last:
                return line
        return self.code.co_firstlineno

    @property
    def source(self) -> str:
        """The text of the line, as it is on disk when it is first asked for."""
        # What ``python -c`` runs is a part of the command line, which newer Pythons remember.
        if self.code.co_filename == "<string>":
            return ""
        line = linecache.getline(self.code.co_filename, self.line).strip()
        return shortened(line, LONGEST_SOURCE)

    def row(self, texts: Texts) -> Row:
        return _site_row(
            id=self.id,
            caller_id=self.caller.id if self.caller is not None else None,
            file=shortened(self.code.co_filename, LONGEST_PATH),
            line=self.line,
            function=shortened(self.code.co_qualname, LONGEST_PATH),
            source=texts.source_of(self),
            is_application=int(self.is_application),
        )


class RequestRecord(Record):
    """A request that an application is answering, or another unit of work."""

    __slots__ = (
        *("ended_ns", "error", "kind", "method", "mounted", "path", "queued", "responded_ns"),
        *("responding_ns", "route", "stages", "started_ns", "status"),
    )
    table = "packed_requests"

    def __init__(self, kind: str, method: str, path: str) -> None:
        self.id = next(_ids)
        self.written = None
        self.checksum = 0
        # Not of the row: whether the writer was told of it, and the mounts that its route is below.
        self.queued = False
        self.mounted = ""
        self.kind = kind
        self.method = method[NAME]
        self.path = path[PATH]
        self.route: str | None = None
        self.status: int | None = None
        self.error: str | None = None
        self.stages: list[StageRecord] = []
        self.responding_ns: int | None = None
        self.responded_ns: int | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The application returned, or let an exception out."""
        if error is not None:
            self.error = type(error).__name__[NAME]
        self.ended_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.ended_ns is not None

    def row(self, texts: Texts) -> Row:
        numbers = texts.numbers
        started_us = self.started_ns // 1000
        route, error = self.route, self.error
        return _request_row(
            id=self.id,
            kind=numbers[self.kind],
            method=numbers[shortened(self.method, LONGEST_NAME)],
            route=numbers[shortened(route, LONGEST_PATH)] if route is not None else None,
            path=shortened(self.path, LONGEST_PATH),
            status=_status(self.status),
            error=numbers[shortened(error, LONGEST_NAME)] if error is not None else None,
            started=started_us - texts.began_ns // 1000,
            responding=_since(started_us, self.responding_ns),
            responded=_since(started_us, self.responded_ns),
            ended=_since(started_us, self.ended_ns),
            stages=pack_list([stage.packed(started_us, numbers) for stage in tuple(self.stages)]),
        )

    def begin_stage(self, name: str) -> StageRecord:
        """A part of the request's life begins."""
        stage = StageRecord(name)
        if len(self.stages) < MOST_STAGES:
            self.stages.append(stage)
        return stage

    @property
    def name(self) -> str:
        """What a person calls it, such as ``GET /notes/{note_id}``."""
        return f"{self.method} {self.route or self.path}".strip()


class StageRecord:
    """A named part of a request's life; ``site`` is what is closed in it, if it is known."""

    __slots__ = ("ended_ns", "name", "site", "started_ns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.site: SiteRecord | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The stage is over; a second end changes nothing."""
        if self.ended_ns is None:
            self.ended_ns = monotonic_ns()

    def packed(self, request_started_us: int, numbers: Mapping[str, int]) -> str:
        """The stage as the row of its request has it."""
        started_us = self.started_ns // 1000
        ended_ns = self.ended_ns
        return pack_stage(
            numbers[self.name],
            started_us - request_started_us,
            None if ended_ns is None else ended_ns // 1000 - started_us,
            self.site.id if self.site is not None else None,
        )


class CheckoutRecord(Record):
    """A connection asked for, and then lent, or not.

    ``task`` is the task that asked, or that waits for the thread that did; ``in_thread`` tells
    these two apart. ``thread_id`` is the operating system's number of the thread that asked.
    """

    __slots__ = (
        *("asked_ns", "busy_us", "connecting_us", "connection", "earlier", "gave_up_ns"),
        *("granted_ns", "handled", "in_thread", "in_transaction", "looks", "operation"),
        *(
            "operations",
            "outcome",
            "owner",
            "parting",
            "pinging_us",
            "pool",
            "request",
            "returned_ns",
            "room",
            "sample",
            "site",
        ),
        *("task", "thread", "thread_id"),
    )
    table = "packed_checkouts"

    def __init__(
        self, pool: PoolRecord, request: RequestRecord | None, owner: str, site: SiteRecord | None
    ) -> None:
        self.id = next(_ids)
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
        self.in_thread = False
        self.thread = 0
        self.thread_id = 0
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
                texts.learn(self.operations[first : first + _ROWS_LEARNT * OPERATIONS_PER_ROW])
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
        returned = _since(asked_us, self.returned_ns)
        gave_up = _since(asked_us, self.gave_up_ns)
        granted = _since(asked_us, self.granted_ns)
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
        "cause",
        "checkout",
        "ended_ns",
        "error",
        "kind",
        "site",
        "started_ns",
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
        return pack_operation(
            numbers[self.kind._value_],
            started_us - asked_us,
            None if ended_ns is None else ended_ns // 1000 - started_us,
            None if site is None else site.id,
            None if statement is None else self._number(statement, texts),
            None if error is None else numbers[shortened(error, LONGEST_NAME)],
            None if cause is None else numbers[cause._value_],
        )

    def _number(self, statement: str, texts: Texts) -> int:
        return texts.statements[self.checkout.pool.dialect][statement]


class SampleRecord(Record):
    """What the owner of a checkout was seen doing, as long as it stays the same."""

    __slots__ = ("activity", "checkout", "ended_ns", "seen_ns", "site", "started_ns")
    table = "packed_samples"

    def __init__(
        self, checkout: CheckoutRecord, activity: Activity, site: SiteRecord | None, now_ns: int
    ) -> None:
        self.id = next(_ids)
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
            ended=_since(self.started_ns // 1000, self.ended_ns),
        )


def id_of(task: asyncio.Task[Any]) -> tuple[int, int]:
    """The ``owner_id`` of the checkouts of a task."""
    return id(weakref.ref(task)), 0


def _status(status: Any) -> int | None:
    """A status as the trace has it: an application may send anything."""
    return int(status) if isinstance(status, int) and 0 <= status < 2**31 else None


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


def _since(start_us: int, instant_ns: int | None) -> int | None:
    """Microseconds between two instants of a clock of microseconds, so that sums come out even."""
    return None if instant_ns is None else instant_ns // 1000 - start_us
