"""SQLAlchemy's pools: every one of the process, and every checkout.

SQLAlchemy has no event for the wait, and its events for the return do not tell one checkout from
another where a pool lends a connection several times at once. So the probe wraps the two functions
through which every connection goes: ``_ConnectionFairy._checkout``, which all pools ask, and
``_finalize_fairy``, which takes back what is returned or collected. In asyncio mode all of this
runs in the greenlet that carries its task's context, hence a context variable finds what belongs
together.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind, Outcome
from poolhog.probes.guard import before, recording
from poolhog.probes.pools import CHECKOUT, PoolHooks
from poolhog.probes.sqlalchemy.names import EngineNames
from poolhog.probes.sqlalchemy.operations import RETURNING, watch_operations
from poolhog.probes.waits import Waits, waiting
from poolhog.recording.pools import PoolRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord

    Lent = dict[CheckoutRecord, weakref.ref[Any]]
    Returning = tuple[CheckoutRecord, Outcome]

LENT = "_poolhog_lent"
"""The attribute of a pool's connection record: its checkouts, and the fairies that they got.

There is one at a time, but a ``StaticPool`` lends its only connection several times at once.
"""


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools, checkouts and operations."""
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.exc import TimeoutError as PoolTimeout
    from sqlalchemy.pool import Pool, base

    operations = watch_operations(recorder, patches)
    names = EngineNames(recorder)
    patches.wrap(Engine, "__init__", before(recorder, names.learn))
    probe = SQLAlchemyHooks(recorder, operations.watch_statements, names)
    waits = Waits(recorder, probe.check_out, probe.grant, PoolTimeout)
    patches.wrap(base._ConnectionFairy, "_checkout", waits.wrap)
    for target, name, kind in (
        (base._ConnectionRecord, "_ConnectionRecord__connect", OperationKind.CONNECT),
        (DefaultDialect, "_do_ping_w_event", OperationKind.PING),
    ):
        patches.wrap(target, name, recording(recorder, probe.in_wait(kind)))
    patches.wrap(base, "_finalize_fairy", recording(recorder, probe.begin_return))
    patches.wrap(base._ConnectionFairy, "detach", before(recorder, probe.detach))
    patches.wrap(Pool, "_return_conn", before(recorder, probe.return_connection))
    # A pool that takes the place of one that was disposed of was made by no engine.
    patches.wrap(Dialect, "engine_created", before(recorder, probe.create))


class SQLAlchemyHooks(PoolHooks):
    """The hooks of one recorder."""

    def __init__(
        self, recorder: Recorder, watch_statements: Callable[[type], None], names: EngineNames
    ) -> None:
        super().__init__(recorder, functools.partial(_describe, names))
        self._watch_statements = watch_statements

    def check_out(
        self, _: Any, pool: Any, threadconns: Any = None, fairy: Any = None
    ) -> CheckoutRecord | None:
        """The pool is asked for a connection."""
        # A `SingletonThreadPool` lends nothing to a thread that has its connection already.
        if fairy is not None:
            return None
        # Not by way of ask(): each frame is walked over to find the application's.
        return self._recorder.ask(pool.__dict__.get(self._pool) or self.learn(pool))

    def learn(self, pool: Any) -> PoolRecord:
        """The pool is new, and perhaps its dialect."""
        record = super().learn(pool)
        self._watch_statements(type(pool._dialect))
        return record

    def grant(self, checkout: CheckoutRecord, fairy: Any) -> None:
        """The pool lent a connection, in the form of a fairy."""
        record = fairy._connection_record
        fairy.__dict__[CHECKOUT] = checkout
        lent: Lent | None = record.__dict__.get(LENT)
        if lent is None:
            lent = record.__dict__[LENT] = {}
        lent[checkout] = weakref.ref(fairy, _gone)
        self._recorder.grant(checkout, self.number(checkout, record), record)

    def create(self, _: Any, engine: Any) -> None:
        """``Dialect.engine_created``, which ``create_engine`` calls at last."""
        self.made(engine.pool, _database_of(engine))

    def in_wait(self, kind: OperationKind) -> Callable[..., OperationRecord | None]:
        """Begins a connect or ping for the checkout that this context waits for."""

        def begin(*_: Any) -> OperationRecord | None:
            checkout = waiting()
            return self._recorder.operate(checkout, kind) if checkout is not None else None

        return begin

    def begin_return(
        self,
        _: Any,
        record: Any,
        pool: Any,
        echo: Any,
        transaction_was_reset: bool = False,
        fairy: Any = None,
        *__: Any,
    ) -> _Return | None:
        """``_finalize_fairy`` resets a connection, and hands it to the pool."""
        if record is None or self._begin_return(record, fairy) is None:
            return None
        return _Return(self, record)

    def end_return(self, record: Any) -> None:
        """The pool has the connection, if it did not have it before."""
        if RETURNING in record.__dict__:
            self._end_return(record)

    def return_connection(self, _: Any, record: Any) -> None:
        """``Pool._return_conn`` begins: once it runs, the pool may lend the connection again."""
        if RETURNING in record.__dict__:
            self._end_return(record)

    def _begin_return(self, record: Any, fairy: Any) -> Returning | None:
        """The checkout that is over; without a fairy, that of one that is gone."""
        if fairy is not None:
            checkout: CheckoutRecord | None = fairy.__dict__.get(CHECKOUT)
            outcome = Outcome.RETURNED
        else:
            lent: Lent = record.__dict__.get(LENT, {})
            checkout = next((c for c, reference in lent.items() if reference() is None), None)
            outcome = Outcome.COLLECTED
        if checkout is None or checkout.done:
            return None
        returning = checkout, outcome
        record.__dict__[RETURNING] = returning
        return returning

    def _end_return(self, record: Any) -> None:
        checkout, outcome = record.__dict__.pop(RETURNING)
        self._end(record, checkout, outcome)

    def detach(self, fairy: Any) -> None:
        """``_ConnectionFairy.detach``: the pool lends another connection instead."""
        record = fairy._connection_record
        if record is None:
            return
        # A connection that cannot be reset is detached from its pool when it is collected.
        returning = record.__dict__.pop(RETURNING, None)
        if returning is not None:
            self._end(record, *returning)
        elif CHECKOUT in fairy.__dict__:
            self._end(record, fairy.__dict__[CHECKOUT], Outcome.DETACHED)

    def _end(self, record: Any, checkout: CheckoutRecord, outcome: Outcome) -> None:
        del record.__dict__[LENT][checkout]
        self._recorder.end(checkout, outcome)


class _Return:
    """A return that ends the checkout, if nothing did before."""

    __slots__ = ("_hooks", "_record")

    def __init__(self, hooks: SQLAlchemyHooks, record: Any) -> None:
        self._hooks = hooks
        self._record = record

    def end(self, _: BaseException | None = None) -> None:
        """``_finalize_fairy`` is over."""
        self._hooks.end_return(self._record)


def _gone(_: weakref.ref[Any]) -> None:
    """Nothing to do: a reference that has a callback is dead before any callback runs."""


def _database_of(engine: Any) -> Hashable:
    """What identifies the database of an engine and its user; ``None`` if that is not known."""
    url, creator = engine.url, engine.pool._creator
    # Whatever connects in place of it may be told of another database each time.
    if getattr(creator, "__module__", None) != "sqlalchemy.engine.create":
        return None
    query = {name: str(url.query[name]) for name in _IDENTIFYING if name in url.query}
    if url.get_backend_name() == "sqlite" and ("mode" in query or url.database in _IN_MEMORY):
        return None
    names = url.drivername, url.username, url.host, url.port, url.database
    return *names, *query.items()


_IDENTIFYING = ("host", "port", "service", "dsn", "odbc_connect", "unix_socket", "mode")
_IN_MEMORY = (None, "", ":memory:")


def _describe(names: EngineNames, pool: Any) -> PoolRecord:
    size = getattr(pool, "size", None)
    dialect = getattr(pool, "_dialect", None)
    return PoolRecord(
        library="sqlalchemy",
        kind=type(pool).__name__,
        name=getattr(pool, "logging_name", None) or names.name(pool),
        # A method, but for the pool that has one connection per thread.
        size=size() if callable(size) else size,
        max_overflow=getattr(pool, "_max_overflow", None),
        timeout_s=getattr(pool, "_timeout", None),
        dialect=getattr(dialect, "name", None),
        # A pool that keeps no connections is one class for both.
        is_async=getattr(pool, "_is_asyncio", False) or getattr(dialect, "is_async", False),
    )
