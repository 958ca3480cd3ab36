"""The promise that a probe never breaks the application, in one place.

``begin`` functions return a record that has an ``end``, or ``None`` if there is nothing to record.
What they raise is counted; the application never sees it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import ContextVar, Token

    from poolhog.recording.recorder import Recorder

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Ending(Protocol):
    """A record of something that takes time."""

    def end(self, error: BaseException | None = None) -> None:
        """It is over, with an exception or without."""


def reset(variable: ContextVar[T], token: Token[T]) -> None:
    """Give a context variable its former value back.

    A coroutine that nobody awaits any more is ended by the garbage collector, in whatever context
    that runs: then the variable was not set there, and nothing needs to be done.
    """
    try:
        variable.reset(token)
    except ValueError:
        return


def guard(recorder: Recorder, hook: Callable[P, R]) -> Callable[P, R | None]:
    """The hook, with its exceptions counted instead of raised; it returns ``None`` then."""

    @functools.wraps(hook)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return hook(*args, **kwargs)
        except Exception:  # whatever it is, it is not the application's
            recorder.failed()
            return None

    return guarded


def recording(
    recorder: Recorder, begin: Callable[..., Ending | None]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A wrapper that records a function's run, from ``begin`` with its arguments to its end."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            try:
                record = begin(*args, **kwargs)
            except Exception:
                recorder.failed()
                record = None
            if record is None:
                return method(*args, **kwargs)
            try:
                result = method(*args, **kwargs)
            except BaseException as error:
                record.end(error)
                raise
            record.end()
            return result

        return recorded

    return wrap


def recording_async(
    recorder: Recorder,
    begin: Callable[..., Ending | None],
    concerns: Callable[[Any], bool] | None = None,
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """A wrapper that records a coroutine function's run.

    It lasts from ``begin`` with its arguments to its end. A run whose first argument ``concerns``
    nobody goes on without another coroutine around it.
    """

    def wrap(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def recorded(*args: Any, **kwargs: Any) -> Any:
            try:
                record = begin(*args, **kwargs)
            except Exception:
                recorder.failed()
                record = None
            if record is None:
                return await method(*args, **kwargs)
            try:
                result = await method(*args, **kwargs)
            except BaseException as error:
                record.end(error)
                raise
            record.end()
            return result

        if concerns is None:
            return recorded

        def passed_on(subject: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
            call = recorded if concerns(subject) else method
            return call(subject, *args, **kwargs)

        return passed_on

    return wrap
