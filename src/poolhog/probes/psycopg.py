"""The psycopg probe: what is done with the connections of psycopg 3, sync and async.

All that psycopg sends goes through ``Connection.wait``, which drives a generator: its name tells
what it does, and its arguments the statement. Only connections that psycopg_pool lent are recorded,
and those of SQLAlchemy's pools that the application got hold of.
"""

from __future__ import annotations

import functools
from inspect import getgeneratorlocals
from typing import TYPE_CHECKING, Any

from poolhog.model import Cause, OperationKind
from poolhog.probes.causes import asked, cause_of, noting, noting_async
from poolhog.probes.guard import recording, recording_async
from poolhog.probes.pools import CHECKOUT
from poolhog.probes.probe import Probe
from poolhog.probes.raw_connections import exposed
from poolhog.probes.statements import kind_of, text_of
from poolhog.probes.wrapping import around

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from poolhog.probes.guard import Ending
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord

    Steps = Generator[Any, Any, Any]
    Doing = tuple[OperationKind, str | None]

BEGUN = "_poolhog_begun"
"""The attribute of a connection that sends BEGIN: the statement that comes after it."""

_IDLE = 0
"""libpq's status of a connection without a transaction."""


def watch_connections(recorder: Recorder, patches: Patches) -> None:
    """Record the operations of connections that a checkout is of."""
    from psycopg import AsyncConnection, Connection
    from psycopg._connection_base import BaseConnection

    probe = _ConnectionProbe(recorder)
    patches.wrap(Connection, "wait", recording(recorder, probe.begin))
    patches.wrap(AsyncConnection, "wait", recording_async(recorder, probe.begin, _is_lent))
    start = around(recorder.failed, probe.begin_start, yields=True)
    patches.wrap(BaseConnection, "_start_query", start)
    patches.wrap(Connection, "rollback", noting(recorder, asked(recorder)))
    patches.wrap(AsyncConnection, "rollback", noting_async(recorder, asked(recorder)))


class _ConnectionProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def begin_start(self, connection: Any) -> _Starting | None:
        """The generator that sends BEGIN, if need be, before a statement."""
        if BEGUN not in connection.__dict__:
            return None
        return _Starting(functools.partial(self._go_on, connection))

    def begin(self, connection: Any, steps: Steps, *_: Any, **__: Any) -> Ending | None:
        """The operation that a generator is, if it is one to record."""
        checkout = checkout_of(connection)
        if checkout is None or checkout.operation is not None:
            return None
        name = getattr(steps, "__name__", "")
        arguments = getgeneratorlocals(steps) if name in _TELLING else {}
        doing = _doing(connection, name, arguments)
        if doing is None:
            return None
        kind, statement = doing
        if name in _QUERIES and _sends_begin(connection):
            connection.__dict__[BEGUN] = checkout, doing
            self._recorder.operate(checkout, OperationKind.BEGIN, "BEGIN")
            return _Begun(connection, checkout)
        undoes = kind is OperationKind.ROLLBACK
        cause = _cause(checkout, name, arguments) if undoes else None
        return self._recorder.operate(checkout, kind, statement, cause)

    def _go_on(self, connection: Any) -> None:
        """BEGIN is over, the statement begins."""
        checkout, (kind, statement) = connection.__dict__.pop(BEGUN)
        if checkout.operation is not None:
            checkout.operation.end()
            self._recorder.operate(checkout, kind, statement)


class _Starting:
    """BEGIN is being sent; ``go_on`` is called when it was."""

    __slots__ = ("_go_on",)

    def __init__(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on

    def end(self, error: BaseException | None = None) -> None:
        """It was sent, or an exception was raised."""
        if error is None:
            self._go_on()


class _Begun:
    """BEGIN, and the statement after it."""

    def __init__(self, connection: Any, checkout: CheckoutRecord) -> None:
        self._connection = connection
        self._checkout = checkout

    def end(self, error: BaseException | None = None) -> None:
        """Whichever of the two was sent last is over."""
        self._connection.__dict__.pop(BEGUN, None)
        if self._checkout.operation is not None:
            self._checkout.operation.end(error)


def checkout_of(connection: Any) -> CheckoutRecord | None:
    """The checkout that the connection is of."""
    found: CheckoutRecord | None = connection.__dict__.get(CHECKOUT)
    return found if found is not None else exposed(connection)


def _is_lent(connection: Any) -> bool:
    return checkout_of(connection) is not None


def in_transaction(connection: Any) -> bool:
    """Whether a transaction is open on the server, as far as the client knows."""
    return bool(connection.pgconn.transaction_status != _IDLE)


_QUERIES = {
    "_execute_gen": "query",
    "_executemany_gen_pipeline": "query",
    "_executemany_gen_no_pipeline": "query",
    "_stream_send_gen": "query",
    "_declare_gen": "query",
    "_start_copy_gen": "statement",
}
"""The generators that send what the application asked for, and the argument that is the SQL."""

_SETTINGS = frozenset(
    [
        *("_set_autocommit_gen", "_set_isolation_level_gen", "_set_read_only_gen"),
        "_set_deferrable_gen",
    ]
)
"""The generators that send nothing."""

_TELLING = frozenset([*_QUERIES, "_enter_gen", "_exit_gen", "_tpc_finish_gen"])
"""The generators whose arguments tell what they do."""


def _doing(connection: Any, name: str, arguments: dict[str, Any]) -> Doing | None:
    """What a generator does; ``None`` if it sends nothing."""
    if name in _QUERIES:
        text = text_of(arguments[_QUERIES[name]], connection)
        return kind_of(text), text
    if name in ("_enter_gen", "_exit_gen"):
        return _block(name, arguments)
    if name == "_commit_gen":
        return (OperationKind.COMMIT, None) if in_transaction(connection) else None
    if name == "_rollback_gen":
        return (OperationKind.ROLLBACK, None) if in_transaction(connection) else None
    if name == "_tpc_begin_gen":
        return OperationKind.BEGIN, "BEGIN"
    if name == "_tpc_prepare_gen":
        return OperationKind.STATEMENT, "PREPARE TRANSACTION"
    if name == "_tpc_finish_gen":
        return kind_of(str(arguments["action"])), None
    # Rows of a server-side cursor, a stream, a copy or a pipeline, or a notification.
    return None if name in _SETTINGS else (OperationKind.FETCH, None)


def _block(name: str, arguments: dict[str, Any]) -> Doing | None:
    """The beginning or end of a block, of a transaction or else of a pipeline."""
    block = arguments["self"]
    if not hasattr(block, "force_rollback"):
        return (OperationKind.FETCH, None) if name == "_exit_gen" else None
    if name == "_enter_gen":
        if block.pgconn.transaction_status == _IDLE:
            return OperationKind.BEGIN, "BEGIN"
        return OperationKind.STATEMENT, "SAVEPOINT"
    undone = block.force_rollback or arguments["exc_val"] is not None
    if block._outer_transaction:
        return (OperationKind.ROLLBACK if undone else OperationKind.COMMIT), None
    return OperationKind.STATEMENT, "ROLLBACK TO" if undone else "RELEASE"


def _cause(checkout: CheckoutRecord, name: str, arguments: dict[str, Any]) -> Cause:
    """Why a transaction is rolled back; psycopg never does so without being told."""
    if name == "_exit_gen":
        error = arguments["exc_val"]
        by_hand = error is None or type(error).__name__ == "Rollback"
        return Cause.ASKED if by_hand else Cause.EXCEPTION
    if name in _QUERIES:
        return Cause.ASKED
    return cause_of(checkout) or Cause.ASKED


def _sends_begin(connection: Any) -> bool:
    return not connection._autocommit and not in_transaction(connection)


PROBE = Probe(
    watches=(("psycopg", watch_connections),),
    databases=("psycopg",),
    distributions=("psycopg",),
)
