"""The SQLAlchemy probe: every pool, checkout, operation and session of the process.

Statements and returns come from class-level event listeners, which see every engine. SQLAlchemy
has no event for the wait, for the end of a commit or a rollback, nor for a reset's, so those
methods are wrapped. In asyncio mode all of this runs in the greenlet that carries its task's
context, hence a context variable finds what belongs together.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.model import OperationKind, Outcome
from poolhog.probes.guard import guard
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


def watch_pools(recorder: Recorder, patches: Patches) -> None:
    """Record pools, checkouts and operations."""
    from sqlalchemy import event
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.cursor import BufferedRowCursorFetchStrategy
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.pool import Pool, base

    probe = _PoolProbe(recorder)
    patches.wrap(Pool, "connect", probe.wrap_connect)
    patches.wrap(
        base._ConnectionRecord,
        "_ConnectionRecord__connect",
        probe.wrapper(lambda *_: probe.begin_in_wait(OperationKind.CONNECT)),
    )
    patches.wrap(
        DefaultDialect,
        "_do_ping_w_event",
        probe.wrapper(lambda *_: probe.begin_in_wait(OperationKind.PING)),
    )
    for name, kind in TRANSACTION_METHODS.items():
        patches.wrap(Connection, name, probe.wrapper(_transaction_step(probe, kind)))
    for name in ("_buffer_rows", "fetchmany", "fetchall"):
        patches.wrap(BufferedRowCursorFetchStrategy, name, probe.wrapper(probe.begin_fetch))
    patches.wrap(base._ConnectionFairy, "_reset", probe.wrapper(probe.begin_reset))
    patches.wrap(Connection, "_handle_dbapi_exception", probe.wrap_exception_handler)

    # Listening sets this for good, and an engine without listeners is faster without it.
    if not Engine._has_events:
        patches.on_restore(lambda: setattr(Engine, "_has_events", _is_listened_to(Engine)))
    for target, name, listener in (
        (Pool, "checkin", guard(recorder, probe.returned)),
        (Pool, "detach", guard(recorder, probe.detached)),
        (Engine, "before_cursor_execute", guard(recorder, probe.statement_begins)),
        (Engine, "after_cursor_execute", guard(recorder, probe.statement_ends)),
    ):
        event.listen(target, name, listener)
        patches.on_restore(_removal(event.remove, target, name, listener))


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

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
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

    def wrapper(self, begin: Callable[..., OperationRecord | None]) -> Callable[[Method], Method]:
        """A wrapper that records the method's run as the operation that ``begin`` makes."""
        guarded = guard(self._recorder, begin)

        def wrap(method: Method) -> Method:
            def operation(*args: Any, **kwargs: Any) -> Any:
                record = guarded(*args, **kwargs)
                if record is None:
                    return method(*args, **kwargs)
                try:
                    result = method(*args, **kwargs)
                except BaseException as error:
                    record.end(error)
                    raise
                record.end()
                return result

            return operation

        return wrap

    def wrap_exception_handler(self, handle: Method) -> Method:
        """Wrap ``_handle_dbapi_exception``, which sees whatever ends a statement early."""
        fail = guard(self._recorder, _fail_statement)

        def handle_dbapi_exception(
            connection: Any, error: BaseException, *rest: Any, **kw: Any
        ) -> Any:
            fail(connection, error)
            return handle(connection, error, *rest, **kw)

        return handle_dbapi_exception

    def begin_in_wait(self, kind: OperationKind) -> OperationRecord | None:
        """A connect or ping for the checkout that this context waits for."""
        checkout = asking.get()
        return self._recorder.operate(checkout, kind) if checkout is not None else None

    def begin_step(self, connection: Any, kind: OperationKind) -> OperationRecord | None:
        """A step of a transaction; in autocommit there is none."""
        checkout = _checkout_of(connection)
        if checkout is None or connection._is_autocommit_isolation():
            return None
        checkout.in_transaction = kind is OperationKind.BEGIN
        return self._recorder.operate(checkout, kind)

    def begin_reset(
        self, fairy: Any, pool: Any, transaction_was_reset: bool, *rest: Any, **kwargs: Any
    ) -> OperationRecord | None:
        """The reset on return; drivers send nothing if the transaction is over."""
        checkout = _attribute(fairy, CHECKOUT)
        if checkout is None:
            return None
        style = getattr(pool._reset_on_return, "name", "")
        statement = {"reset_rollback": "ROLLBACK", "reset_commit": "COMMIT"}.get(style)
        if transaction_was_reset or checkout.in_transaction is False:
            statement = None
        return self._recorder.operate(checkout, OperationKind.RESET, statement)

    def statement_begins(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        """The listener of ``before_cursor_execute``."""
        checkout = _checkout_of(connection)
        if checkout is not None:
            self._recorder.operate(checkout, OperationKind.STATEMENT, statement)

    def statement_ends(self, connection: Any, *_: Any) -> None:
        """The listener of ``after_cursor_execute``."""
        checkout = _checkout_of(connection)
        if checkout is not None and checkout.operation is not None:
            checkout.operation.end()

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
        return self._recorder.ask(record)

    def _grant(self, checkout: CheckoutRecord, fairy: Any) -> None:
        record = fairy._connection_record
        number = self._numbers.get(record)
        if number is None:
            number = self._numbers[record] = next(checkout.pool.connections)
        setattr(record, CHECKOUT, checkout)
        setattr(fairy, CHECKOUT, checkout)
        checkout.grant(number)


def _transaction_step(
    probe: _PoolProbe, kind: OperationKind
) -> Callable[..., OperationRecord | None]:
    return lambda connection, *_, **__: probe.begin_step(connection, kind)


def _removal(remove: Method, target: Any, name: str, listener: Any) -> Callable[[], None]:
    return lambda: remove(target, name, listener)


def _is_listened_to(engine_class: Any) -> bool:
    """Whether somebody listens to the class's events."""
    dispatch = engine_class.dispatch
    return any(
        getattr(dispatch, name)._clslevel.get(engine_class) for name in dispatch._event_names
    )


def _attribute(of: Any, name: str) -> Any:
    """What the probe left there; not what a proxy would look up in the connection behind it."""
    return vars(of).get(name)


def _checkout_of(connection: Any) -> CheckoutRecord | None:
    fairy = connection._dbapi_connection
    return getattr(fairy, "__dict__", {}).get(CHECKOUT) if fairy is not None else None


def _fail_statement(connection: Any, error: BaseException) -> None:
    checkout = _checkout_of(connection)
    if checkout is not None and checkout.operation is not None:
        checkout.operation.end(error)


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
