"""Frames of poolhog's that ``logging`` takes for its own, and that stand in no traceback.

A library that logs with ``stacklevel`` counts frames, but not those of ``logging`` itself: they are
known by their file. ``warnings`` counts all frames, and so does a library that looks for the level
to warn at: both find the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    F = TypeVar("F", bound=Callable[..., object])

FILE = logging.addLevelName.__code__.co_filename
"""The file whose frames ``logging`` skips; it asks for its own in the same way."""

FIRST_LINE = 1_000_000
"""The first line of code that is unseen: a dump of a stack finds no text of the file's there."""


def unseen(function: F) -> F:
    """Make this function's frames unseen."""
    code = function.__code__
    function.__code__ = unseen_code(code)
    return function


def unseen_code(code: CodeType) -> CodeType:
    """The code, with frames that are unseen."""
    return code.replace(co_filename=FILE, co_firstlineno=FIRST_LINE)


def is_unseen(code: CodeType) -> bool:
    """Whether the code was made by :func:`unseen_code`."""
    return code.co_firstlineno == FIRST_LINE and code.co_filename == FILE


def hide(error: BaseException) -> None:
    """Take the frame that catches an exception, to raise it again, out of its traceback."""
    traceback = error.__traceback__
    if traceback is not None:
        error.__traceback__ = traceback.tb_next
