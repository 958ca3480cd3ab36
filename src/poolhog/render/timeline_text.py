"""A timeline or an occupancy for a terminal: a row of glyphs per lane, readable without colour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.timeline import dominant, in_buckets, peaks
from poolhog.render.palette import PAINTS, STACKED, TERMINAL_MUTED, paints_of
from poolhog.render.svg import MOST_ROWS, Item, folded, time_marks
from poolhog.render.timeline import connection_names, lane_names, pool_names
from poolhog.render.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.occupancy import Bin, Occupancy
    from poolhog.analysis.shown import Span
    from poolhog.analysis.timeline import PoolLane, RequestLane, Timeline
    from poolhog.model import Pool

Cell = tuple[str, str]
"""A glyph, or several, and their style."""

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SLIVER = "▏"
_LABEL = 14

_CHART_ROWS = 10
_LONGEST_LABEL = 24


def timeline_text(
    timeline: Timeline,
    *,
    width: int,
    axis_end: float | None = None,
    zero: float | None = None,
) -> Text:
    """The timeline for a terminal of ``width`` columns.

    ``axis_end`` is the instant at which the axis ends, if that is later than the timeline: it
    keeps the picture still while a run goes on. It counts from ``zero``, by default from where the
    timeline starts.
    """
    grid = _Columns(timeline, width, max(timeline.ended, axis_end or 0.0))
    counted_from = timeline.started if zero is None else zero
    named = list(zip(connection_names(timeline.connections), timeline.connections, strict=True))
    rows = (
        *grid.folded(timeline.requests, "request", grid.request),
        Text(),
        grid.queue(),
        Text(),
        *grid.folded(named, "connection", lambda lane: grid.connection(*lane)),
        axis(timeline.started, grid.span, grid.columns, grid.margin, counted_from),
        *legend(timeline.states, width),
    )
    return Text("\n", no_wrap=True).join(rows)


def shortened(label: str, width: int) -> str:
    """A label in ``width`` columns; of a longer one its end, which tells it apart."""
    cut = label if len(label) <= width else f"…{label[1 - width :]}"
    return f"{cut:>{width}}"


class _Columns:
    """Columns of equal time to the right of the labels."""

    def __init__(self, timeline: Timeline, width: int, ended: float) -> None:
        self.timeline = timeline
        self.span = ended - timeline.started
        self.most = max(step.count for step in timeline.waiting)
        names = [lane.label for lane in timeline.requests]
        names += [f"waiting ≤ {self.most}", *connection_names(timeline.connections)]
        self.margin = min(max(len(name) for name in names), max(width // 3, _LABEL)) + 1
        self.columns = max(width - self.margin, 10)

    def column(self, at: float) -> int:
        share = (at - self.timeline.started) / self.span if self.span > 0 else 0.0
        return round(share * self.columns)

    def row(self, label: str, cells: Iterable[Cell]) -> Text:
        return Text.assemble(f"{shortened(label, self.margin - 1)} ", *cells)

    def cells(self, parts: Iterable[Span]) -> list[Cell]:
        begin = self.timeline.started
        found = in_buckets(parts, started=begin, ended=begin + self.span, buckets=self.columns)
        return [cell(share, self.span / self.columns) for share in found]

    def folded(
        self, lanes: Sequence[Item], noun: str, row: Callable[[Item], Text]
    ) -> Iterator[Text]:
        """A row per lane; of too many the first and the last, and a row that says so."""
        head, left_out, tail = folded(lanes, MOST_ROWS)
        yield from map(row, head)
        if left_out:
            note = f"{'…':>{self.margin - 1}} {count(left_out, noun)} not shown"
            yield Text(note, TERMINAL_MUTED)
        yield from map(row, tail)

    def request(self, lane: RequestLane) -> Text:
        return self.row(lane.label, self.cells(lane.intervals))

    def connection(self, name: str, lane: PoolLane) -> Text:
        """The lane's cells, and on each segment the label of its request where it fits."""
        cells = self.cells(part for segment in lane.segments for part in segment.intervals)
        for segment in lane.segments:
            label = self.timeline.requests[segment.lane].label
            left, right = self.column(segment.started), self.column(segment.ended)
            if right - left >= len(label) + 4:
                at = (left + right - len(label)) // 2
                cells[at : at + len(label)] = [(letter, "bold") for letter in label]
        return self.row(name, cells)

    def queue(self) -> Text:
        """How many wait, as heights: the tallest is the most that waited at once."""
        begin = self.timeline.started
        heights = peaks(
            self.timeline.waiting, started=begin, ended=begin + self.span, buckets=self.columns
        )
        return self.row(f"waiting ≤ {self.most}", [queue_cells(heights)])


def queue_cells(heights: Sequence[int]) -> Cell:
    """Heights of which the greatest fills its cell."""
    most = max(heights, default=0)
    blocks = "".join(_EIGHTHS[math.ceil(8 * h / most) if h else 0] for h in heights)
    return blocks, PAINTS[State.WAITING].terminal


def axis(started: float, span: float, columns: int, margin: int, zero: float) -> Text:
    """Labels under the columns, seconds that count from ``zero``."""
    written = ""
    for at, label in time_marks(started, started + span, columns // 10, zero):
        column = round((at - started) / span * columns) if span > 0 else 0
        left = min(column, columns - len(label))
        if not written or left > len(written):
            written = written.ljust(left) + label
    return Text(" " * margin + written, TERMINAL_MUTED)


def cell(share: Mapping[State, float], bucket: float) -> Cell:
    """The glyph of the state that dominates; a moment of holding shows as a sliver at least."""
    holding = {state: share[state] for state in LENT if state in share}
    if holding and sum(holding.values()) < bucket / 2:
        return _SLIVER, PAINTS[max(holding, key=holding.__getitem__)].terminal
    state = dominant(share)
    return (" ", "none") if state is None else (PAINTS[state].glyph, PAINTS[state].terminal)


def legend(states: Collection[State], width: int) -> Iterator[Text]:
    """The meaning of each glyph, in as many rows as needed."""
    entries = [(paint.glyph, paint.label, paint.terminal) for paint in paints_of(states)]
    entries.append((_SLIVER, "held for less than half a column", "none"))
    row = Text()
    for glyph, label, style in entries:
        entry = Text.assemble((glyph, style), f" {label}")
        if row and row.cell_len + 3 + entry.cell_len > width:
            yield row
            row = Text()
        row = Text.assemble(row, "   " if row else "", entry)
    yield row


def labels_width(pools: Sequence[Pool]) -> int:
    """The columns that labels take, and the space after them."""
    longest = max(map(len, pool_names(pools).values()), default=0)
    return min(max(longest, len("connection")), _LONGEST_LABEL) + 5


def occupancy_text(occupancy: Occupancy, *, width: int, zero: float) -> Text:
    """The occupancy for a terminal, a column for each bin.

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
    """The chart of lent connections, row by row from the top, with the labels of its axis."""
    upper = ceiling(occupancy)
    rows = min(_CHART_ROWS, math.ceil(upper))
    for index in reversed(range(rows)):
        middle = upper * (index + 0.5) / rows
        label = f"{upper * (index + 1) / rows:.3g}" if index in (rows - 1, rows // 2 - 1) else ""
        if index == 0:
            label = "checked out"
        yield label, [_level(b, middle) for b in occupancy.bins]


def _level(of: Bin, middle: float) -> Cell:
    """The glyph of the state that the stack has at this height."""
    height = 0.0
    for state in STACKED:
        height += of.lent[state]
        if height > middle:
            return PAINTS[state].glyph, PAINTS[state].terminal
    return " ", "none"


def ceiling(occupancy: Occupancy) -> float:
    """How many connections the chart has room for: all that there can be, or that there were."""
    most = max((sum(b.lent.values()) for b in occupancy.bins), default=0.0)
    return max(occupancy.capacity or 0, round(most, 6), 1.0)
