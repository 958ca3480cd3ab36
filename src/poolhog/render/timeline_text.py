"""The timeline for a terminal: a row of glyphs per request and per connection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.accounting import GAPS, State
from poolhog.analysis.timeline import dominant, in_buckets, peaks
from poolhog.render.palette import PAINTS, TERMINAL_MUTED, paints_of
from poolhog.render.svg import MOST_ROWS, Item, folded, time_marks
from poolhog.render.timeline import connection_names
from poolhog.render.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Interval
    from poolhog.analysis.timeline import PoolLane, RequestLane, Timeline

Cell = tuple[str, str]
"""A glyph, or several, and their style."""

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SLIVER = "▏"
_LABEL = 14


def timeline_text(
    timeline: Timeline,
    *,
    width: int,
    axis_end: float | None = None,
    zero: float | None = None,
) -> Text:
    """The timeline for a terminal of so many columns, readable without colour.

    ``axis_end`` is the instant at which the axis ends, if that is later than the timeline: it
    keeps the picture still while a run goes on. It counts from ``zero``, by default from where the
    timeline starts.
    """
    grid = _Grid(timeline, width, max(timeline.ended, axis_end or 0.0))
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
    """A label in so many columns; its end, which tells it apart, if all of it is too long."""
    cut = label if len(label) <= width else f"…{label[1 - width :]}"
    return f"{cut:>{width}}"


class _Grid:
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

    def cells(self, parts: Iterable[Interval]) -> list[Cell]:
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
    holding = {state: share[state] for state in (State.BUSY, *GAPS) if state in share}
    if holding and sum(holding.values()) < bucket / 2:
        return _SLIVER, PAINTS[max(holding, key=holding.__getitem__)].terminal
    state = dominant(share)
    return (" ", "none") if state is None else (PAINTS[state].glyph, PAINTS[state].terminal)


def legend(states: Collection[State], width: int) -> Iterator[Text]:
    """What the glyphs mean, in as many rows as they need."""
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
