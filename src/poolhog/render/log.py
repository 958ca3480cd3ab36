"""The log of a request's connections, for the terminal: one, or several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.words import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.log import LogLine

NARROWEST_COLUMN = 38
_BETWEEN = 3


def log_text(lines: Sequence[LogLine], *, width: int) -> Table:
    """The lines with their milliseconds since the request started; long ones are folded.

    An arrow marks the response: what stands below it happened when the client had its answer.
    """
    table = Table.grid(padding=(0, 1))
    table.width = width
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=1)
    table.add_column(ratio=1, overflow="fold")
    for line in lines:
        style = f"bold {TERMINAL_ACCENT}" if line.is_response else ""
        table.add_row(
            Text(milliseconds(line.at), TERMINAL_MUTED),
            Text("→" if line.is_response else "", style),
            Text(line.what, style),
        )
    return table


def logs_side_by_side(logs: Sequence[tuple[str, Sequence[LogLine]]], *, width: int) -> Table:
    """Logs under their titles, in columns as far as these stay wide enough to read."""
    across = max(1, min(len(logs), (width + _BETWEEN) // (NARROWEST_COLUMN + _BETWEEN)))
    column = (width - _BETWEEN * (across - 1)) // across
    table = Table.grid(padding=(0, _BETWEEN, 0, 0))
    for _ in range(across):
        table.add_column(width=column, vertical="top")
    for first in range(0, len(logs), across):
        row = logs[first : first + across]
        if first:
            table.add_row()
        table.add_row(*(Text(title, "bold") for title, _ in row))
        table.add_row(*(log_text(lines, width=column) for _, lines in row))
    return table
