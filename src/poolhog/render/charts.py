"""Charts: the latency of each request, the throughput of each style, the curve of a what-if."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.render.palette import PAINTS, TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.svg import (
    MARGIN,
    MOST_LANES,
    MOST_ROWS,
    WIDTH,
    Element,
    Scale,
    Sheet,
    element,
    folded,
    line,
    rect,
    text,
    text_width,
    ticks,
)
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from poolhog.analysis.replay.study import Study


REST_LABEL = "the rest of the request"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WAIT = PAINTS[State.WAITING]

_BAR_CSS = (
    (".rest", "fill:var(--plain)"),
    (".value", "fill:var(--accent)"),
    (".dash", "stroke:var(--ink);stroke-width:1.3;stroke-dasharray:4 3"),
    (".bound", "stroke:var(--parked);stroke-width:2.5"),
)
_CURVE_CSS = (
    (".curve", "fill:none;stroke:var(--accent);stroke-width:2"),
    (".point", "fill:var(--accent)"),
    (".waits .curve", "stroke:var(--waiting)"),
    (".waits .point", "fill:var(--waiting)"),
    (".now", "stroke:var(--muted);stroke-width:1.2;stroke-dasharray:4 3"),
)

PANEL_HEIGHT = 150.0
"""Pixels of a panel of a curve."""


@dataclass(frozen=True, slots=True)
class LatencyBar:
    """A request: the seconds of its ``latency``, and of its ``wait`` for connections."""

    label: str
    wait: float
    latency: float


@dataclass(frozen=True, slots=True)
class LatencyGroup:
    """The requests of one burst."""

    title: str
    bars: tuple[LatencyBar, ...]


@dataclass(frozen=True, slots=True)
class ExpectedValue:
    """A value that the arithmetic expects, such as twice the latency of the external call."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class ThroughputBar:
    """A style: its requests per second, and the limit that holds for this style alone, if any."""

    label: str
    value: float
    limit: ExpectedValue | None = None


def latency_bars_svg(
    groups: Sequence[LatencyGroup],
    *,
    title: str,
    marks: Sequence[ExpectedValue] = (),
    subtitle: str = "",
    width: float = WIDTH,
) -> str:
    """A bar per request and a panel per group, on one axis of seconds."""
    sheet = Sheet(title, subtitle, width=width)
    sheet.legend([(_WAIT.name, _WAIT.label), ("rest", REST_LABEL)])
    scale = Scale(0.0, _longest(groups, marks), MARGIN + 44, width - MARGIN - 62)
    plot = _Plot(sheet, scale, marks)
    for group in groups:
        sheet.y += 20
        sheet.over(text(MARGIN, sheet.y, group.title, "strong halo"))
        sheet.y += 8
        head, left_out, tail = folded(group.bars, MOST_LANES)
        for index, bar in enumerate((*head, *tail)):
            if left_out and index == len(head):
                sheet.y += 18
                note = f"… {count(left_out, 'request')} not drawn …"
                sheet.over(text(scale.left, sheet.y - 7, note, "small halo"))
            _latency_bar(plot, bar)
            sheet.y += 18
    sheet.y += 4
    plot.finish([(at, f"{at:g} s") for at in ticks(scale.upper, int(scale.width / 70))])
    told = (f"{g.title}: {', '.join(seconds(bar.latency) for bar in g.bars)}." for g in groups)
    return sheet.svg(" ".join(told), _BAR_CSS)


def throughput_bars_svg(
    bars: Sequence[ThroughputBar],
    limit: ExpectedValue | None,
    *,
    title: str,
    subtitle: str = "",
    width: float = WIDTH,
) -> str:
    """A bar per style in requests per second, with the limit of all and those of single styles."""
    sheet = Sheet(title, subtitle, width=width)
    labels = max((text_width(bar.label) for bar in bars), default=0.0)
    left = MARGIN + min(labels, width / 3) + 12
    scale = Scale(0.0, _highest(bars, limit), left, width - MARGIN - 48)
    sheet.y += 10
    plot = _Plot(sheet, scale, [] if limit is None else [limit])
    for bar in bars:
        sheet.y += 10
        _throughput_bar(plot, bar)
        sheet.y += 26 + (14 if bar.limit is not None else 0)
    sheet.y += 8
    about = min(10, int(scale.width / 34))
    plot.finish([(at, f"{at:g}") for at in ticks(scale.upper, about)])
    sheet.y += 14
    sheet.add(text((left + scale.right) / 2, sheet.y, "requests per second", "small", "middle"))
    told = [f"{bar.label}: {bar.value:,.1f} requests per second." for bar in bars]
    told += [f"{one.label}." for one in _limits(bars, limit)]
    return sheet.svg(" ".join(told), _BAR_CSS)


def latency_bars_text(
    groups: Sequence[LatencyGroup], *, width: int, marks: Sequence[ExpectedValue] = ()
) -> Text:
    """The latency bars for a terminal of ``width`` columns; below them, the expected values."""
    longest = _longest(groups, marks)
    margin = max((len(bar.label) for group in groups for bar in group.bars), default=0) + 2
    columns = max(width - margin - 10, 10)
    rows = []
    for group in groups:
        rows.append(Text(group.title, "bold"))
        head, left_out, tail = folded(group.bars, MOST_ROWS)
        rows += [_latency_row(bar, margin, columns / longest) for bar in head]
        if left_out:
            rows.append(Text(f"{'…':>{margin}} {count(left_out, 'request')} not shown"))
        rows += [*(_latency_row(bar, margin, columns / longest) for bar in tail), Text()]
    if marks:
        expected = ", ".join(f"{mark.label} ({seconds(mark.value)})" for mark in marks)
        rows.append(Text(f"expected by arithmetic: {expected}", TERMINAL_MUTED))
    legend = Text(_WAIT.glyph, _WAIT.terminal).append(f" {_WAIT.label}   ", "none")
    rows.append(legend.append("█", TERMINAL_ACCENT).append(f" {REST_LABEL}", "none"))
    return Text("\n", no_wrap=True).join(rows)


def throughput_bars_text(
    bars: Sequence[ThroughputBar], limit: ExpectedValue | None, *, width: int
) -> Text:
    """The throughput bars for a terminal of ``width`` columns, with the limits as lines."""
    highest = _highest(bars, limit)
    margin = max((len(bar.label) for bar in bars), default=0) + 1
    columns = max(width - margin - 10, 10)
    rows = []
    for bar in bars:
        cells = _eighths(bar.value / highest * columns).ljust(columns)
        for bound in _limits([bar], limit):
            at = min(int(bound.value / highest * columns), columns - 1)
            if cells[at] == " ":
                cells = f"{cells[:at]}│{cells[at + 1 :]}"
        row = Text(f"{bar.label:>{margin - 1}} ").append(cells, TERMINAL_ACCENT)
        rows.append(row.append(f" {bar.value:,.1f}", "bold"))
        if bar.limit is not None:
            rows.append(Text(f"{'':>{margin}}{bar.limit.label}", TERMINAL_MUTED))
    if limit is not None:
        rows.append(Text(f"{'':>{margin}}│ {limit.label}", TERMINAL_MUTED))
    return Text("\n", no_wrap=True).join(rows)


class _Plot:
    """Bars on an axis, the dashed lines of the marks over them, and words over both."""

    def __init__(self, sheet: Sheet, scale: Scale, marks: Sequence[ExpectedValue]) -> None:
        self.sheet = sheet
        self.scale = scale
        self.marks = marks
        self._label_marks()
        self.top = sheet.y

    def reading(self, end: float, y: float, content: str) -> None:
        """A bar's number beside its end, and beside the mark that would run through it."""
        until = end + 8 + text_width(content, "strong")
        lines = [self.scale.x(mark.value) for mark in self.marks]
        end = max([end, *(x for x in lines if end < x < until)])
        self.sheet.over(text(end + 8, y, content, "strong halo"))

    def finish(self, labels: Sequence[tuple[float, str]]) -> None:
        """Draw the marks down to here, and the axis."""
        for mark in self.marks:
            x = self.scale.x(mark.value)
            self.sheet.add(line(x, self.top, x, self.sheet.y, "dash"))
        self.sheet.axis(self.scale, self.top, labels)

    def _label_marks(self) -> None:
        """The marks' labels on top, one above the other where they would collide."""
        rows: list[float] = []
        placed = []
        for mark in sorted(self.marks, key=lambda mark: mark.value):
            half = text_width(mark.label, "mark") / 2
            right = self.sheet.width - MARGIN - half
            x = min(max(self.scale.x(mark.value), MARGIN + half), right)
            row = next((i for i, taken in enumerate(rows) if taken + 8 < x - half), len(rows))
            rows[row : row + 1] = [x + half]
            placed.append((x, row, mark.label))
        self.sheet.y += 6 + 14 * len(rows)
        for x, row, label in placed:
            self.sheet.over(text(x, self.sheet.y - 5 - 14 * row, label, "mark", "middle"))


def _latency_bar(plot: _Plot, bar: LatencyBar) -> None:
    scale, y = plot.scale, plot.sheet.y
    waited, end = scale.x(bar.wait), scale.x(bar.latency)
    told = f"{bar.label}: {seconds(bar.latency)}, waited {seconds(bar.wait)}"
    bars = element(
        "g",
        element("title", told),
        text(scale.left - 8, y + 11, bar.label, "label", "end"),
        rect(scale.left, y, waited - scale.left, 13, _WAIT.name),
        rect(waited, y, end - waited, 13, "rest"),
    )
    plot.sheet.add(bars)
    plot.reading(end, y + 11, seconds(bar.latency))


def _throughput_bar(plot: _Plot, bar: ThroughputBar) -> None:
    scale, y = plot.scale, plot.sheet.y
    end = scale.x(bar.value)
    plot.sheet.add(
        text(scale.left - 10, y + 15, bar.label, "label", "end"),
        rect(scale.left, y, end - scale.left, 22, "value"),
    )
    reading = f"{bar.value:,.1f}"
    if bar.limit is not None:
        bound = scale.x(bar.limit.value)
        plot.sheet.add(line(bound, y - 3, bound, y + 25, "bound"))
        fits = bound + text_width(bar.limit.label, "small") < scale.right
        anchor = "start" if fits else "end"
        plot.sheet.over(text(bound, y + 36, bar.limit.label, "small halo", anchor))
        if end < bound < end + 8 + text_width(reading, "strong"):
            end = bound
    plot.reading(end, y + 15, reading)


def _latency_row(bar: LatencyBar, margin: int, per_second: float) -> Text:
    waited = round(per_second * bar.wait)
    rest = max(round(per_second * bar.latency) - waited, 0)
    row = Text(f"{bar.label:>{margin}} ").append(_WAIT.glyph * waited, _WAIT.terminal)
    return row.append("█" * rest, TERMINAL_ACCENT).append(f" {seconds(bar.latency)}")


def _eighths(cells: float) -> str:
    """A bar of ``cells`` cells, to an eighth of a cell."""
    whole, rest = divmod(round(cells * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _limits(bars: Iterable[ThroughputBar], limit: ExpectedValue | None) -> list[ExpectedValue]:
    every = (limit, *(bar.limit for bar in bars))
    return [one for one in every if one is not None]


def _longest(groups: Iterable[LatencyGroup], marks: Iterable[ExpectedValue]) -> float:
    values = [bar.latency for group in groups for bar in group.bars]
    return max([*values, *(mark.value for mark in marks)], default=0.0) or 1.0


def _highest(bars: Sequence[ThroughputBar], limit: ExpectedValue | None) -> float:
    values = [bar.value for bar in bars]
    return max([*values, *(one.value for one in _limits(bars, limit))], default=0.0) or 1.0


def curve_svg(study: Study, *, width: float = WIDTH) -> str:
    """Two panels, one above the other, over the same range; the run's own size is marked."""
    over = study.range
    if over is None or not study.curve:
        raise ValueError("a curve needs a range")
    what = over.name.replace("_", " ")
    sheet = Sheet(f"What if: {what} from {over.values[0]} to {over.values[-1]}", width=width)
    performances = [one.after for one in study.curve]
    scale = Scale(over.values[0], over.values[-1], MARGIN + 52, width - MARGIN - 12)
    now = _now(study)
    rates = [one.throughput for one in performances]
    waits = [one.waits.p95 for one in performances]
    panels: Sequence[tuple[str, str, list[float], Callable[[float], str]]] = (
        ("requests per second", "rates", rates, lambda v: f"{v:g}"),
        ("p95 wait", "waits", waits, seconds),
    )
    for title, class_, values, told in panels:
        sheet.y += 26
        sheet.add(text(MARGIN, sheet.y, title, "strong"))
        sheet.y += 12
        top = sheet.y
        sheet.add(*panel(scale, over.values, values, top, class_, told))
        sheet.y = top + PANEL_HEIGHT
        if now is not None and over.values[0] <= now <= over.values[-1]:
            sheet.add(line(scale.x(now), top, scale.x(now), sheet.y, "now"))
            sheet.add(text(scale.x(now) + 4, top + 10, "as it was", "small halo"))
        marks = ticks(scale.upper, int(scale.width / 60), scale.lower)
        sheet.axis(scale, top, [(at, f"{at:g}") for at in marks if at == int(at)])
    sheet.y += 12
    sheet.add(text((scale.left + scale.right) / 2, sheet.y, what, "small", "middle"))
    rows = (
        f"{value}: {one.throughput:.1f} requests per second, p95 wait {seconds(one.waits.p95)}."
        for value, one in zip(over.values, performances, strict=True)
    )
    return sheet.svg(" ".join(rows), _CURVE_CSS)


def panel(
    scale: Scale,
    at: Sequence[int],
    values: Sequence[float],
    top: float,
    class_: str,
    told: Callable[[float], str],
) -> list[Element]:
    """A curve over its grid; ``told`` is how a value is written at the axis."""
    highest = max(*values, 1e-9)
    upper = max(ticks(highest * 1.2, 4)[-1], highest)
    bottom = top + PANEL_HEIGHT

    def y(value: float) -> float:
        return bottom - PANEL_HEIGHT * value / upper

    made = []
    for mark in ticks(upper, 3):
        made.append(line(scale.left, y(mark), scale.right, y(mark), "grid"))
        made.append(text(scale.left - 6, y(mark) + 4, told(mark), "small", "end"))
    points = [(scale.x(number), y(value)) for number, value in zip(at, values, strict=True)]
    path = "M" + " L".join(f"{x:.1f},{height:.1f}" for x, height in points)
    dots = [element("circle", cx=x, cy=height, r=3, class_="point") for x, height in points]
    return [*made, element("g", element("path", d=path, class_="curve"), *dots, class_=class_)]


def _now(study: Study) -> float | None:
    """The value that the recorded run had of the range's setting; ``None`` if its pools differ."""
    workload, name = study.replayed.workload, study.range.name if study.range else ""
    if name == "pool_size":
        sizes = {pool.size for pool in workload.pools}
        return sizes.pop() if len(sizes) == 1 else None
    if name == "workers":
        return workload.processes
    if name == "users":
        return study.replayed.users
    overflows = {pool.max_overflow for pool in workload.pools}
    return overflows.pop() if len(overflows) == 1 else None
