"""A stack for a terminal: the application's frames, and as many of the libraries' as are needed."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.palette import TERMINAL_MUTED
from poolhog.render.words import count, path_and_line, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.model import Site

_INNERMOST = 2
"""Innermost library frames that are shown, besides the one that the application called."""


def stack_lines(site: Site | None, *, every: bool, width: int) -> Iterator[Text]:
    """The frames, the innermost first; runs of library frames are folded if not ``every``."""
    if site is None:
        return
    for shown in _folded(site.stack, every=every):
        yield _frame(shown, width) if not isinstance(shown, int) else _fold(shown)


def _folded(stack: Sequence[Site], *, every: bool) -> Iterator[Site | int]:
    """Frames to show, and the number of those that are not."""
    own = any(frame.is_application for frame in stack)
    for index, (is_application, run) in enumerate(groupby(stack, lambda f: f.is_application)):
        frames = list(run)
        innermost = index == 0
        if every or is_application or not own:
            yield from frames
        elif innermost and len(frames) > _INNERMOST + 2:
            # Where it is stuck, and what the application called to get there.
            yield from frames[:_INNERMOST]
            yield len(frames) - _INNERMOST - 1
            yield frames[-1]
        elif innermost:
            yield from frames
        else:
            yield len(frames)


def _frame(frame: Site, width: int) -> Text:
    style = "" if frame.is_application else TERMINAL_MUTED
    name = "bold" if frame.is_application else TERMINAL_MUTED
    line = Text.assemble(
        "      ",
        (short_name(frame.function), name),
        (f" ({path_and_line(frame)})", style),
    )
    if frame.source:
        line.append(f"  {frame.source}", style)
    line.truncate(width, overflow="ellipsis")
    return line


def _fold(frames: int) -> Text:
    return Text(f"      … {count(frames, 'library frame')}", TERMINAL_MUTED)
