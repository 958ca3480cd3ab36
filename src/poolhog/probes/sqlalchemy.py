"""The SQLAlchemy probe: every pool, checkout, operation and session of the process.

Returns come from class-level listeners of the pool, which see every pool. SQLAlchemy has no event
for the wait, nor for the end of a commit, a rollback or a reset, so those methods are wrapped. So
are the dialect's methods that execute: listening to an engine's events would tell the same, but
makes SQLAlchemy dispatch all seven events of a statement instead of none. In asyncio mode all of
this runs in the greenlet that carries its task's context, hence a context variable finds what
belongs together.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind, Outcome
from poolhog.probes.guard import guard, recording
from poolhog.recording.recorder import asking, current_request
from poolhog.recording.records import PoolRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord, StageRecord

    Method = Callable[..., Any]

CHECKOUT = "_poolhog_checkout"
SESSION = "_poolhog_session"
"""Attributes that the probe leaves on SQLAlchemy's objects."""

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


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools, checkouts and operations."""
    from sqlalchemy import event
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.cursor import BufferedRowCursorFetchStrategy
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.pool import Pool, base

    probe = _PoolProbe(recorder, patches)
    patches.wrap(Pool, "connect", probe.wrap_connect)
    for target, name, kind in (
        (base._ConnectionRecord, "_ConnectionRecord__connect", OperationKind.CONNECT),
        (DefaultDialect, "_do_ping_w_event", OperationKind.PING),
    ):
        patches.wrap(target, name, recording(recorder, probe.in_wait(kind)))
    for name, kind in TRANSACTION_METHODS.items():
        patches.wrap(Connection, name, recording(recorder, probe.step(kind)))
    for name in ("_buffer_rows", "fetchmany", "fetchall"):
        patches.wrap(BufferedRowCursorFetchStrategy, name, recording(recorder, probe.begin_fetch))
    patches.wrap(base._ConnectionFairy, "_reset", recording(recorder, probe.begin_reset))
    for name, listener in (
        ("checkin", guard(recorder, probe.returned)),
        ("detach", guard(recorder, probe.detached)),
    ):
        event.listen(Pool, name, listener)
        patches.on_restore(functools.partial(event.remove, Pool, name, listener))


def watch_sessions(recorder: Recorder, patches: Patches) -> None:
    """Record how long a request has a session, which is not how long it has a connection."""
    from sqlalchemy.orm.session import Session

    opened = guard(recorder, lambda session: _open_session(recorder, session))
    closed = guard(recorder, _close_session)

    def wrap_init(init: Method) -> Method:
        def session_init(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            opened(self)

        return session_init

    def wrap_close(close: Method) -> Method:
        def session_close(self: Any) -> None:
            try:
                close(self)
            finally:
                closed(self)

        return session_close

    patches.wrap(Session, "__init__", wrap_init)
    patches.wrap(Session, "close", wrap_close)


class _PoolProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder, patches: Patches) -> None:
        self._recorder = recorder
        self._patches = patches
        self._watched: set[tuple[type, str]] = set()
        self._pools: weakref.WeakKeyDictionary[Any, PoolRecord] = weakref.WeakKeyDictionary()
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def wrap_connect(self, connect: Method) -> Method:
        """Wrap ``Pool.connect``: the wait is what passes inside."""
        ask = guard(self._recorder, self._ask)
        grant = guard(self._recorder, self._grant)

        def pool_connect(pool: Any) -> Any:
            checkout = ask(pool)
            if checkout is None:
                return connect(pool)
            token = asking.set(checkout)
            try:
                fairy = connect(pool)
            except BaseException as error:
                checkout.give_up(_outcome(error))
                raise
            finally:
                asking.reset(token)
            grant(checkout, fairy)
            return fairy

        return pool_connect

    def in_wait(self, kind: OperationKind) -> Callable[..., OperationRecord | None]:
        """Begins a connect or ping for the checkout that this context waits for."""

        def begin(*_: Any) -> OperationRecord | None:
            checkout = asking.get()
            return self._recorder.operate(checkout, kind) if checkout is not None else None

        return begin

    def step(self, kind: OperationKind) -> Callable[..., OperationRecord | None]:
        """Begins a step of a transaction; in autocommit there is none."""
        opens = kind is OperationKind.BEGIN

        def begin(connection: Any, *_: Any, **__: Any) -> OperationRecord | None:
            checkout = _checkout_of(connection)
            if checkout is None or connection._is_autocommit_isolation():
                return None
            checkout.in_transaction = opens
            return self._recorder.operate(checkout, kind)

        return begin

    def begin_reset(
        self, fairy: Any, pool: Any, transaction_was_reset: bool, *_: Any, **__: Any
    ) -> OperationRecord | None:
        """The reset on return; drivers send nothing if the transaction is over."""
        checkout = vars(fairy).get(CHECKOUT)
        if checkout is None:
            return None
        statement = None
        if not transaction_was_reset and checkout.in_transaction is not False:
            style = getattr(pool._reset_on_return, "name", "")
            statement = {"reset_rollback": "ROLLBACK", "reset_commit": "COMMIT"}.get(style)
        return self._recorder.operate(checkout, OperationKind.RESET, statement)

    def begin_statement(
        self, dialect: Any, cursor: Any, statement: str, *rest: Any, **kwargs: Any
    ) -> OperationRecord | None:
        """A statement; those without a context are the dialect's own, on no checkout."""
        context = kwargs.get("context") or (rest[-1] if rest else None)
        connection = getattr(context, "root_connection", None)
        checkout = _checkout_of(connection) if connection is not None else None
        if checkout is None:
            return None
        return self._recorder.operate(checkout, OperationKind.STATEMENT, statement)

    def begin_fetch(self, strategy: Any, result: Any, *_: Any) -> OperationRecord | None:
        """Rows of a result that is streamed; others come with their statement."""
        checkout = _checkout_of(result.connection)
        return self._recorder.operate(checkout, OperationKind.FETCH) if checkout else None

    def returned(self, dbapi_connection: Any, record: Any) -> None:
        """The listener of ``checkin``, which fires just before the pool has the connection."""
        _end_checkout(record, Outcome.RETURNED)

    def detached(self, dbapi_connection: Any, record: Any) -> None:
        """The listener of ``detach``: the pool lends another instead."""
        _end_checkout(record, Outcome.DETACHED)

    def _ask(self, pool: Any) -> CheckoutRecord:
        record = self._pools.get(pool)
        if record is None:
            record = self._recorder.pool(_describe(pool))
            self._pools[pool] = record
            self._watch_statements(type(pool._dialect))
        return self._recorder.ask(record)

    def _watch_statements(self, dialect: type) -> None:
        """Wrap the methods that send statements, in the classes that define them."""
        wrap = recording(self._recorder, self.begin_statement)
        for owner in dialect.__mro__:
            for name in EXECUTE_METHODS:
                if name in vars(owner) and (owner, name) not in self._watched:
                    self._watched.add((owner, name))
                    self._patches.wrap(owner, name, wrap)

    def _grant(self, checkout: CheckoutRecord, fairy: Any) -> None:
        record = fairy._connection_record
        number = self._numbers.get(record)
        if number is None:
            number = self._numbers[record] = next(checkout.pool.connections)
        setattr(record, CHECKOUT, checkout)
        setattr(fairy, CHECKOUT, checkout)
        checkout.grant(number)


def _checkout_of(connection: Any) -> CheckoutRecord | None:
    """The connection's checkout; a connection that no pool lent has none."""
    fairy = connection._dbapi_connection
    try:
        # Not as an attribute: a proxy would look that up in the connection behind it.
        found: CheckoutRecord | None = fairy.__dict__.get(CHECKOUT)
    except AttributeError:
        return None
    return found


def _end_checkout(record: Any, outcome: Outcome) -> None:
    checkout = vars(record).pop(CHECKOUT, None)
    if checkout is not None:
        if checkout.operation is not None:
            checkout.operation.end()
        checkout.end(outcome)


def _outcome(error: BaseException) -> Outcome:
    """How a wait ended that got no connection."""
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    if isinstance(error, PoolTimeout):
        return Outcome.TIMEOUT
    return Outcome.CANCELLED if isinstance(error, asyncio.CancelledError) else Outcome.ERROR


def _describe(pool: Any) -> PoolRecord:
    size = getattr(pool, "size", None)
    dialect = getattr(pool, "_dialect", None)
    driver = f"{getattr(dialect, 'name', 'unknown')}+{getattr(dialect, 'driver', 'unknown')}"
    return PoolRecord(
        library="sqlalchemy",
        kind=type(pool).__name__,
        name=getattr(pool, "logging_name", None) or driver,
        size=size() if callable(size) else None,
        max_overflow=getattr(pool, "_max_overflow", None),
        timeout_s=getattr(pool, "_timeout", None),
    )


def _open_session(recorder: Recorder, session: Any) -> None:
    request = current_request.get()
    if request is not None and not request.done:
        setattr(session, SESSION, recorder.stage(request, "session"))


def _close_session(session: Any) -> None:
    stage: StageRecord | None = vars(session).get(SESSION)
    if stage is not None:
        stage.end()
