"""How SQLAlchemy's sessions and connections end: their time, and who asked for a rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.probes.causes import (
    always_asked,
    asked,
    handled,
    left,
    noting,
    noting_async,
    noting_in_task,
)
from poolhog.probes.guard import guard
from poolhog.recording.recorder import current_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import StageRecord

    Method = Callable[..., Any]

SESSION = "_poolhog_session"
"""The attribute of a session: the stage of its request that it is."""


def watch_sessions(recorder: Recorder, patches: Patches) -> None:
    """Record how long a request has a session, which is not how long it has a connection."""
    from sqlalchemy.orm.session import Session, SessionTransaction, SessionTransactionState

    opened = guard(recorder, _open_session)
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

    def wrap_raise(raise_for: Method) -> Method:
        def raise_for_state(self: Any, operation_name: str, state: Any) -> Any:
            if state is SessionTransactionState.PROVISIONING_CONNECTION:
                recorder.share()
            return raise_for(self, operation_name, state)

        return raise_for_state

    patches.wrap(Session, "__init__", wrap_init)
    patches.wrap(SessionTransaction, "_raise_for_prerequisite_state", wrap_raise)
    patches.wrap(Session, "close", wrap_close)
    patches.wrap(Session, "rollback", noting(always_asked))
    patches.wrap(SessionTransaction, "rollback", noting(asked(recorder)))


def watch_connections(recorder: Recorder, patches: Patches) -> None:
    """Tell the rollbacks of connections that the application called for."""
    from sqlalchemy.engine import Connection, Transaction

    patches.wrap(Connection, "rollback", noting(always_asked))
    patches.wrap(Transaction, "rollback", noting(asked(recorder)))


def watch_async(_: Recorder, patches: Patches) -> None:
    """Tell the exceptions outside of the greenlets and tasks in which things are closed."""
    from sqlalchemy.ext.asyncio import engine, session

    for target in (
        *(engine.AsyncConnection, engine.AsyncTransaction),
        *(session.AsyncSession, session.AsyncSessionTransaction),
        session._AsyncSessionContextManager,
    ):
        patches.wrap(target, "__aexit__", noting_async(left))
    for target in (engine.AsyncConnection, engine.AsyncTransaction, session.AsyncSession):
        patches.wrap(target, "close", noting_in_task(handled))


def _open_session(session: Any) -> None:
    request = current_request.get()
    if request is not None and not request.done:
        setattr(session, SESSION, request.begin_stage("session"))


def _close_session(session: Any) -> None:
    stage: StageRecord | None = vars(session).get(SESSION)
    if stage is not None:
        stage.end()
