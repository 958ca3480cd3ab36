"""The promise that a probe never breaks the application, in one place.

``begin`` functions return a record that has an ``end``, or ``None`` if there is nothing to record.
What they raise is counted; the application never sees it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from poolhog.probes.wrapping import around, either

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar, Token

    from poolhog.probes.wrapping import Wrap
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


def recording(recorder: Recorder, begin: Callable[..., Ending | None]) -> Wrap:
    """A wrapper that records a function's run, from ``begin`` with its arguments to its end."""
    return around(recorder.failed, begin)


def recording_async(
    recorder: Recorder,
    begin: Callable[..., Ending | None],
    concerns: Callable[[Any], bool] | None = None,
) -> Wrap:
    """A wrapper that records a coroutine function's run.

    It lasts from ``begin`` with its arguments to its end. A run whose first argument ``concerns``
    nobody goes on without another coroutine around it.
    """
    record = around(recorder.failed, begin, awaits=True)
    if concerns is None:
        return record
    return lambda method: either(method, record(method), concerns)


def before(recorder: Recorder, hook: Callable[..., object]) -> Wrap:
    """A wrapper that calls the hook with a function's arguments, before it; or its coroutine."""

    def begin(*args: Any, **kwargs: Any) -> None:
        hook(*args, **kwargs)

    return around(recorder.failed, begin)
