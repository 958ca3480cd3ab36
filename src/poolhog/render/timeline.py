"""The timeline of requests, of those that wait and of connections: as a picture, and as JSON."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import State
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.shown import of_state
from poolhog.analysis.timeline import QueueStep, dominant, in_buckets
from poolhog.render.palette import PAINTS, paints_of
from poolhog.render.svg import (
    MARGIN,
    MOST_LANES,
    WIDTH,
    Element,
    Scale,
    Sheet,
    element,
    folded,
    line,
    number,
    rect,
    text,
    text_width,
    time_marks,
)
from poolhog.render.words import count, exact, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from poolhog.analysis.occupancy import Occupancy
    from poolhog.analysis.shown import Span
    from poolhog.analysis.timeline import LaneSegment, PoolLane, RequestLane, Timeline
    from poolhog.model import Pool

NARROWEST = 1.5
PLAYS, PAUSES = 8, 2

_LABELS = 92
_QUEUE_HEIGHT = 30.0

_PLAYING = (
    (
        ".curtain",
        "fill:var(--card);transform-box:fill-box;transform-origin:right;"
        f"animation:{{id}}draw {PLAYS + PAUSES}s linear infinite",
    ),
    (
        ".playhead",
        "stroke:var(--ink);stroke-width:1.5;"
        f"animation:{{id}}pass {PLAYS + PAUSES}s linear infinite",
    ),
)
CSS = (
    (".heading", "font-size:11px;font-weight:600;fill:var(--muted);letter-spacing:.04em"),
    (".queue", "fill:var(--waiting);fill-opacity:.45;stroke:var(--waiting)"),
    (".seam", "stroke:var(--card);stroke-width:2"),
    (
        ".holder",
        "font-size:10.5px;font-weight:600;fill:#fff;stroke:#1b2430;stroke-width:3;"
        "stroke-linejoin:round;paint-order:stroke",
    ),
)


def timeline_svg(
    timeline: Timeline,
    *,
    title: str,
    animated: bool = False,
    width: float = WIDTH,
    zero: float | None = None,
) -> str:
    """The picture of a timeline; ``animated`` plays it in a loop, as time passes.

    The axis counts from ``zero``, by default from where the timeline starts. An animated picture
    stands still and complete for a reader who prefers reduced motion.
    """
    sheet = Sheet(title, summary(timeline), width=width)
    sheet.legend([(paint.name, paint.label) for paint in paints_of(timeline.states)])
    scale = Scale(timeline.started, timeline.ended, MARGIN + _LABELS, width - MARGIN - 8)
    top = sheet.y + 6
    _draw_requests(sheet, scale, timeline)
    draw_queue(sheet, scale, timeline.waiting, timeline.ended)
    _draw_connections(sheet, scale, timeline)
    sheet.y += 2
    if animated:
        sheet.add(*_curtain(scale, top, sheet.y))
    counted_from = timeline.started if zero is None else zero
    about = int(scale.width / 70)
    sheet.axis(scale, top, time_marks(timeline.started, timeline.ended, about, counted_from))
    sheet.y += 6
    for note in _notes(timeline, scale):
        sheet.paragraph(note, "small")
    description = f"{summary(timeline)}. {' '.join(_notes(timeline, scale))}"
    if animated:
        return sheet.svg(description, (*CSS, *_PLAYING), _motion(scale))
    return sheet.svg(description, CSS)


def summary(timeline: Timeline) -> str:
    """The timeline's numbers in a line."""
    waited = timeline.waited()
    requests = sum(lane.request is not None for lane in timeline.requests)
    return " · ".join(
        (
            *who(requests, len(timeline.requests) - requests),
            count(len(timeline.connections), "connection"),
            f"waited {seconds(waited)} in all" if waited else "none waited",
            f"connections checked out {spent(timeline.lent)}",
        )
    )


def who(requests: int, owners: int) -> Iterator[str]:
    """How many requests, and owners without one, there are."""
    if requests:
        yield count(requests, "request")
    if owners:
        yield count(owners, "owner") + (" without a request" if not requests else " without one")


def spent(lent: Callable[[State], float]) -> str:
    """How long connections were lent, and in which states: ``5 s: busy 1 s, parked 4 s``."""
    parts = {state: lent(state) for state in LENT}
    told = ", ".join(f"{state} {seconds(part)}" for state, part in parts.items() if part)
    return seconds(sum(parts.values())) + (f": {told}" if told else "")


def connection_names(lanes: Sequence[PoolLane]) -> list[str]:
    """The name of each lane."""
    return lane_names([(lane.pool, lane.number) for lane in lanes])


def lane_names(lanes: Sequence[tuple[Pool, int]]) -> list[str]:
    """The numbers of lanes, after what tells their pools apart if there are several."""
    names = pool_names([pool for pool, _ in lanes])
    return [f"{names[pool.id]} {number}" for pool, number in lanes]


def pool_names(pools: Sequence[Pool]) -> dict[str, str]:
    """Names that tell pools apart, by their ids; with process ids if there are several."""
    names = {pool.name for pool in pools}
    processes = {pool.process.pid for pool in pools}
    if len({pool.id for pool in pools}) < 2:
        return {pool.id: "connection" for pool in pools}
    if len(processes) < 2:
        return {pool.id: pool.name for pool in pools}
    if len(names) < 2:
        return {pool.id: f"pid {pool.process.pid}:" for pool in pools}
    return {pool.id: f"{pool.name} {pool.process.pid}:" for pool in pools}


def _draw_requests(sheet: Sheet, scale: Scale, timeline: Timeline) -> None:
    heading(sheet, "requests")
    head, left_out, tail = folded(timeline.requests, MOST_LANES)
    pitch = 17.0 if len(head) + len(tail) <= 24 else 9.0
    height = pitch - pitch // 4
    for index, lane in enumerate((*head, *tail)):
        if left_out and index == len(head):
            fold(sheet, scale, f"{count(left_out, 'request')} not drawn")
        if pitch > 10 or index % 5 == 0:
            add_label(sheet, scale, sheet.y + height / 2 + 4, lane.label)
        bars = _bars(lane.intervals, scale, sheet.y, height)
        sheet.add(element("g", element("title", _told(lane)), *bars))
        sheet.y += pitch


def draw_queue(sheet: Sheet, scale: Scale, waiting: Sequence[QueueStep], ended: float) -> None:
    """How many requests wait, step by step."""
    most = max(step.count for step in waiting)
    heading(sheet, f"requests waiting at once: {most} at most" if most else "no request waited")
    if not most:
        return
    bottom = sheet.y + _QUEUE_HEIGHT
    steps = (*waiting, QueueStep(ended, 0))
    path = f"M{number(scale.left)},{number(bottom)}"
    numbers = []
    for step, after in pairwise(steps):
        top = bottom - _QUEUE_HEIGHT * step.count / most
        left, right = scale.x(step.at), scale.x(after.at)
        path += f"V{number(top)}H{number(right)}"
        roomy = bottom - top > 16 and right - left > text_width(str(step.count)) + 8
        if step.count and roomy:
            numbers.append(text(left + 6, bottom - 6, str(step.count), "strong"))
    sheet.add(element("path", d=f"{path}V{number(bottom)}Z", class_="queue"), *numbers)
    sheet.y = bottom


def _draw_connections(sheet: Sheet, scale: Scale, timeline: Timeline) -> None:
    heading(sheet, "connection pool")
    named = list(zip(timeline.connections, connection_names(timeline.connections), strict=True))
    head, left_out, tail = folded(named, MOST_LANES)
    pitch = 24.0 if len(head) + len(tail) <= 12 else 17.0 if len(head) + len(tail) <= 24 else 9.0
    height = pitch - pitch // 4
    for index, (lane, name) in enumerate((*head, *tail)):
        if left_out and index == len(head):
            fold(sheet, scale, f"{count(left_out, 'connection')} not drawn")
        if pitch > 10 or index % 5 == 0:
            add_label(sheet, scale, sheet.y + height / 2 + 4, name)
        sheet.add(rect(scale.left, sheet.y, scale.width, height, "track"))
        for segment in lane.segments:
            sheet.add(_draw_segment(segment, scale, sheet.y, height, timeline))
        sheet.y += pitch


def _draw_segment(
    segment: LaneSegment, scale: Scale, y: float, height: float, timeline: Timeline
) -> Element:
    lane = timeline.requests[segment.lane]
    left, right = scale.x(segment.started), scale.x(segment.ended)
    parts = _bars(segment.intervals, scale, y, height)
    if right - left > 4:
        parts.append(line(left, y, left, y + height, "seam"))
    if height > 12 and right - left > text_width(lane.label, "small") + 9:
        middle = (left + right) / 2
        parts.append(text(middle, y + height / 2 + 4, lane.label, "holder", "middle"))
    told = f"{_told(lane)}, from {seconds(segment.started - timeline.started)} on:"
    return element("g", element("title", f"{told} {_spent(segment.intervals)}"), *parts)


def _bars(parts: Sequence[Span], scale: Scale, y: float, height: float) -> list[Element]:
    """A bar per interval, the busy ones on top and wide enough to be seen."""
    found = []
    for part in sorted(_drawable(parts, scale), key=lambda part: part.state is State.BUSY):
        left, right = scale.x(part.started), scale.x(part.ended)
        if part.state is State.BUSY and right - left < NARROWEST:
            left = min(left, scale.right - NARROWEST)
            right = left + NARROWEST
        found.append(rect(left, y, right - left, height, PAINTS[part.state].name))
    return found


def _drawable(parts: Sequence[Span], scale: Scale) -> Iterable[Span]:
    """The intervals, or if they are more than pixels, what dominates in each pixel."""
    pixels = int(scale.width)
    if len(parts) <= pixels:
        return parts
    started, ended = parts[0].started, parts[-1].ended
    shares = in_buckets(parts, started=started, ended=ended, buckets=pixels)
    edges = [started + (ended - started) * number / pixels for number in range(pixels + 1)]
    found = []
    for state, run in groupby(range(pixels), key=lambda number: dominant(shares[number])):
        numbers = list(run)
        if state is not None:
            found.append(of_state(state, edges[numbers[0]], edges[numbers[-1] + 1]))
    return found


def _told(lane: RequestLane) -> str:
    name = f" {lane.request.name}" if lane.request is not None else ""
    return f"{lane.label}{name}"


def _spent(parts: Iterable[Span]) -> str:
    total = dict.fromkeys(PAINTS, 0.0)
    for part in parts:
        total[part.state] += part.duration
    return ", ".join(f"{state} {seconds(spent)}" for state, spent in total.items() if spent)


def add_label(sheet: Sheet, scale: Scale, y: float, content: str) -> None:
    """The label left of a lane; of a label that is too long, its end."""
    room = scale.left - 10 - MARGIN / 2
    most = int(room / text_width("i")) + 2  # a letter per step is slow if there are thousands
    shown = content if len(content) <= most else f"…{content[-most:]}"
    while len(shown) > 2 and text_width(shown) > room:
        shown = f"…{shown.lstrip('…')[1:]}"
    sheet.add(text(scale.left - 10, y, shown, "label", "end"))


def heading(sheet: Sheet, content: str) -> None:
    """The words above a part of the picture."""
    sheet.y += 22
    sheet.over(text(MARGIN, sheet.y, content, "heading"))
    sheet.y += 8


def fold(sheet: Sheet, scale: Scale, content: str) -> None:
    """Where lanes are left out."""
    sheet.over(text(scale.left, sheet.y + 12, f"… {content} …", "small"))
    sheet.y += 20


def _notes(timeline: Timeline, scale: Scale) -> Iterator[str]:
    narrowest = NARROWEST / scale.width * timeline.duration
    drawn = [part for lane in timeline.requests for part in lane.intervals]
    if any(part.state is State.BUSY and part.duration < narrowest for part in drawn):
        yield (
            f"Operations under {seconds(narrowest)} are widened to stay visible; the numbers above "
            "are exact."
        )


def _curtain(scale: Scale, top: float, bottom: float) -> tuple[Element, Element]:
    """The rectangle that hides the time to come, and the line at its edge."""
    return (
        rect(scale.left, top, scale.width + 1, bottom - top, "curtain"),
        line(scale.left, top, scale.left, bottom, "playhead"),
    )


def _motion(scale: Scale) -> str:
    arrives = 100 * PLAYS // (PLAYS + PAUSES)
    return (
        f"@keyframes {{id}}draw{{{arrives}%,100%{{transform:scaleX(0)}}}}"
        f"@keyframes {{id}}pass{{{arrives}%,100%{{transform:translateX({number(scale.width)}px)}}}}"
        "@media (prefers-reduced-motion:reduce),print"
        "{#{id}svg .curtain,#{id}svg .playhead{display:none}}"
    )


def timeline_json(timeline: Timeline) -> dict[str, Any]:
    """Every request and every connection with its intervals."""
    return {
        "drawn": "lanes",
        **window_json(timeline, timeline.lent),
        "requests": [
            {
                "label": lane.label,
                "id": lane.request.id if lane.request is not None else None,
                "name": lane.request.name if lane.request is not None else None,
                "intervals": _intervals_json(lane.intervals),
            }
            for lane in timeline.requests
        ],
        "connections": [
            {
                "pool": lane.pool.name,
                "pid": lane.pool.process.pid,
                "number": lane.number,
                "segments": [
                    {
                        "checkout": segment.checkout.id,
                        "request": timeline.requests[segment.lane].label,
                        "intervals": _intervals_json(segment.intervals),
                    }
                    for segment in lane.segments
                ],
            }
            for lane in timeline.connections
        ],
        "waiting": [{"at_s": exact(step.at), "count": step.count} for step in timeline.waiting],
    }


def window_json(shown: Timeline | Occupancy, lent: Callable[[State], float]) -> dict[str, Any]:
    """The first keys of either picture's JSON: the window, and the seconds spent in it."""
    return {
        "started_s": exact(shown.started),
        "ended_s": exact(shown.ended),
        "wait_s": exact(shown.waited()),
        "use_s": exact(sum(lent(state) for state in LENT)),
        **{f"{state}_s": exact(lent(state)) for state in LENT},
    }


def _intervals_json(parts: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {"state": part.state, "started_s": exact(part.started), "ended_s": exact(part.ended)}
        for part in parts
    ]
