"""What SQLAlchemy does with a connection that its pool lent.

SQLAlchemy has no event for the end of a commit, a rollback or a reset, so the methods that make
these round trips are wrapped. So are the dialects' methods that execute: listening to an engine's
events would tell the same, but makes SQLAlchemy dispatch all seven events of a statement instead
of none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind, Outcome
from poolhog.probes.causes import cause_of
from poolhog.probes.guard import recording
from poolhog.probes.pools import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord

RETURNING = "_poolhog_returning"
"""The attribute of a pool's connection record: the checkout that is ending, and how it does."""

TRANSACTION_METHODS = {
    "_begin_impl": OperationKind.BEGIN,
    "_begin_twophase_impl": OperationKind.BEGIN,
    "_commit_impl": OperationKind.COMMIT,
    "_commit_twophase_impl": OperationKind.COMMIT,
    "_rollback_impl": OperationKind.ROLLBACK,
    "_rollback_twophase_impl": OperationKind.ROLLBACK,
}
"""Methods of ``Connection`` that enclose the round trip, unlike the events of the same names."""

EXECUTE_METHODS = ("do_execute", "do_executemany", "do_execute_no_params")
"""Methods of a dialect that send a statement; classes of their own may override them."""

RESETS = {"reset_rollback": "ROLLBACK", "reset_commit": "COMMIT"}
"""What a pool sends when a connection comes back, by the name of its style."""


def watch_operations(recorder: Recorder, patches: Patches) -> OperationProbe:
    """Record the operations of checkouts; their statements once their dialect is known."""
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.cursor import BufferedRowCursorFetchStrategy
    from sqlalchemy.engine.default import DefaultExecutionContext
    from sqlalchemy.pool import base

    probe = OperationProbe(recorder, patches)
    for name, kind in TRANSACTION_METHODS.items():
        patches.wrap(Connection, name, recording(recorder, probe.step(kind)))
    patches.wrap(Connection, "_prepare_twophase_impl", recording(recorder, probe.begin_prepare))
    for target, name, begin in (
        (BufferedRowCursorFetchStrategy, "_buffer_rows", probe.begin_fetch),
        (BufferedRowCursorFetchStrategy, "fetchmany", probe.begin_fetch_many),
        (BufferedRowCursorFetchStrategy, "fetchall", probe.begin_fetch),
        (base._ConnectionFairy, "_reset", probe.begin_reset),
    ):
        patches.wrap(target, name, recording(recorder, begin))
    first_fetch = recording(recorder, probe.begin_first_fetch)
    patches.wrap(DefaultExecutionContext, "_setup_result_proxy", first_fetch)
    return probe


class OperationProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder, patches: Patches) -> None:
        self._recorder = recorder
        self._patches = patches
        self._watched: set[tuple[type, str]] = set()

    def watch_statements(self, dialect: type) -> None:
        """Wrap the methods that send statements, in the classes that define them."""
        wrap = recording(self._recorder, self.begin_statement)
        for owner in dialect.__mro__:
            for name in EXECUTE_METHODS:
                if name in vars(owner) and (owner, name) not in self._watched:
                    self._watched.add((owner, name))
                    self._patches.wrap(owner, name, wrap)

    def step(self, kind: OperationKind) -> Callable[..., OperationRecord | None]:
        """Begins a step of a transaction; in autocommit there is none."""
        opens = kind is OperationKind.BEGIN
        undoes = kind is OperationKind.ROLLBACK

        def begin(connection: Any, *_: Any, **__: Any) -> OperationRecord | None:
            checkout = checkout_of(connection)
            if checkout is None or connection._is_autocommit_isolation():
                return None
            checkout.in_transaction = opens
            cause = cause_of(checkout) if undoes else None
            return self._recorder.operate(checkout, kind, None, cause)

        return begin

    def begin_prepare(self, connection: Any, *_: Any) -> OperationRecord | None:
        """The first phase of a commit in two."""
        checkout = checkout_of(connection)
        if checkout is None:
            return None
        return self._recorder.operate(checkout, OperationKind.STATEMENT, "PREPARE TRANSACTION")

    def begin_statement(
        self, dialect: Any, cursor: Any, statement: str, *rest: Any, **kwargs: Any
    ) -> OperationRecord | None:
        """A statement; those without a context are the dialect's own, on no checkout."""
        context = kwargs.get("context") or (rest[-1] if rest else None)
        connection = getattr(context, "root_connection", None)
        checkout = checkout_of(connection) if connection is not None else None
        if checkout is None:
            return None
        enclosing = checkout.operation
        if enclosing is not None and enclosing.kind is OperationKind.BEGIN:
            # Sent by a listener to the engine's "begin", in place of what SQLAlchemy does there.
            enclosing.end()
        return self._recorder.operate(checkout, OperationKind.STATEMENT, statement)

    def begin_first_fetch(self, context: Any) -> OperationRecord | None:
        """A result is made: the first rows of a server-side cursor come with it."""
        return self._fetch(context.root_connection) if context._is_server_side else None

    def begin_fetch(self, strategy: Any, result: Any, *_: Any) -> OperationRecord | None:
        """Rows of a result that is streamed; others come with their statement."""
        return self._fetch(result.connection)

    def begin_fetch_many(
        self, strategy: Any, result: Any, cursor: Any, size: int | None = None
    ) -> OperationRecord | None:
        """The same, if there are not enough in the buffer."""
        if size is None or size <= len(strategy._rowbuffer):
            return None
        return self._fetch(result.connection)

    def begin_reset(
        self,
        fairy: Any,
        pool: Any,
        transaction_was_reset: bool,
        terminate_only: bool = False,
        asyncio_safe: bool = True,
    ) -> OperationRecord | None:
        """The reset on return; drivers send nothing if the transaction is over."""
        record = fairy._connection_record
        returning = record.__dict__.get(RETURNING) if record is not None else None
        # Without a greenlet, nothing can be sent to a connection that was forgotten.
        if returning is None or not asyncio_safe:
            return None
        checkout, outcome = returning
        statement = None
        if not transaction_was_reset and _in_transaction(checkout, pool, fairy):
            statement = RESETS.get(getattr(pool._reset_on_return, "name", ""))
        # What is handled while the garbage collector runs has nothing to do with it.
        explained = statement is not None and outcome is not Outcome.COLLECTED
        cause = cause_of(checkout) if explained else None
        return self._recorder.operate(checkout, OperationKind.RESET, statement, cause)

    def _fetch(self, connection: Any) -> OperationRecord | None:
        checkout = checkout_of(connection)
        return self._recorder.operate(checkout, OperationKind.FETCH) if checkout else None


def checkout_of(connection: Any) -> CheckoutRecord | None:
    """The checkout of a ``Connection``; one that no pool lent has none."""
    fairy = connection._dbapi_connection
    try:
        # Not as an attribute: a proxy would look that up in the connection behind it.
        found: CheckoutRecord | None = fairy.__dict__.get(CHECKOUT)
    except AttributeError:
        return None
    return found


def _in_transaction(checkout: CheckoutRecord, pool: Any, fairy: Any) -> bool:
    """Whether a transaction is open; the driver knows it of one that began past SQLAlchemy."""
    if checkout.in_transaction is not None:
        return checkout.in_transaction
    driver = pool._dialect.get_driver_connection(fairy.dbapi_connection)
    try:
        for name, answer in _IN_TRANSACTION.items():
            # Not of the connection itself: a mock has everything, and remembers what it was asked.
            if hasattr(type(driver), name):
                return bool(answer(driver))
    except Exception:  # a connection that is lost; the pool will try all the same
        return True
    return True


_IN_TRANSACTION: dict[str, Callable[[Any], Any]] = {
    "is_in_transaction": lambda asyncpg: asyncpg.is_in_transaction(),
    "in_transaction": lambda sqlite: sqlite.in_transaction,
    "get_transaction_status": lambda psycopg2: psycopg2.get_transaction_status(),
    "info": lambda psycopg: psycopg.info.transaction_status,
}
"""How to ask a driver's connection, by what only that driver's have."""
