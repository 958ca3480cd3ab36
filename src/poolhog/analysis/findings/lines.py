"""Lines of the application in a stack: the one to change, and others that tell of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Site


@dataclass(frozen=True, slots=True)
class NamedLine:
    """The line to change, and what was called from there, the innermost last.

    If it ``is_dependency``, it is where the dependency is defined that keeps the connection.
    """

    site: Site | None
    awaiting: tuple[Site, ...] = ()
    is_dependency: bool = False


NOWHERE = NamedLine(None)


@functools.lru_cache(maxsize=10_000)
def departure(seen: Site | None, before: Site | None) -> NamedLine:
    """The first line of the application in which ``seen`` differs from the stack ``before`` it.

    Both are walked from the outermost frame inwards; the frames that they share led to both. So the
    line is in the function that did both, or in the outermost one that did only the second. If all
    lines are the same, it is the innermost line of the application.
    """
    if seen is None:
        return NOWHERE
    frames = seen.stack[::-1]
    lines = [index for index, frame in enumerate(frames) if frame.is_application]
    if not lines:
        return NamedLine(None, frames)
    common = 0
    known = [frame for frame in before.stack[::-1] if frame.is_application] if before else []
    for index, frame in zip(lines[:-1], known, strict=False):
        if not same_line(frames[index], frame):
            break
        common += 1
    at = lines[common]
    return NamedLine(frames[at], frames[at + 1 :])


def same_line(one: Site, other: Site) -> bool:
    """Whether both are the same line of the same function, whoever called it."""
    return (one.line, one.function, one.file) == (other.line, other.function, other.file)


def is_elsewhere(seen: Site, asked_at: Site | None) -> bool:
    """Whether the outermost function that asked was left: others went on with the request."""
    if asked_at is None:
        return False
    outermost = asked_at.stack[-1]
    return not any(
        (frame.function, frame.file) == (outermost.function, outermost.file)
        for frame in seen.stack
        if frame.is_application
    )


def outermost_line(site: Site | None) -> Site | None:
    """The outermost line of the application; if there is none, the outermost line."""
    stack = site.stack[::-1] if site is not None else ()
    return next((frame for frame in stack if frame.is_application), next(iter(stack), None))
