"""The psycopg_pool probe: its four pools, sync and async, which keep connections or do not.

A pool opens its connections in threads or tasks of its own, for whoever waits the longest by then:
it is not known who a connection was opened for, so that wait is queueing. Only a pool that keeps no
connections opens one in the wait itself.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind
from poolhog.probes.causes import cause_of
from poolhog.probes.guard import before, recording, recording_async
from poolhog.probes.pools import CHECKOUT, PoolHooks
from poolhog.probes.probe import Probe
from poolhog.probes.psycopg import in_transaction
from poolhog.probes.waits import Waits, waiting
from poolhog.recording.pools import PoolRecord

if TYPE_CHECKING:
    from collections.abc import Hashable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import OperationRecord


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools and checkouts."""
    from psycopg_pool import (
        AsyncConnectionPool,
        AsyncNullConnectionPool,
        ConnectionPool,
        NullConnectionPool,
        PoolTimeout,
    )

    probe = PsycopgPoolHooks(recorder, _describe)
    waits = Waits(recorder, probe.ask, probe.grant, PoolTimeout)
    patches.wrap(ConnectionPool, "getconn", waits.wrap)
    patches.wrap(AsyncConnectionPool, "getconn", waits.wrap_async)
    for pool, wrap in ((ConnectionPool, recording), (AsyncConnectionPool, recording_async)):
        patches.wrap(pool, "__init__", before(recorder, probe.make))
        patches.wrap(pool, "_connect", wrap(recorder, probe.begin_connect))
        patches.wrap(pool, "_check_connection", wrap(recorder, probe.begin_check))
        patches.wrap(pool, "_return_connection", wrap(recorder, probe.begin_return))
        patches.wrap(pool, "putconn", wrap(recorder, probe.begin_reset))
        patches.wrap(pool, "_close_connection", before(recorder, probe.end))
    for pool in (ConnectionPool, NullConnectionPool):
        # Before another thread has the connection.
        patches.wrap(pool, "_add_to_pool", before(recorder, probe.add))
    for pool in (AsyncConnectionPool, AsyncNullConnectionPool):
        # It may be cancelled while it waits for a lock. Nothing runs between its end and ours.
        patches.wrap(pool, "_add_to_pool", recording_async(recorder, probe.begin_return))


class PsycopgPoolHooks(PoolHooks):
    """The hooks of one recorder into the four pools."""

    def make(self, pool: Any, *_: Any, **__: Any) -> None:
        """A pool is made, which begins to connect meanwhile."""
        self.made(pool)

    def learn(self, pool: Any) -> PoolRecord:
        """The pool is new."""
        site, _ = pool.__dict__.get(self._origin, (None, None))
        pool.__dict__[self._origin] = site, _database_of(pool)
        return super().learn(pool)

    def add(self, pool: Any, connection: Any) -> None:
        """The pool has a connection, for the first time or again."""
        if self._number not in connection.__dict__:
            # Before anybody has it: a process that is forked now inherits it.
            record = pool.__dict__.get(self._pool) or self.learn(pool)
            connection.__dict__[self._number] = next(record.connections)
        self.end(pool, connection)

    def begin_connect(self, pool: Any, *_: Any, **__: Any) -> OperationRecord | _Unasked | None:
        """A new connection; it belongs to a wait if it is opened by the one that waits for it."""
        checkout = waiting()
        if checkout is None:
            return _Unasked(self, pool)
        return self._recorder.operate(checkout, OperationKind.CONNECT)

    def begin_check(self, pool: Any, *_: Any) -> OperationRecord | None:
        """The check that the application gave to the pool."""
        checkout = waiting()
        if checkout is None or pool._check is None:
            return None
        return self._recorder.operate(checkout, OperationKind.PING)

    def begin_reset(self, pool: Any, connection: Any) -> _Reset | None:
        """The connection comes back; a pool that was given a reset does it in a worker."""
        checkout = connection.__dict__.get(CHECKOUT)
        if checkout is None or connection._pool is not pool:
            return None
        undoes = in_transaction(connection)
        statement, cause = ("ROLLBACK", cause_of(checkout)) if undoes else (None, None)
        operation = self._recorder.operate(checkout, OperationKind.RESET, statement, cause)
        return _Reset(operation) if operation is not None else None

    def begin_return(self, pool: Any, connection: Any, *_: Any, **__: Any) -> _Return | None:
        """The return, or the part of it that hands the connection to the pool."""
        return _Return(self, pool, connection) if CHECKOUT in connection.__dict__ else None


class _Unasked:
    """A connection that a pool opens by itself: only a failure is recorded."""

    def __init__(self, probe: PsycopgPoolHooks, pool: Any) -> None:
        self._probe = probe
        self._pool = pool

    def end(self, error: BaseException | None = None) -> None:
        """It is open, or could not be opened."""
        if isinstance(error, Exception):
            self._probe.fail_to_connect(self._pool, error)


class _Reset:
    """A reset that lasts until the pool has the connection, also if ``putconn`` is over before."""

    def __init__(self, operation: OperationRecord) -> None:
        self._operation = operation

    def end(self, error: BaseException | None = None) -> None:
        """A ``putconn`` that fails has not put anything back: the checkout goes on."""
        if error is not None:
            self._operation.end(error)


class _Return:
    """A return that ends the checkout, if nothing did before and it is not cut short."""

    def __init__(self, probe: PsycopgPoolHooks, pool: Any, connection: Any) -> None:
        self._probe = probe
        self._pool = pool
        self._connection = connection

    def end(self, error: BaseException | None = None) -> None:
        """It is over; if it was cancelled, the pool counts the connection as lent for ever."""
        if error is None:
            self._probe.end(self._pool, self._connection)


def _database_of(pool: Any) -> Hashable:
    """What identifies the database of a pool and its user; ``None`` if that may change."""
    from psycopg.conninfo import conninfo_to_dict

    if callable(pool.conninfo) or callable(pool.kwargs):
        return None
    kwargs = {name: value for name, value in (pool.kwargs or {}).items() if name in _IDENTIFYING}
    found = conninfo_to_dict(pool.conninfo or "", **kwargs)
    return "psycopg", *(str(found.get(name)) for name in _IDENTIFYING)


_IDENTIFYING = ("host", "hostaddr", "port", "dbname", "user", "service")


def _describe(pool: Any) -> PoolRecord:
    return PoolRecord(
        library="psycopg_pool",
        kind=type(pool).__name__,
        name=pool.name,
        size=pool.max_size,
        # A pool that keeps no connections may have no limit.
        max_overflow=0 if pool.max_size else -1,
        timeout_s=pool.timeout,
        dialect="postgresql",
        is_async=inspect.iscoroutinefunction(type(pool).wait),
    )


PROBE = Probe(
    watches=(("psycopg_pool", watch_pools),),
    databases=("psycopg_pool",),
    distributions=("psycopg_pool",),
)
