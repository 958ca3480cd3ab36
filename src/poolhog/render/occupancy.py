"""The occupancy of pools as a picture: how many wait, how many connections are lent, and each."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.timeline import Step
from poolhog.render.palette import PAINTS, paints_of
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
from poolhog.render.timeline import CSS, add_label, draw_queue, fold, heading, lane_names, spent
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.analysis.occupancy import Bin, BinnedLane, Occupancy
    from poolhog.render.svg import Element

STACKED = (State.PARKED, State.READY, State.RUNNING, State.BUSY)
"""From the bottom up: what matters most has a straight base."""

_LABELS = 92
_CHART_HEIGHT = 130.0
_STEPS = 8  # heights that a lane's bar can have: neighbours of one height are drawn as one
_CSS = (*CSS, (".capacity", "stroke:var(--ink);stroke-width:1.3;stroke-dasharray:4 3"))


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
    waiting = [Step(b.started, b.most_waiting) for b in occupancy.bins]
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


def ceiling(occupancy: Occupancy) -> float:
    """How many connections the chart has room for: all that there can be, or that there were."""
    most = max((sum(b.lent.values()) for b in occupancy.bins), default=0.0)
    return max(occupancy.capacity or 0, round(most, 6), 1.0)


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
