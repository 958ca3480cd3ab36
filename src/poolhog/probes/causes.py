"""Why there is a rollback: the application called for it, an exception explains it, or neither.

Python tells which exception is being handled, also while a ``with`` block is left or a generator
ends because of one. It does so per thread, greenlet and task: where a library goes on in another of
these, what it did so for is noted in a context variable before.
"""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from poolhog.model import Cause
from poolhog.probes.guard import reset
from poolhog.probes.wrapping import around
from poolhog.recording.unseen import hide, unseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from poolhog.probes.wrapping import Wrap
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord

_noted: ContextVar[Cause | None] = ContextVar("poolhog_cause", default=None)
"""Why something is being rolled back now; what was noted first stays."""


def cause_of(checkout: CheckoutRecord) -> Cause | None:
    """Why a rollback that begins now does."""
    noted = _noted.get()
    if noted is not None:
        return noted
    error = sys.exception()
    return Cause.EXCEPTION if _explains(error) and id(error) != checkout.handled else None


def _explains(error: BaseException | None) -> bool:
    # A generator that was left behind is ended by this one: nothing went wrong.
    return error is not None and not isinstance(error, GeneratorExit)


def asked(recorder: Recorder) -> Callable[..., Cause | None]:
    """The application calls for it; libraries call the same method for reasons of their own."""
    is_library = library_test(recorder)

    def asked_by_application(*_: Any) -> Cause | None:
        # Behind the hook and the wrapper.
        return None if is_library(sys._getframe(2).f_back) else Cause.ASKED

    return asked_by_application


def always_asked(*_: Any) -> Cause:
    """The application calls for it, be it through a library."""
    return Cause.ASKED


def handled(*_: Any) -> Cause | None:
    """An exception is being handled, if there is one."""
    return Cause.EXCEPTION if _explains(sys.exception()) else None


def left(_: Any, __: Any, error: BaseException | None, *___: Any) -> Cause | None:
    """An exception leaves the block, if it is one: for methods named ``__aexit__``."""
    return Cause.EXCEPTION if _explains(error) else None


def noting(recorder: Recorder, cause: Callable[..., Cause | None]) -> Wrap:
    """A wrapper of methods that may roll back: while one runs, its cause is known."""
    return around(recorder.failed, _noted_by(cause))


def noting_async(recorder: Recorder, cause: Callable[..., Cause | None]) -> Wrap:
    """A wrapper of coroutine functions that may roll back, and are awaited where they are called.

    Where there is no cause, nothing is around them.
    """

    def begin(*args: Any, **_: Any) -> _Called | None:
        found = cause(*args) if _noted.get() is None else None
        return _Called(found) if found is not None else None

    return around(recorder.failed, begin, gives=True)


def noting_in_task(recorder: Recorder, cause: Callable[..., Cause | None]) -> Wrap:
    """A wrapper of coroutine functions that may be given to a task, where the cause then is."""
    return around(recorder.failed, _noted_by(cause), awaits=True)


def _noted_by(cause: Callable[..., Cause | None]) -> Callable[..., _Noted | None]:
    def begin(*args: Any, **_: Any) -> _Noted | None:
        found = cause(*args) if _noted.get() is None else None
        return _Noted(found) if found is not None else None

    return begin


class _Noted:
    """A cause that is known until the end."""

    __slots__ = ("_token",)

    def __init__(self, cause: Cause) -> None:
        self._token = _noted.set(cause)

    def end(self, _: BaseException | None = None) -> None:
        reset(_noted, self._token)


class _Called:
    """A coroutine function that was called: the cause is known while its coroutine runs."""

    __slots__ = ("_cause",)

    def __init__(self, cause: Cause) -> None:
        self._cause = cause

    def give(self, call: Awaitable[Any]) -> Awaitable[Any]:
        return _awaited(call, self._cause)

    def end(self, _: BaseException | None = None) -> None:
        """There is no coroutine."""


@unseen
async def _awaited(call: Awaitable[Any], cause: Cause) -> Any:
    """What is awaited, with its cause known meanwhile."""
    token = _noted.set(cause)
    try:
        return await call
    except BaseException as error:
        hide(error)
        raise
    finally:
        reset(_noted, token)


def library_test(recorder: Recorder) -> Callable[[FrameType | None], bool]:
    """Tells whether it is a database library that calls, and not the application."""
    databases = recorder.libraries.databases

    @functools.lru_cache(maxsize=10_000)
    def is_of_library(module: object) -> bool:
        return str(module).partition(".")[0] in databases

    def is_library(caller: FrameType | None) -> bool:
        # A greenlet that begins with the method has no caller: the application awaits it outside.
        return caller is not None and is_of_library(caller.f_globals.get("__name__"))

    return is_library
