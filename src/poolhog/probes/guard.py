"""The promise that a probe never breaks the application, in one place."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.recorder import Recorder

P = ParamSpec("P")
R = TypeVar("R")


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
