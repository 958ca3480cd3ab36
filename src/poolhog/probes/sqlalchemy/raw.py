"""What the application sends past SQLAlchemy, on a connection that its pool lent.

``engine.raw_connection()`` and ``Connection.connection`` give the application a fairy. Its cursors
are those of the driver: for asyncpg and psycopg these drivers' own probes record them, for others
they are made by a subclass of the driver's cursor, where the driver can be told of one.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from poolhog.model import Cause, OperationKind
from poolhog.probes.causes import library_test
from poolhog.probes.guard import recording
from poolhog.probes.pools import CHECKOUT
from poolhog.probes.raw_connections import expose
from poolhog.probes.statements import kind_of, text_of
from poolhog.probes.wrapping import around
from poolhog.recording.unseen import unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, OperationRecord

    Method = Callable[..., Any]

FACTORIES = {"psycopg2.extensions": "cursor_factory", "sqlite3": "factory"}
"""The argument that a driver's ``cursor()`` takes a class by, by the module of its connection."""

SENDING = ("execute", "executemany", "executescript", "callproc", "copy_expert")
FETCHING = ("fetchmany", "fetchall")


def watch_raw_connections(recorder: Recorder, patches: Patches) -> None:
    """Record what is sent on connections that the application got out of SQLAlchemy."""
    from sqlalchemy.pool.base import _ConnectionFairy

    probe = _RawProbe(recorder)
    cursor = around(recorder.failed, probe.begin_cursor, changes=True, gives=True)
    patches.wrap(_ConnectionFairy, "cursor", cursor)
    driver_connection = vars(_ConnectionFairy)["driver_connection"]
    expose_it = around(recorder.failed, _Exposing, gives=True)(driver_connection.fget)
    patches.replace(
        _ConnectionFairy, "driver_connection", property(expose_it, doc=driver_connection.__doc__)
    )
    for name, kind in (("commit", OperationKind.COMMIT), ("rollback", OperationKind.ROLLBACK)):
        patches.replace(_ConnectionFairy, name, probe.finish(name, kind))


class _RawProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._is_library = library_test(recorder)
        self._recorded_class = functools.lru_cache(maxsize=100)(self._make_class)

    def begin_cursor(self, fairy: Any, *args: Any, **kwargs: Any) -> _Cursor | None:
        """``_ConnectionFairy.cursor``, which SQLAlchemy calls as well."""
        # Behind the wrapper.
        if self._is_library(sys._getframe(2)):
            return None
        checkout = self._prepare(fairy, args, kwargs)
        return _Cursor(checkout, (fairy, *args), kwargs) if checkout is not None else None

    def finish(self, name: str, kind: OperationKind) -> Method:
        """``commit`` or ``rollback`` of a fairy, which has these from its connection."""

        def send(fairy: Any) -> Any:
            return getattr(fairy.dbapi_connection, name)()

        def begin(fairy: Any) -> OperationRecord | None:
            checkout: CheckoutRecord | None = fairy.__dict__.get(CHECKOUT)
            if checkout is None or not _is_told(fairy.dbapi_connection):
                return None
            checkout.in_transaction = False
            cause = Cause.ASKED if kind is OperationKind.ROLLBACK else None
            return self._recorder.operate(checkout, kind, None, cause)

        is_library = self._is_library

        def begin_by_application(fairy: Any) -> OperationRecord | None:
            # Behind the wrapper.
            return None if is_library(sys._getframe(2)) else begin(fairy)

        send.__name__ = name
        send.__qualname__ = f"_ConnectionFairy.{name}"
        send.__module__ = "sqlalchemy.pool.base"
        return recording(self._recorder, begin_by_application)(unseen(send))

    def _prepare(
        self, fairy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CheckoutRecord | None:
        """Let the driver make a cursor that records, or its probe know; the first is answered."""
        connection = fairy.dbapi_connection
        checkout: CheckoutRecord | None = fairy.__dict__.get(CHECKOUT)
        argument = FACTORIES.get(type(connection).__module__)
        if checkout is None:
            return None
        if argument is None:
            # Noted on the way, as whenever the application asks for it.
            _ = fairy.driver_connection
            return None
        if argument == "factory":
            if args:
                return None
            import sqlite3

            base = kwargs.get(argument, sqlite3.Cursor)
        else:
            base = kwargs.get(argument) or connection.cursor_factory
            if base is None:
                from psycopg2.extensions import cursor as base
        if not isinstance(base, type):  # a function that makes cursors
            return None
        kwargs[argument] = self._recorded_class(base)
        return checkout

    def _make_class(self, base: type) -> type:
        """A subclass of a driver's cursor that records."""
        methods = {
            name: recording(self._recorder, begin)(getattr(base, name))
            for names, begin in ((SENDING, self._begin_statement), (FETCHING, self._begin_fetch))
            for name in names
            if hasattr(base, name)
        }
        return type(base.__name__, (base,), methods)

    def _begin_statement(self, cursor: Any, statement: Any, *_: Any) -> OperationRecord | None:
        checkout = cursor.__dict__.get(CHECKOUT)
        if checkout is None or checkout.done:
            return None
        # A transaction begins unnoticed: nobody knows now whether one is open.
        checkout.in_transaction = None
        text = text_of(statement, cursor)
        return self._recorder.operate(checkout, kind_of(text), text)

    def _begin_fetch(self, cursor: Any, *_: Any) -> OperationRecord | None:
        checkout = cursor.__dict__.get(CHECKOUT)
        # psycopg2 has the rows already, but for those of a cursor that has a name.
        if checkout is None or checkout.done or not getattr(cursor, "name", True):
            return None
        return self._recorder.operate(checkout, OperationKind.FETCH)


class _Cursor:
    """A cursor is made for the application: the arguments say of which class."""

    __slots__ = ("_checkout", "args", "kwargs")

    def __init__(
        self, checkout: CheckoutRecord, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._checkout = checkout
        self.args = args
        self.kwargs = kwargs

    def give(self, cursor: Any) -> Any:
        """The driver made one."""
        cursor.__dict__[CHECKOUT] = self._checkout
        return cursor

    def end(self, _: BaseException | None = None) -> None:
        """The driver made none."""


class _Exposing:
    """The application, or SQLAlchemy, asks a fairy for the driver's connection."""

    __slots__ = ("_fairy",)

    def __init__(self, fairy: Any) -> None:
        self._fairy = fairy

    def give(self, connection: Any) -> Any:
        """It gets it."""
        checkout = self._fairy.__dict__.get(CHECKOUT)
        if checkout is not None and connection is not None and not _is_told(connection):
            expose(connection, checkout)
        return connection

    def end(self, _: BaseException | None = None) -> None:
        """It gets none."""


def _is_told(connection: Any) -> bool:
    """Whether the driver can be told of a class for its cursors."""
    return type(connection).__module__ in FACTORIES
