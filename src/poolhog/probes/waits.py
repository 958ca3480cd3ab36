"""The wait for a connection: from asking a pool to getting a connection, or giving up.

A pool may take its connections from another pool: SQLAlchemy's, whose ``creator`` asks one of
asyncpg's or psycopg's. The application talks to the outer one, and only its checkout is recorded:
what is asked for while the outer pool waits is a part of that wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from poolhog.model import Outcome
from poolhog.probes.guard import reset
from poolhog.probes.wrapping import around
from poolhog.recording.recorder import asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord

    Ask = Callable[..., CheckoutRecord | None]
    Grant = Callable[[CheckoutRecord, Any], None]


def waiting() -> CheckoutRecord | None:
    """The checkout that this task or thread waits for.

    A task that was started during a wait inherits the variable, and may outlive the wait.
    """
    checkout = asking.get()
    if checkout is None or checkout.outcome is not Outcome.WAITING:
        return None
    return checkout


class Waits:
    """Wraps the methods that ask a pool, and return the connection that it lends.

    ``ask`` gets the method's arguments, and may answer that there is nothing to record; ``grant``
    gets what was lent. ``timeout`` is what the method raises when it has waited in vain.
    """

    def __init__(
        self, recorder: Recorder, ask: Ask, grant: Grant, timeout: type[Exception]
    ) -> None:
        self._ask = ask
        self._grant = grant
        self._give_up = recorder.give_up
        self._timeout = timeout
        self.wrap = around(recorder.failed, self._begin, gives=True)
        """Wraps a method that blocks its thread, or switches to another greenlet."""
        self.wrap_async = around(recorder.failed, self._begin, gives=True, awaits=True)
        """Wraps a coroutine function."""

    def _begin(self, *args: Any, **kwargs: Any) -> _Wait | None:
        checkout = self._ask(*args, **kwargs) if waiting() is None else None
        return _Wait(self, checkout) if checkout is not None else None

    def grant(self, checkout: CheckoutRecord, lent: Any) -> None:
        """A wait is over."""
        self._grant(checkout, lent)

    def give_up(self, checkout: CheckoutRecord, error: BaseException) -> None:
        """A wait was in vain."""
        self._give_up(checkout, self._outcome(error), error)

    def _outcome(self, error: BaseException) -> Outcome:
        if isinstance(error, self._timeout):
            return Outcome.TIMEOUT
        return Outcome.CANCELLED if isinstance(error, asyncio.CancelledError) else Outcome.ERROR


class _Wait:
    """One wait: whatever this task or thread does meanwhile is a part of it."""

    __slots__ = ("_checkout", "_token", "_waits")

    def __init__(self, waits: Waits, checkout: CheckoutRecord) -> None:
        self._waits = waits
        self._checkout = checkout
        self._token = asking.set(checkout)

    def give(self, lent: Any) -> Any:
        """The pool lent a connection."""
        reset(asking, self._token)
        self._waits.grant(self._checkout, lent)
        return lent

    def end(self, error: BaseException) -> None:
        """The pool lent none."""
        try:
            self._waits.give_up(self._checkout, error)
        finally:
            reset(asking, self._token)
