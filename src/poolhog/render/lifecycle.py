"""A request's life as a picture: its stages, and what was open while they ran."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.lifecycle import LifePart
from poolhog.render.palette import PAINTS, paints_of
from poolhog.render.svg import (
    MARGIN,
    WIDTH,
    Sheet,
    element,
    line,
    rect,
    text,
    text_width,
    wrap,
)
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.analysis.lifecycle import Lifecycle, LifeSpan

    _Bar = tuple[str, float, float, str]
    """The name of a bar, when it starts and ends, and its class."""

CAPTION = (
    "Stages are drawn equally wide, in the order in which they ran; their durations are printed. "
    "Bars begin and end inside the stage in which they really did, in proportion to that stage. "
    "A bar narrower than 2 px is drawn 2 px wide."
)

_LABELS = 152
_BETWEEN = 5.0
_BAR = 14.0
_NARROWEST_BAR = 2.0
_NARROW_SHEET = 600
_NARROWEST_BLOCK = 62.0
_NO_NUMBER = "·"
_NOTHING_RAISED = "not needed"
_FIRST_ERROR = 400

_CSS = (
    (".stage", "fill:var(--track);stroke:var(--edge)"),
    (".idle", "fill:none;stroke:var(--plain);stroke-dasharray:3 3"),
    (".session", "fill:var(--plain)"),
    (".transaction", "fill:var(--accent)"),
    (".response", "stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3"),
    (".lasted", "font-size:11px;font-weight:600"),
)
_AFTERWARDS = (LifePart.RESPONSE, LifePart.BACKGROUND, LifePart.EXIT)

LIFE_WORDS: Mapping[LifePart, str] = MappingProxyType(
    {
        LifePart.RUN: "execution",
        LifePart.UNDIVIDED: "middleware, routing, request execution",
        LifePart.ROUTING: "middleware, routing",
        LifePart.DEPENDENCIES: "dependency injection, validation",
        LifePart.EXECUTION: "request execution",
        LifePart.SERIALIZATION: "response validation, serialization",
        LifePart.EARLY_EXIT: "async exit stack before the response",
        LifePart.EXCEPTION_HANDLING: "exception handling",
        LifePart.MIDDLEWARE: "middleware",
        LifePart.RESPONSE: "return response",
        LifePart.BACKGROUND: "background tasks",
        LifePart.EXIT: "async exit stack",
        LifePart.SESSION: "session open",
        LifePart.CHECKOUT: "connection checked out",
        LifePart.TRANSACTION: "transaction open",
    }
)
"""What each stage is called, and each of the things that are open meanwhile."""


def lifecycle_svg(lifecycle: Lifecycle, *, title: str, width: float = WIDTH) -> str:
    """The picture of one request's life."""
    return _svg(title, verdict(lifecycle), [("", lifecycle)], width)


def lifecycles_svg(
    lifecycles: Sequence[tuple[str, Lifecycle]], *, title: str, width: float = WIDTH
) -> str:
    """Several lives one below the other, the same stage at the same place in all of them."""
    return _svg(title, "", lifecycles, width)


def _svg(
    title: str, subtitle: str, lifecycles: Sequence[tuple[str, Lifecycle]], width: float
) -> str:
    sheet = Sheet(title, subtitle, width=width)
    holding = {part.state for _, one in lifecycles for part in one.holding}
    sheet.legend(
        [
            *((paint.name, paint.label) for paint in paints_of(holding)),
            ("session", "session open"),
            ("transaction", "transaction open"),
        ]
    )
    columns = _columns([lifecycle for _, lifecycle in lifecycles])
    for heading, lifecycle in lifecycles:
        if heading:
            sheet.y += 12
            sheet.paragraph(heading, "strong")
            sheet.paragraph(verdict(lifecycle), "subtitle")
        _Panel(sheet, columns, lifecycle).draw()
    sheet.y += 8
    sheet.paragraph(CAPTION, "small")
    told = [f"{heading}: {verdict(one)}.".lstrip(": ") for heading, one in lifecycles]
    return sheet.svg(" ".join([*told, CAPTION]), _CSS)


def _columns(lifecycles: Sequence[Lifecycle]) -> list[LifePart]:
    """The stages that any of them went through; one that was not told apart spans several.

    Where the stages were told apart, exception handling is among them, even if nothing was raised.
    """
    present = {stage.part for lifecycle in lifecycles for stage in lifecycle.stages}
    if LifePart.ROUTING in present:
        present.discard(LifePart.UNDIVIDED)
        present.add(LifePart.EXCEPTION_HANDLING)
    return [part for part in LifePart if part in present]


def verdict(lifecycle: Lifecycle) -> str:
    """When the connection came back, seen from the response, and how its transaction ended."""
    if not lifecycle.checkouts:
        return "It had no connection"
    if lifecycle.returned is None:
        return "The connection has not come back"
    ended = f"; the transaction ended with {lifecycle.ended_with}" if lifecycle.ended_with else ""
    if lifecycle.responding is None:
        return f"The connection came back, and there was no response{ended}"
    began, back = lifecycle.responding, lifecycle.returned
    if lifecycle.returned_before_response:
        when = f"{seconds(abs(began - back))} before the response was sent"
    elif lifecycle.responded is None or back < lifecycle.responded:
        when = f"{seconds(abs(back - began))} after the response began, while it was being sent"
    else:
        when = f"{seconds(back - lifecycle.responded)} after the response was sent"
        took = lifecycle.responded - began
        if took >= _LONG_S:
            when += f", which took {seconds(took)}"
    return f"The connection came back {when}{ended}"


_LONG_S = 0.05
"""A response that is sent for so long is streamed."""


def _idle(lifecycle: Lifecycle) -> LifePart | None:
    """Exception handling, if the stages are known and it was not needed."""
    parts = {stage.part for stage in lifecycle.stages}
    failed = (lifecycle.request.status or 0) >= _FIRST_ERROR
    if failed or LifePart.ROUTING not in parts or LifePart.EXCEPTION_HANDLING in parts:
        return None
    return LifePart.EXCEPTION_HANDLING


class _Panel:
    """One life on the sheet: a column per stage, and instants placed within their columns."""

    def __init__(self, sheet: Sheet, columns: Sequence[LifePart], lifecycle: Lifecycle) -> None:
        self.sheet = sheet
        self.lifecycle = lifecycle
        self.narrow = sheet.width < _NARROW_SHEET
        self.left = MARGIN + (0 if self.narrow else _LABELS)
        self.right = sheet.width - MARGIN
        self.columns = columns
        self.block = (self.right - self.left + _BETWEEN) / max(len(columns), 1) - _BETWEEN
        corners = [(0.0, float(self.left))]
        for stage in lifecycle.stages:
            left, right = self.edges(stage)
            corners += [(stage.started, left), (stage.ended, right)]
        corners.append((max(lifecycle.ended, corners[-1][0]), float(self.right)))
        self.idle = _idle(lifecycle)
        self.times = [at for at, _ in corners]
        self.places = [x for _, x in corners]

    def edges(self, stage: LifeSpan) -> tuple[float, float]:
        """Where its column begins and ends; one that was not told apart has all it may contain."""
        if stage.part in self.columns:
            first = last = self.columns.index(stage.part)
        else:
            first = 0
            last = max(i for i, part in enumerate(self.columns) if part not in _AFTERWARDS)
        step = self.block + _BETWEEN
        return self.left + first * step, self.left + last * step + self.block

    def x(self, at: float, *, end: bool) -> float:
        """The place of an instant; one between two stages belongs to the first if it is an end."""
        find = bisect_left if end else bisect_right
        after = min(max(find(self.times, at), 1), len(self.times) - 1)
        begin, until = self.times[after - 1], self.times[after]
        share = (at - begin) / (until - begin) if until > begin else 1.0
        left, right = self.places[after - 1], self.places[after]
        return left + (right - left) * min(max(share, 0.0), 1.0)

    def draw(self) -> None:
        lifecycle, sheet = self.lifecycle, self.sheet
        sheet.y += 28
        top = sheet.y - 8
        self.stages()
        self.row(LifePart.SESSION, self.bars(lifecycle.sessions, "session"))
        parts = sorted(lifecycle.holding, key=lambda part: part.state is State.BUSY)
        held = [(p.state, p.started, p.ended, PAINTS[p.state].name) for p in parts]
        self.row(LifePart.CHECKOUT, held)
        self.row(LifePart.TRANSACTION, self.bars(lifecycle.transactions, "transaction"))
        if lifecycle.responding is not None:
            self.marker(lifecycle.responding, top)
        if self.block < _NARROWEST_BLOCK:
            sheet.y += 8
            self.key()
        sheet.y += 8

    def stages(self) -> None:
        """Each stage with its name and duration, or a number and the names below if too narrow."""
        sheet, stages = self.sheet, self.lifecycle.stages
        inside = self.block >= _NARROWEST_BLOCK
        labels = [
            wrap(LIFE_WORDS[stage.part], "small", right - left - 6) if inside else (str(number),)
            for number, stage in enumerate(stages, start=1)
            for left, right in [self.edges(stage)]
        ]
        rows = max((len(label) for label in labels), default=0)
        height = rows * 13 + (26 if inside else 11)
        for stage, label in zip(stages, labels, strict=True):
            left, right = self.edges(stage)
            told = element("title", f"{LIFE_WORDS[stage.part]}: {seconds(stage.duration)}")
            middle = (left + right) / 2
            block = [told, rect(left, sheet.y, right - left, height, "stage")]
            block += [
                text(middle, sheet.y + 16 + 13 * row, words, "small", "middle")
                for row, words in enumerate(label)
            ]
            if inside:
                lasted = seconds(stage.duration)
                block.append(text(middle, sheet.y + height - 9, lasted, "lasted", "middle"))
            sheet.add(element("g", *block))
        if self.idle is not None:
            self.draw_idle(self.idle, height, inside=inside)
        sheet.y += height + 10

    def draw_idle(self, part: LifePart, height: float, *, inside: bool) -> None:
        """The column of a stage that the request had no need of."""
        left = self.left + self.columns.index(part) * (self.block + _BETWEEN)
        top, middle = self.sheet.y, left + self.block / 2
        lines = wrap(LIFE_WORDS[part], "small", self.block - 6) if inside else (_NO_NUMBER,)
        block = [rect(left, top, self.block, height, "idle")]
        block += [
            text(middle, top + 16 + 13 * row, words, "small", "middle")
            for row, words in enumerate(lines)
        ]
        if inside:
            block.append(text(middle, top + height - 9, _NOTHING_RAISED, "small", "middle"))
        told = element("title", f"{LIFE_WORDS[part]}: {_NOTHING_RAISED}")
        self.sheet.add(element("g", told, *block))

    def key(self) -> None:
        for number, stage in enumerate(self.lifecycle.stages, start=1):
            self.sheet.add(
                text(self.left, self.sheet.y + 8, f"{number}  {LIFE_WORDS[stage.part]}", "small"),
                text(self.right, self.sheet.y + 8, seconds(stage.duration), "small", "end"),
            )
            self.sheet.y += 15
        if self.idle is not None:
            words = f"{_NO_NUMBER}  {LIFE_WORDS[self.idle]}"
            self.sheet.add(
                text(self.left, self.sheet.y + 8, words, "small"),
                text(self.right, self.sheet.y + 8, _NOTHING_RAISED, "small", "end"),
            )
            self.sheet.y += 15
        self.sheet.y += 6

    def bars(self, spans: Sequence[LifeSpan], class_: str) -> list[_Bar]:
        return [(LIFE_WORDS[span.part], span.started, span.ended, class_) for span in spans]

    def row(self, part: LifePart, bars: Sequence[_Bar]) -> None:
        """A row of bars on a track; each bar has a tooltip."""
        sheet, label = self.sheet, LIFE_WORDS[part]
        if self.narrow:
            sheet.add(text(self.left, sheet.y + 11, label, "small"))
            sheet.y += 16
        else:
            sheet.add(text(self.left - 10, sheet.y + 11, label, "label", "end"))
        sheet.add(rect(self.left, sheet.y, self.right - self.left, _BAR, "track"))
        if not bars:
            sheet.add(text(self.left + 6, sheet.y + 11, "none", "small"))
        for name, started, ended, class_ in bars:
            left, right = self.x(started, end=False), self.x(ended, end=True)
            left = min(left, self.right - _NARROWEST_BAR)
            told = f"{name}: {seconds(ended - started)}, from {seconds(started)} on"
            bar = rect(left, sheet.y, max(right - left, _NARROWEST_BAR), _BAR, class_)
            sheet.add(element("g", element("title", told), bar))
        sheet.y += _BAR + 8

    def marker(self, responding: float, top: float) -> None:
        x = (self.x(responding, end=True) + self.x(responding, end=False)) / 2
        half = text_width("response sent", "mark") / 2
        at = min(max(x, self.left + half), self.right - half)
        self.sheet.add(
            line(x, top, x, self.sheet.y - 2, "response"),
            text(at, top - 4, "response sent", "mark", "middle"),
        )
