"""Lines of a stack that stand for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Site


def innermost_line(site: Site | None) -> Site | None:
    """The innermost line of the application; if there is none, the innermost line."""
    if site is None:
        return None
    frame: Site | None = site
    while frame is not None:
        if frame.is_application:
            return frame
        frame = frame.caller
    return site
