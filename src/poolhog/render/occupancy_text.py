"""The occupancy of pools for a terminal: a chart of the connections, and a row for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.occupancy import STACKED, ceiling
from poolhog.render.palette import PAINTS, TERMINAL_MUTED
from poolhog.render.svg import MOST_ROWS, folded
from poolhog.render.timeline import lane_names, pool_names
from poolhog.render.timeline_text import axis, cell, legend, queue_cells, shortened
from poolhog.render.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.occupancy import Bin, Occupancy
    from poolhog.model import Pool
    from poolhog.render.timeline_text import Cell

CHART_ROWS = 10
LONGEST_LABEL = 24


def labels_width(pools: Sequence[Pool]) -> int:
    """The columns that labels take, and the space after them."""
    longest = max(map(len, pool_names(pools).values()), default=0)
    return min(max(longest, len("connection")), LONGEST_LABEL) + 5


def occupancy_text(occupancy: Occupancy, *, width: int, zero: float) -> Text:
    """The picture, readable without colour, a column for each bin.

    ``width`` is that of the terminal; the occupancy has as many bins as fit beside the labels.
    The axis counts from ``zero``.
    """
    names = lane_names([(lane.pool, lane.number) for lane in occupancy.lanes])
    most = max(b.most_waiting for b in occupancy.bins)
    margin = width - len(occupancy.bins)
    span = occupancy.duration / len(occupancy.bins)

    def row(label: str, *cells: Cell) -> Text:
        return Text.assemble(f"{shortened(label, margin - 1)} ", *cells)

    waiting = row(f"waiting ≤ {most}", queue_cells([b.most_waiting for b in occupancy.bins]))
    lanes = [
        row(name, *(cell(share, span) for share in lane.seconds))
        for name, lane in zip(names, occupancy.lanes, strict=True)
    ]
    head, _, tail = folded(lanes, MOST_ROWS)
    hidden = occupancy.connections - len(head) - len(tail)
    fold = [Text(f"{'…':>{margin - 1}} {count(hidden, 'connection')} not shown", TERMINAL_MUTED)]
    rows = (
        waiting,
        Text(),
        *(row(label, *cells) for label, cells in _chart(occupancy)),
        Text(),
        *head,
        *(fold if hidden else []),
        *tail,
        axis(occupancy.started, occupancy.duration, len(occupancy.bins), margin, zero),
        *legend(occupancy.states, width),
    )
    return Text("\n", no_wrap=True).join(rows)


def _chart(occupancy: Occupancy) -> Iterator[tuple[str, list[Cell]]]:
    """How many connections were lent, row by row from the top, each of so many connections."""
    upper = ceiling(occupancy)
    rows = min(CHART_ROWS, math.ceil(upper))
    for index in reversed(range(rows)):
        middle = upper * (index + 0.5) / rows
        label = f"{upper * (index + 1) / rows:.3g}" if index in (rows - 1, rows // 2 - 1) else ""
        if index == 0:
            label = "checked out"
        yield label, [_level(b, middle) for b in occupancy.bins]


def _level(of: Bin, middle: float) -> Cell:
    """What the connection does that stands at this height of the stack."""
    height = 0.0
    for state in STACKED:
        height += of.lent[state]
        if height > middle:
            return PAINTS[state].glyph, PAINTS[state].terminal
    return " ", "none"
