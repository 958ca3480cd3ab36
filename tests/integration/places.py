"""Where a line of a test is, so that what a trace says of it can be compared."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def line_of(function: Callable[..., Any], text: str) -> tuple[str, int]:
    """The file and the number of the function's only line that has this text in it."""
    lines, first = inspect.getsourcelines(function)
    (found,) = (first + at for at, line in enumerate(lines) if text in line)
    return inspect.getsourcefile(function) or "", found
