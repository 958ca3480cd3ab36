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
from poolhog.probes.guard import before, recording
from poolhog.recording.recorder import current_request

if TYPE_CHECKING:
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.requests import StageRecord

SESSION = "_poolhog_session"
"""The attribute of a session: the stage of its request that it is."""


def watch_sessions(recorder: Recorder, patches: Patches) -> None:
    """Record how long a request has a session, which is not how long it has a connection."""
    from sqlalchemy.orm.session import Session, SessionTransaction, SessionTransactionState

    def share(_: Any, __: str, state: Any) -> None:
        if state is SessionTransactionState.PROVISIONING_CONNECTION:
            recorder.share()

    patches.wrap(Session, "__init__", recording(recorder, _Opening))
    patches.wrap(Session, "close", recording(recorder, _Closing))
    patches.wrap(SessionTransaction, "_raise_for_prerequisite_state", before(recorder, share))
    patches.wrap(Session, "rollback", noting(recorder, always_asked))
    patches.wrap(SessionTransaction, "rollback", noting(recorder, asked(recorder)))


def watch_connections(recorder: Recorder, patches: Patches) -> None:
    """Tell the rollbacks of connections that the application called for."""
    from sqlalchemy.engine import Connection, Transaction

    patches.wrap(Connection, "rollback", noting(recorder, always_asked))
    patches.wrap(Transaction, "rollback", noting(recorder, asked(recorder)))


def watch_async(recorder: Recorder, patches: Patches) -> None:
    """Tell the exceptions outside of the greenlets and tasks in which things are closed."""
    from sqlalchemy.ext.asyncio import engine, session

    for target in (
        *(engine.AsyncConnection, engine.AsyncTransaction),
        *(session.AsyncSession, session.AsyncSessionTransaction),
        session._AsyncSessionContextManager,
    ):
        patches.wrap(target, "__aexit__", noting_async(recorder, left))
    for target in (engine.AsyncConnection, engine.AsyncTransaction, session.AsyncSession):
        patches.wrap(target, "close", noting_in_task(recorder, handled))


class _Opening:
    """A session is being made."""

    __slots__ = ("_session",)

    def __init__(self, session: Any, *_: Any, **__: Any) -> None:
        self._session = session

    def end(self, error: BaseException | None = None) -> None:
        """It is there, and belongs to the request that runs."""
        request = current_request.get()
        if error is None and request is not None and not request.done:
            setattr(self._session, SESSION, request.begin_stage("session"))


class _Closing:
    """A session is being closed."""

    __slots__ = ("_session",)

    def __init__(self, session: Any, *_: Any, **__: Any) -> None:
        self._session = session

    def end(self, _: BaseException | None = None) -> None:
        """It is closed, as far as that was possible."""
        stage: StageRecord | None = vars(self._session).get(SESSION)
        if stage is not None:
            stage.end()
