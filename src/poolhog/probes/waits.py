"""The wait for a connection: from asking a pool to getting a connection, or giving up.

A pool may take its connections from another pool: SQLAlchemy's, whose ``creator`` asks one of
asyncpg's or psycopg's. The application talks to the outer one, and only its checkout is recorded:
what is asked for while the outer pool waits is a part of that wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from poolhog.model import Outcome
from poolhog.probes.guard import guard, reset
from poolhog.recording.recorder import asking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
        self._ask = guard(recorder, ask)
        self._grant = guard(recorder, grant)
        self._give_up = guard(recorder, recorder.give_up)
        self._timeout = timeout

    def wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a method that blocks its thread, or switches to another greenlet."""

        def asked(*args: Any, **kwargs: Any) -> Any:
            checkout = self._ask(*args, **kwargs) if waiting() is None else None
            if checkout is None:
                return method(*args, **kwargs)
            token = asking.set(checkout)
            try:
                lent = method(*args, **kwargs)
            except BaseException as error:
                self._give_up(checkout, self._outcome(error), error)
                raise
            finally:
                reset(asking, token)
            self._grant(checkout, lent)
            return lent

        return asked

    def wrap_async(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Wrap a coroutine function."""

        async def asked(*args: Any, **kwargs: Any) -> Any:
            checkout = self._ask(*args, **kwargs) if waiting() is None else None
            if checkout is None:
                return await method(*args, **kwargs)
            token = asking.set(checkout)
            try:
                lent = await method(*args, **kwargs)
            except BaseException as error:
                self._give_up(checkout, self._outcome(error), error)
                raise
            finally:
                reset(asking, token)
            self._grant(checkout, lent)
            return lent

        return asked

    def _outcome(self, error: BaseException) -> Outcome:
        if isinstance(error, self._timeout):
            return Outcome.TIMEOUT
        return Outcome.CANCELLED if isinstance(error, asyncio.CancelledError) else Outcome.ERROR
