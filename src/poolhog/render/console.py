"""What verbs share on the terminal: the console, the progress bar, how numbers are written."""

from __future__ import annotations

import math
import re
import textwrap
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNLIMITED = 10_000
_NARROWEST = 20
_MOST_PIDS = 4
_UNIT = re.compile(r"(?<=\d) (?=(?:m?s|%)(?!\w))")


def console(*, stderr: bool = False) -> Console:
    """Results go to standard output, progress and errors to standard error.

    Colour is left out where it is not wanted: with NO_COLOR, and in pipes and files. A text is what
    it is: square brackets are no styles, and names between colons no emoji.
    """
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def wide_console() -> Console:
    """The same for standard output, with lines as long as they are in pipes and files."""
    out = console()
    if not out.is_terminal:
        out.width = _UNLIMITED
    return out


def note(text: str) -> None:
    """Tell on standard error, in a line, what is not the result."""
    typer.echo(f"poolhog: {visible(text)}", err=True)


def progress(target: Console | None = None) -> Progress:
    """A progress bar with a description, a count and the time since it began."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=target or console(stderr=True),
    )


def seconds(value: float) -> str:
    """A duration with three digits, such as ``5.02 s`` or ``12.3 ms``; two decimals below 1 ms."""
    if abs(value) >= 0.9995:
        return f"{_three_digits(value)} s"
    milliseconds = value * 1000
    if abs(milliseconds) >= 0.995:
        return f"{_three_digits(milliseconds)} ms"
    if abs(milliseconds) >= 0.005:
        return f"{milliseconds:.2f} ms"
    # What is left of a difference of instants, which are whole microseconds, is nothing.
    return "<0.01 ms" if abs(milliseconds) > 1e-6 else "0 s"


def folded_lines(text: str, width: int, hanging: int = 0) -> list[str]:
    """The text in lines of so many columns, all but the first indented; numbers keep their unit."""
    lines = textwrap.wrap(
        _UNIT.sub("\xa0", text),
        max(width, _NARROWEST),
        subsequent_indent=" " * hanging,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


def count(number: int, noun: str) -> str:
    """Such as ``1 request`` or ``1,000 requests``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def pids_told(pids: Sequence[int]) -> str:
    """Such as ``process 7`` or ``processes 1, 2, 3, 4 and 12 more``."""
    shown = ", ".join(map(str, pids[:_MOST_PIDS]))
    more = f" and {len(pids) - _MOST_PIDS:,} more" if len(pids) > _MOST_PIDS else ""
    return f"{'process' if len(pids) == 1 else 'processes'} {shown}{more}"


def _three_digits(value: float) -> str:
    rounded = float(f"{abs(value):.3g}")
    digits = min(2, max(0, 2 - math.floor(math.log10(rounded))))
    return f"{value:,.{digits}f}"
