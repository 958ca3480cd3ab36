"""The asyncpg probe: pools of asyncpg's own, which encode/databases uses as well.

Connections that SQLAlchemy opens through asyncpg are in no asyncpg pool, and not recorded here.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind, Outcome
from poolhog.probes.guard import guard, recording_async
from poolhog.recording.recorder import asking
from poolhog.recording.records import PoolRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord

    Method = Callable[..., Awaitable[Any]]

KEYWORDS = {
    "BEGIN": OperationKind.BEGIN,
    "START": OperationKind.BEGIN,
    "COMMIT": OperationKind.COMMIT,
    "END": OperationKind.COMMIT,
    "ROLLBACK": OperationKind.ROLLBACK,
    "ABORT": OperationKind.ROLLBACK,
}
"""The first word of a statement that begins or ends a transaction."""


STATEMENT_METHODS = (
    *("execute", "_execute", "_executemany", "_get_statement"),
    *("_copy_in", "_copy_out"),
)
"""Methods of ``Connection`` that take the SQL first, and return when the server has answered."""


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools, checkouts and operations."""
    from asyncpg.connection import Connection
    from asyncpg.cursor import BaseCursor
    from asyncpg.pool import Pool, PoolConnectionHolder
    from asyncpg.prepared_stmt import PreparedStatement

    probe = _PoolProbe(recorder)
    patches.wrap(Pool, "_acquire", probe.wrap_acquire)
    patches.wrap(PoolConnectionHolder, "_release", probe.wrap_release)
    patches.wrap(PoolConnectionHolder, "connect", probe.wrapper(probe.begin_connect))
    for name in STATEMENT_METHODS:
        patches.wrap(Connection, name, probe.wrapper(probe.begin_statement, _is_pooled))
    patches.wrap(Connection, "copy_records_to_table", probe.wrapper(probe.begin_copy))
    patches.wrap(
        PreparedStatement, "_PreparedStatement__do_execute", probe.wrapper(probe.begin_prepared)
    )
    for name in ("_bind", "_bind_exec", "_exec"):
        patches.wrap(BaseCursor, name, probe.wrapper(probe.begin_fetch))
    patches.wrap(Connection, "reset", probe.wrapper(probe.begin_reset, _is_pooled))


class _PoolProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        # A pool takes no weak reference; its queue, which it has for life, does.
        self._pools: weakref.WeakKeyDictionary[Any, PoolRecord] = weakref.WeakKeyDictionary()
        self._checkouts: weakref.WeakKeyDictionary[Any, CheckoutRecord] = (
            weakref.WeakKeyDictionary()
        )
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def wrap_acquire(self, acquire: Method) -> Method:
        """Wrap ``Pool._acquire``: the wait is what passes inside."""
        ask = guard(self._recorder, self._ask)
        grant = guard(self._recorder, self._grant)

        async def _acquire(pool: Any, timeout: float | None) -> Any:
            checkout = ask(pool)
            if checkout is None:
                return await acquire(pool, timeout)
            token = asking.set(checkout)
            try:
                proxy = await acquire(pool, timeout)
            except BaseException as error:
                checkout.give_up(_outcome(error))
                raise
            finally:
                asking.reset(token)
            grant(checkout, proxy._holder)
            return proxy

        return _acquire

    def wrap_release(self, release: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap ``PoolConnectionHolder._release``, through which every return goes."""
        returned = guard(self._recorder, self._returned)

        def _release(holder: Any) -> None:
            returned(holder)
            release(holder)

        return _release

    def wrapper(
        self,
        begin: Callable[..., OperationRecord | None],
        concerns: Callable[[Any], bool] = lambda _: True,
    ) -> Callable[[Method], Method]:
        """A wrapper that records a method's run as the operation that ``begin`` makes.

        What does not concern the probe is passed on without another coroutine around it.
        """
        wrap_concerned = recording_async(self._recorder, begin)

        def wrap(method: Method) -> Method:
            recorded = wrap_concerned(method)

            def operation(subject: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
                call = recorded if concerns(subject) else method
                return call(subject, *args, **kwargs)

            return operation

        return wrap

    def begin_connect(self, holder: Any) -> OperationRecord | None:
        """A new connection; those that a pool opens at its start belong to no checkout."""
        checkout = asking.get()
        if checkout is None:
            return None
        return self._recorder.operate(checkout, OperationKind.CONNECT)

    def begin_statement(
        self, connection: Any, query: str, *_: Any, **__: Any
    ) -> OperationRecord | None:
        """A statement, or a step of a transaction."""
        checkout = self._checkout_of(connection)
        if checkout is None:
            return None
        return self._recorder.operate(checkout, _kind(query), query)

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
        return self._recorder.operate(checkout, OperationKind.RESET, connection.get_reset_query())

    def _checkout_of(self, connection: Any) -> CheckoutRecord | None:
        proxy = connection._proxy
        return self._checkouts.get(proxy._holder) if proxy is not None else None

    def _ask(self, pool: Any) -> CheckoutRecord:
        record = self._pools.get(pool._queue)
        if record is None:
            record = self._recorder.pool(_describe(pool))
            self._pools[pool._queue] = record
        return self._recorder.ask(record)

    def _grant(self, checkout: CheckoutRecord, holder: Any) -> None:
        number = self._numbers.get(holder)
        if number is None:
            number = self._numbers[holder] = next(checkout.pool.connections)
        self._checkouts[holder] = checkout
        checkout.grant(number)

    def _returned(self, holder: Any) -> None:
        checkout = self._checkouts.pop(holder, None)
        if checkout is not None:
            checkout.end()


def _is_pooled(connection: Any) -> bool:
    """Whether the connection is lent by an asyncpg pool; SQLAlchemy's are not."""
    return connection._proxy is not None


def _kind(statement: str) -> OperationKind:
    words = statement.upper().replace(";", " ").split(None, 3)
    # ROLLBACK TO a savepoint, ROLLBACK WORK TO one, COMMIT PREPARED: no transaction ends.
    if not words or {"TO", "PREPARED"}.intersection(words[1:3]):
        return OperationKind.STATEMENT
    return KEYWORDS.get(words[0], OperationKind.STATEMENT)


def _outcome(error: BaseException) -> Outcome:
    """How a wait ended that got no connection."""
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    return Outcome.CANCELLED if isinstance(error, asyncio.CancelledError) else Outcome.ERROR


def _describe(pool: Any) -> PoolRecord:
    return PoolRecord(
        library="asyncpg",
        kind=type(pool).__name__,
        name="postgresql+asyncpg",
        size=pool.get_max_size(),
        max_overflow=0,
        timeout_s=None,
    )
