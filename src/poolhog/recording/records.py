"""Facts while they happen: small mutable records that the application fills and the writer reads.

A record is handed to the writer once, when it is made. The application then only sets attributes;
the writer looks at unfinished records again until they are ``done``. So the last attribute that
is set must be the one that makes a record done, and an instant is never changed once set.
"""

from __future__ import annotations

import itertools
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from poolhog.model import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

# One sequence for all records of the process: an id is never used twice, whatever is reinstalled.
_ids = itertools.count(1)


class Statements(Protocol):
    """Where a record learns the number of its statement's text."""

    def number(self, sql: str) -> int:
        """The row of this statement; it is written when it is new."""


class Record:
    """What the writer needs of a fact: its table, its row, and whether it can still change."""

    __slots__ = ("id", "written")
    table: ClassVar[str]
    id: int
    written: tuple[Any, ...] | None

    @property
    def done(self) -> bool:
        """Whether the row is final."""
        raise NotImplementedError

    def row(self, statements: Statements) -> tuple[Any, ...]:
        """The columns of the table, in order."""
        raise NotImplementedError


class PoolRecord(Record):
    """A connection pool of this process."""

    __slots__ = ("connections", "kind", "library", "max_overflow", "name", "size", "timeout_s")
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
    ) -> None:
        self.id = next(_ids)
        self.written = None
        self.library = library
        self.kind = kind
        self.name = name
        self.size = size
        self.max_overflow = max_overflow
        self.timeout_s = timeout_s
        self.connections = itertools.count(1)

    @property
    def done(self) -> bool:
        return True

    def row(self, statements: Statements) -> tuple[Any, ...]:
        limits = self.size, self.max_overflow, self.timeout_s
        return self.id, self.library, self.kind, self.name, *limits


class RequestRecord(Record):
    """A request that an application is answering."""

    __slots__ = (
        *("ended_ns", "kind", "method", "path", "responded_ns", "responding_ns"),
        *("root_path", "route", "scope", "started_ns", "status"),
    )
    table = "requests"

    def __init__(self, kind: str, method: str, path: str, scope: Mapping[str, Any]) -> None:
        self.id = next(_ids)
        self.written = None
        self.kind = kind
        self.method = method
        self.path = path
        self.scope: Mapping[str, Any] | None = scope
        # Where the application is: what a mount adds to it is part of the route.
        self.root_path = str(scope.get("root_path", ""))
        self.route: str | None = None
        self.status: int | None = None
        self.responding_ns: int | None = None
        self.responded_ns: int | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self) -> None:
        """The application returned."""
        try:
            self.route = self._route()
        finally:
            self.scope = None
            self.ended_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.ended_ns is not None

    def row(self, statements: Statements) -> tuple[Any, ...]:
        return (
            self.id,
            self.kind,
            self.method,
            self.route or self._route(),
            self.path,
            self.status,
            self.started_ns,
            self.responding_ns,
            self.responded_ns,
            self.ended_ns,
        )

    def _route(self) -> str | None:
        # The router puts the route into the scope, so that an open request has one as well.
        scope = self.scope
        if scope is None:
            return self.route
        route = scope.get("route")
        # FastAPI keeps what an included router's prefix makes of the route beside it.
        kept = scope.get("fastapi")
        included = kept.get("effective_route_context") if isinstance(kept, dict) else None
        if route is not None and getattr(included, "original_route", None) is route:
            route = included
        template = getattr(route, "path_format", None) or getattr(route, "path", None)
        if template is None:
            return None
        return str(scope.get("root_path", "")).removeprefix(self.root_path) + str(template)


class StageRecord(Record):
    """A named part of a request's life."""

    __slots__ = ("ended_ns", "name", "request_id", "started_ns")
    table = "stages"

    def __init__(self, request: RequestRecord, name: str) -> None:
        self.id = next(_ids)
        self.written = None
        self.request_id = request.id
        self.name = name
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The stage is over; a second end changes nothing."""
        if self.ended_ns is None:
            self.ended_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.ended_ns is not None

    def row(self, statements: Statements) -> tuple[Any, ...]:
        return self.id, self.request_id, self.name, self.started_ns, self.ended_ns


class CheckoutRecord(Record):
    """A connection asked for, and then lent, or not."""

    __slots__ = (
        *("asked_ns", "connection", "gave_up_ns", "granted_ns", "operation", "outcome"),
        *("in_transaction", "owner", "pool", "request_id", "returned_ns"),
    )
    table = "checkouts"

    def __init__(self, pool: PoolRecord, request: RequestRecord | None, owner: str) -> None:
        self.id = next(_ids)
        self.written = None
        self.pool = pool
        self.request_id = request.id if request is not None else None
        self.owner = owner
        self.connection: int | None = None
        self.operation: OperationRecord | None = None
        # Not of the row: whether a transaction is open; None if none was ever seen to begin.
        self.in_transaction: bool | None = None
        self.outcome = Outcome.WAITING
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
        """The wait ended without a connection."""
        self.outcome = outcome
        self.gave_up_ns = monotonic_ns()

    def end(self, outcome: Outcome = Outcome.RETURNED) -> None:
        """The pool has the connection back, or never will."""
        if self.returned_ns is None:
            self.outcome = outcome
            self.returned_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.returned_ns is not None or self.gave_up_ns is not None

    def row(self, statements: Statements) -> tuple[Any, ...]:
        return (
            self.id,
            self.pool.id,
            self.request_id,
            self.owner,
            self.connection,
            self.asked_ns,
            self.granted_ns,
            self.gave_up_ns,
            self.returned_ns,
            self.outcome.value,
        )


class OperationRecord(Record):
    """Something that the driver is doing for a checkout."""

    __slots__ = ("checkout", "ended_ns", "error", "kind", "started_ns", "statement")
    table = "operations"

    def __init__(
        self, checkout: CheckoutRecord, kind: OperationKind, statement: str | None
    ) -> None:
        self.id = next(_ids)
        self.written = None
        self.checkout = checkout
        self.kind = kind
        self.statement = statement
        self.error: str | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The operation is over; a second end changes nothing."""
        if self.ended_ns is None:
            if self.checkout.operation is self:
                self.checkout.operation = None
            if error is not None:
                self.error = type(error).__name__
            self.ended_ns = monotonic_ns()

    @property
    def done(self) -> bool:
        return self.ended_ns is not None

    def row(self, statements: Statements) -> tuple[Any, ...]:
        statement = statements.number(self.statement) if self.statement is not None else None
        return (
            self.id,
            self.checkout.id,
            self.kind.value,
            statement,
            self.started_ns,
            self.ended_ns,
            self.error,
        )
