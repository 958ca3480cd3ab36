"""The asyncpg probe: pools of asyncpg's own, which encode/databases uses as well.

Connections that SQLAlchemy opens through asyncpg are in no asyncpg pool, and not recorded here.
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from poolhog.model import Cause, OperationKind
from poolhog.probes.causes import asked, cause_of, handled, left, noting_async, noting_in_task
from poolhog.probes.guard import before, recording_async
from poolhog.probes.probe import Probe
from poolhog.probes.raw_connections import exposed
from poolhog.probes.statements import kind_of
from poolhog.probes.waits import Waits, waiting
from poolhog.recording.pools import PoolRecord

if TYPE_CHECKING:
    from collections.abc import Hashable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord
    from poolhog.recording.sites import SiteRecord

STATEMENT_METHODS = (
    *("execute", "_execute", "_executemany", "_get_statement"),
    *("_copy_in", "_copy_out"),
)
"""Methods of ``Connection`` that take the SQL first, and return when the server has answered."""


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools, checkouts and operations."""
    from asyncpg.connection import Connection
    from asyncpg.cursor import BaseCursor
    from asyncpg.exceptions import ConnectionDoesNotExistError
    from asyncpg.pool import Pool, PoolAcquireContext, PoolConnectionHolder
    from asyncpg.prepared_stmt import PreparedStatement
    from asyncpg.transaction import Transaction

    probe = _AsyncpgHooks(recorder, ConnectionDoesNotExistError())
    waits = Waits(recorder, probe.ask, probe.grant, TimeoutError)
    patches.wrap(Pool, "_acquire", waits.wrap_async)
    patches.wrap(PoolConnectionHolder, "__init__", before(recorder, probe.make))
    patches.wrap(PoolConnectionHolder, "_release", before(recorder, probe.release))
    record = functools.partial(recording_async, recorder)
    patches.wrap(PoolConnectionHolder, "connect", record(probe.begin_connect))
    for name in STATEMENT_METHODS:
        patches.wrap(Connection, name, record(probe.begin_statement, _is_pooled))
    patches.wrap(Connection, "copy_records_to_table", record(probe.begin_copy))
    patches.wrap(
        PreparedStatement,
        "_PreparedStatement__do_execute",
        record(probe.begin_prepared, lambda prepared: _is_pooled(prepared._connection)),
    )
    for name in ("_bind", "_bind_exec", "_exec"):
        patches.wrap(BaseCursor, name, record(probe.begin_fetch))
    for name in ("reset", "_reset"):
        patches.wrap(Connection, name, record(probe.begin_reset, _is_pooled))
    patches.wrap(Transaction, "rollback", noting_async(recorder, asked(recorder)))
    # The pool goes on in a task of its own, in which the exception is not handled.
    patches.wrap(PoolAcquireContext, "__aexit__", noting_async(recorder, left))
    patches.wrap(Pool, "release", noting_in_task(recorder, handled))


class _AsyncpgHooks:
    """The hooks of one recorder; ``lost`` is what asyncpg raises when it loses a connection."""

    def __init__(self, recorder: Recorder, lost: Exception) -> None:
        self._recorder = recorder
        self._lost = lost
        # A pool takes no weak reference; its queue, which it has for life, does.
        self._pools: weakref.WeakKeyDictionary[Any, PoolRecord] = weakref.WeakKeyDictionary()
        self._made_at: weakref.WeakKeyDictionary[Any, SiteRecord | None] = (
            weakref.WeakKeyDictionary()
        )
        self._checkouts: weakref.WeakKeyDictionary[Any, CheckoutRecord] = (
            weakref.WeakKeyDictionary()
        )
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def make(self, _: Any, pool: Any, *__: Any, **___: Any) -> None:
        """A pool makes its places, when the application awaits its first use."""
        if pool._queue not in self._made_at:
            self._made_at[pool._queue] = self._recorder.sites.here(sys._getframe())

    def begin_connect(self, holder: Any) -> OperationRecord | _Unasked | None:
        """A new connection; those that a pool opens at its start belong to no checkout."""
        checkout = waiting()
        if checkout is None:
            return _Unasked(self, holder._pool)
        return self._recorder.operate(checkout, OperationKind.CONNECT)

    def begin_statement(
        self, connection: Any, query: str, *_: Any, **__: Any
    ) -> OperationRecord | None:
        """A statement, or a step of a transaction."""
        checkout = self._checkout_of(connection)
        if checkout is None:
            return None
        kind = kind_of(query)
        # asyncpg never rolls back without being told.
        undoes = kind is OperationKind.ROLLBACK
        cause = (cause_of(checkout) or Cause.ASKED) if undoes else None
        return self._recorder.operate(checkout, kind, query, cause)

    def begin_copy(
        self, connection: Any, table_name: Any, *_: Any, **__: Any
    ) -> OperationRecord | None:
        """Rows copied into a table, for which asyncpg makes the statement."""
        return self.begin_statement(connection, f"COPY {table_name} FROM STDIN")

    def begin_prepared(self, prepared: Any, *_: Any) -> OperationRecord | None:
        """A prepared statement's run."""
        return self.begin_statement(prepared._connection, prepared._query)

    def begin_fetch(self, cursor: Any, *_: Any) -> OperationRecord | None:
        """Some rows of a cursor."""
        checkout = self._checkout_of(cursor._connection)
        if checkout is None:
            return None
        return self._recorder.operate(checkout, OperationKind.FETCH, cursor._query)

    def begin_reset(self, connection: Any, **_: Any) -> OperationRecord | None:
        """What a pool does to a connection that comes back."""
        checkout = self._checkout_of(connection)
        if checkout is None:
            return None
        query = connection.get_reset_query()
        cause = cause_of(checkout) if connection.is_in_transaction() else None
        return self._recorder.operate(checkout, OperationKind.RESET, query, cause)

    def _checkout_of(self, connection: Any) -> CheckoutRecord | None:
        proxy = connection._proxy
        if proxy is None:
            return exposed(connection)
        return self._checkouts.get(proxy._holder)

    def ask(self, pool: Any, *_: Any) -> CheckoutRecord:
        """The pool is asked for a connection."""
        # Not by way of another method: each frame is walked over to find the application's.
        return self._recorder.ask(self._pools.get(pool._queue) or self._learn(pool))

    def fail_to_connect(self, pool: Any, error: BaseException) -> None:
        """The pool could not open one of its first connections."""
        self._recorder.fail_to_connect(self._pools.get(pool._queue) or self._learn(pool), error)

    def _learn(self, pool: Any) -> PoolRecord:
        record = _describe(pool)
        record.made_at = self._made_at.get(pool._queue)
        database = _database_of(pool)
        if database is not None:
            record.database = self._recorder.database(database)
        self._pools[pool._queue] = self._recorder.pool(record)
        return record

    def grant(self, checkout: CheckoutRecord, proxy: Any) -> None:
        """The pool lent a connection, in the form of a proxy."""
        holder = proxy._holder
        number = self._numbers.get(holder)
        if number is None:
            number = self._numbers[holder] = next(checkout.pool.connections)
        self._checkouts[holder] = checkout
        self._recorder.grant(checkout, number, holder._con)

    def release(self, holder: Any) -> None:
        """A connection goes back; every return goes this way."""
        checkout = self._checkouts.pop(holder, None)
        if checkout is None:
            return
        operation = checkout.operation
        if operation is not None and holder._con is not None and holder._con.is_closed():
            # A connection that is lost goes back first; then whoever waits for it learns why.
            operation.end(self._lost)
        self._recorder.end(checkout)


class _Unasked:
    """A connection that a pool opens at its start: only a failure is recorded."""

    def __init__(self, hooks: _AsyncpgHooks, pool: Any) -> None:
        self._hooks = hooks
        self._pool = pool

    def end(self, error: BaseException | None = None) -> None:
        """It is open, or could not be opened."""
        if isinstance(error, Exception):
            self._hooks.fail_to_connect(self._pool, error)


def _is_pooled(connection: Any) -> bool:
    """Whether the connection is lent by an asyncpg pool, or by SQLAlchemy and in other hands."""
    return connection._proxy is not None or exposed(connection) is not None


def _database_of(pool: Any) -> Hashable:
    """What identifies the database of a pool and its user; ``None`` if it is not known."""
    from asyncpg import connect

    # Whatever connects in place of it may be told of another database each time.
    if getattr(pool, "_connect", connect) is not connect:
        return None
    given, named = pool._connect_args, pool._connect_kwargs
    parts = urlsplit(str(given[0] if given and given[0] else named.get("dsn") or ""))
    host = parts.netloc.rpartition("@")[2], parts.username, parts.path, _hosts(parts.query)
    return host, *(str(named.get(name)) for name in ("host", "port", "user", "database"))


def _hosts(query: str) -> str:
    return str([pair for pair in parse_qsl(query) if pair[0] in ("host", "port", "user", "dbname")])


def _describe(pool: Any) -> PoolRecord:
    return PoolRecord(
        library="asyncpg",
        kind=type(pool).__name__,
        name="postgresql+asyncpg",
        size=pool.get_max_size(),
        max_overflow=0,
        timeout_s=None,
        dialect="postgresql",
    )


PROBE = Probe(
    watches=(("asyncpg", watch_pools),),
    databases=("asyncpg", "databases"),
    distributions=("asyncpg",),
)
