"""A window of a trace: as a timeline, or as an occupancy where there are too many requests.

An occupancy shows how many requests wait, how many connections are lent, and each connection.
"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from poolhog.analysis.downsampling import ReasonKind
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.timeline import QueueStep, Timeline
from poolhog.render.output import console, paragraph
from poolhog.render.palette import PAINTS, STACKED, TERMINAL_MUTED, paints_of
from poolhog.render.svg import (
    MARGIN,
    WIDTH,
    Scale,
    Sheet,
    element,
    line,
    number,
    rect,
    text,
    ticks,
    time_marks,
)
from poolhog.render.timeline import (
    CSS,
    add_label,
    draw_queue,
    fold,
    heading,
    lane_names,
    spent,
    timeline_json,
    timeline_svg,
    who,
    window_json,
)
from poolhog.render.timeline import summary as timeline_summary
from poolhog.render.timeline_text import ceiling, labels_width, occupancy_text, timeline_text
from poolhog.render.words import count, exact, listed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import State
    from poolhog.analysis.downsampling import Window
    from poolhog.analysis.occupancy import Bin, BinnedLane, Occupancy
    from poolhog.analysis.selection import Selection, View
    from poolhog.render.output import Hint
    from poolhog.render.svg import Element

ZERO = 0.0
"""Axes count from when the run began, as the options that choose a window do."""

_LABELS = 92
_CHART_HEIGHT = 130.0
_STEPS = 8  # heights that a lane's bar can have: neighbours of one height are drawn as one
_CSS = (*CSS, (".capacity", "stroke:var(--ink);stroke-width:1.3;stroke-dasharray:4 3"))


def columns_for(selection: Selection) -> int:
    """The number of columns that the terminal has beside the labels."""
    pools = [pool for reader in selection.readers for pool in reader.pools]
    return max(console().width - labels_width(pools), 10)


def view_text(selection: Selection, view: View, *, width: int, hints: Sequence[Hint] = ()) -> Group:
    """The picture for a terminal."""
    picture = view.picture
    if isinstance(picture, Timeline):
        drawn = timeline_text(picture, width=width, zero=ZERO)
    else:
        drawn = occupancy_text(picture, width=width, zero=ZERO)
    return Group(
        *paragraph(_title(selection), width, "bold"),
        *paragraph(summary(view), width),
        Text(),
        drawn,
        *(Text(note, TERMINAL_MUTED) for note in _notes(view)),
        *_who(picture),
        Text(),
        *(hint.text(width) for hint in hints),
    )


def crowded(view: View) -> tuple[float, float] | None:
    """The bin in which the most requests waited, or else held connections; ``None`` of lanes."""
    if isinstance(view.picture, Timeline):
        return None
    most = max(view.picture.bins, key=lambda b: (b.most_waiting, sum(b.lent.values())))
    return most.started, most.ended


def view_svg(selection: Selection, view: View) -> str:
    """The picture for browsers and pages."""
    picture = view.picture
    title = _title(selection)
    if isinstance(picture, Timeline):
        return timeline_svg(picture, title=title, zero=ZERO)
    subtitle = summary(view)
    return occupancy_svg(picture, title=title, subtitle=subtitle, notes=[*_notes(view)], zero=ZERO)


def view_json(view: View) -> dict[str, Any]:
    """The window as documented in ``docs/timeline.md``."""
    picture = view.picture
    drawn = timeline_json(picture) if isinstance(picture, Timeline) else occupancy_json(picture)
    totals = {
        "requests_total": view.requests,
        "owners_total": view.owners,
        "checkouts_total": view.checkouts,
    }
    return {**totals, **drawn}


def summary(view: View) -> str:
    """The picture's numbers in a line."""
    if isinstance(view.picture, Timeline):
        return timeline_summary(view.picture)
    return " · ".join([*who(view.requests, view.owners), occupancy_summary(view.picture)])


def window_reason(window: Window) -> str:
    """Why a window of a long run is shown checkout by checkout."""
    return "; ".join(_REASONS[reason.kind].format(reason.finding) for reason in window.reasons)


_REASONS = {
    ReasonKind.WHOLE_RUN: "the whole run",
    ReasonKind.EXAMPLE: "the example of finding {}",
    ReasonKind.MOST_WAITING: "where most requests wait",
    ReasonKind.MOST_LENT: "where most connections are lent",
    ReasonKind.SLOWEST: "one of the slowest requests",
    ReasonKind.BEGINNING: "the beginning of the run",
}


def _who(picture: Timeline | Occupancy) -> Iterator[Text]:
    """A line for each route, with its lanes."""
    if not isinstance(picture, Timeline):
        return
    lanes: dict[str, list[str]] = {}
    for lane in picture.requests:
        if lane.request is not None:
            lanes.setdefault(lane.request.name, []).append(lane.label)
    for name, labels in lanes.items():
        yield Text.assemble(f"{name}: ", (", ".join(labels), TERMINAL_MUTED))


def _title(selection: Selection) -> str:
    """Such as ``Connections, 12:03:07, 3.2 s to 8.4 s of the run``; the time is this machine's."""
    process = selection.readers[0].process
    began = datetime.fromtimestamp(process.began_wall + selection.started - process.began)
    window = f"{selection.started:.3f} s to {selection.ended:.3f} s of the run"
    of = f", only {listed(selection.names, 1)}" if selection.names else ""
    return f"Connections, {began:%H:%M:%S}, {window}{of}"


def _notes(view: View) -> Iterator[str]:
    picture = view.picture
    if isinstance(picture, Timeline):
        return
    width = seconds(picture.duration / len(picture.bins))
    yield (
        f"Too many requests to draw one by one: a column is {width}, and shows averages; of those "
        "who wait, the most at once. Closer: --from and --to, or --route."
    )


def occupancy_svg(
    occupancy: Occupancy,
    *,
    title: str,
    subtitle: str,
    notes: Sequence[str],
    zero: float,
    width: float = WIDTH,
) -> str:
    """The picture; its axis counts from ``zero``, and ``notes`` stand below it."""
    sheet = Sheet(title, subtitle, width=width)
    sheet.legend([(paint.name, paint.label) for paint in paints_of(occupancy.states)])
    scale = Scale(occupancy.started, occupancy.ended, MARGIN + _LABELS, width - MARGIN - 8)
    top = sheet.y + 6
    waiting = [QueueStep(b.started, b.most_waiting) for b in occupancy.bins]
    draw_queue(sheet, scale, waiting, occupancy.ended)
    _draw_lent(sheet, scale, occupancy)
    _draw_lanes(sheet, scale, occupancy)
    sheet.y += 2
    marks = time_marks(occupancy.started, occupancy.ended, int(scale.width / 70), zero)
    sheet.axis(scale, top, marks)
    sheet.y += 6
    for note in notes:
        sheet.paragraph(note, "small")
    return sheet.svg(" ".join([f"{subtitle}.", *notes]), _CSS)


def occupancy_summary(occupancy: Occupancy) -> str:
    """The occupancy's numbers in a line."""
    waited = occupancy.waited()
    return " · ".join(
        (
            count(occupancy.connections, "connection"),
            f"waited {seconds(waited)} in all" if waited else "none waited",
            f"connections checked out {spent(occupancy.lent)}",
        )
    )


def _draw_lent(sheet: Sheet, scale: Scale, occupancy: Occupancy) -> None:
    heading(sheet, "connections checked out, on average")
    upper = ceiling(occupancy)
    bottom = sheet.y + 4 + _CHART_HEIGHT
    for at in ticks(upper, 4):
        y = bottom - _CHART_HEIGHT * at / upper
        sheet.add(
            line(scale.left, y, scale.right, y, "grid"),
            text(scale.left - 10, y + 4, number(at), "label", "end"),
        )
    below = [0.0] * len(occupancy.bins)
    for state in STACKED:
        above = [low + b.lent[state] for low, b in zip(below, occupancy.bins, strict=True)]
        if above != below:
            path = _area(occupancy.bins, below, above, scale, bottom, _CHART_HEIGHT / upper)
            told = element("title", f"{PAINTS[state].label}: {seconds(occupancy.lent(state))}")
            sheet.add(element("path", told, d=path, class_=PAINTS[state].name))
        below = above
    if occupancy.capacity:
        y = bottom - _CHART_HEIGHT * occupancy.capacity / upper
        sheet.add(line(scale.left, y, scale.right, y, "capacity"))
        label = f"all {occupancy.capacity} connections"
        sheet.add(text(scale.right, y - 4, label, "small", "end"))
    sheet.y = bottom


def _area(
    bins: Sequence[Bin],
    below: Sequence[float],
    above: Sequence[float],
    scale: Scale,
    bottom: float,
    unit: float,
) -> str:
    """The outline between two staircases."""
    there = [
        f"L{number(scale.x(x))},{number(bottom - unit * high)}"
        for b, high in zip(bins, above, strict=True)
        for x in (b.started, b.ended)
    ]
    back = [
        f"L{number(scale.x(x))},{number(bottom - unit * low)}"
        for b, low in zip(reversed(bins), reversed(below), strict=True)
        for x in (b.ended, b.started)
    ]
    return "M" + "".join([*there, *back])[1:] + "Z"


def _draw_lanes(sheet: Sheet, scale: Scale, occupancy: Occupancy) -> None:
    heading(sheet, "connection pool: height is the part of the time that it was checked out")
    names = lane_names([(lane.pool, lane.number) for lane in occupancy.lanes])
    pitch = 24.0 if len(names) <= 12 else 17.0 if len(names) <= 24 else 9.0
    height = pitch - pitch // 4
    for index, (lane, name) in enumerate(zip(occupancy.lanes, names, strict=True)):
        if pitch > 10 or index % 5 == 0:
            add_label(sheet, scale, sheet.y + height / 2 + 4, name)
        sheet.add(rect(scale.left, sheet.y, scale.width, height, "track"))
        sheet.add(element("g", *_lane(lane, occupancy, scale, sheet.y + height, height)))
        sheet.y += pitch
    left_out = occupancy.connections - len(occupancy.lanes)
    if left_out:
        fold(sheet, scale, f"{count(left_out, 'connection')} not drawn")


def _lane(
    lane: BinnedLane, occupancy: Occupancy, scale: Scale, bottom: float, height: float
) -> list[Element]:
    """A bar for each run of bins that are alike."""
    width = occupancy.duration / len(occupancy.bins)
    looks = [_look(share, width) for share in lane.seconds]
    found = []
    for look, group in groupby(zip(looks, occupancy.bins, strict=True), key=lambda one: one[0]):
        run = [b for _, b in group]
        if look is not None:
            state, steps = look
            tall = height * steps / _STEPS
            left, right = scale.x(run[0].started), scale.x(run[-1].ended)
            found.append(rect(left, bottom - tall, right - left, tall, PAINTS[state].name))
    return found


def _look(share: Mapping[State, float], width: float) -> tuple[State, int] | None:
    """The state that dominates, and how much of the bin is lent, in steps."""
    lent = sum(share.values())
    if not lent:
        return None
    state = max((s for s in LENT if s in share), key=lambda s: share[s])
    return state, max(1, min(round(_STEPS * lent / width), _STEPS))


def occupancy_json(occupancy: Occupancy) -> dict[str, Any]:
    """Averages and the most that waited, bin by bin; and the seconds of each connection."""
    return {
        "drawn": "bins",
        **window_json(occupancy, occupancy.lent),
        "capacity": occupancy.capacity,
        "connections_total": occupancy.connections,
        "bins": [
            {
                "started_s": exact(b.started),
                "ended_s": exact(b.ended),
                "waiting": exact(b.waiting),
                "most_waiting": b.most_waiting,
                **{str(state): exact(b.lent[state]) for state in LENT},
            }
            for b in occupancy.bins
        ],
        "connections": [
            {
                "pool": lane.pool.name,
                "pid": lane.pool.process.pid,
                "number": lane.number,
                "bins": [
                    {f"{state}_s": exact(share.get(state, 0.0)) for state in LENT}
                    for share in lane.seconds
                ],
            }
            for lane in occupancy.lanes
        ],
    }
