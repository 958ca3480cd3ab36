"""A request's life as a picture: its stages, and what was open while they ran."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.lifecycle import (
    BACKGROUND,
    EXIT,
    RESPONSE,
    ROUTING,
    STAGE_ORDER,
    UNTOLD,
    Span,
)
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
    from collections.abc import Sequence

    from poolhog.analysis.lifecycle import Lifecycle

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

_CSS = (
    (".stage", "fill:var(--track);stroke:var(--edge)"),
    (".session", "fill:var(--plain)"),
    (".transaction", "fill:var(--accent)"),
    (".response", "stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3"),
    (".lasted", "font-size:11px;font-weight:600"),
)
_AFTERWARDS = (RESPONSE, BACKGROUND, EXIT)


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
    names = _columns([lifecycle for _, lifecycle in lifecycles])
    for heading, lifecycle in lifecycles:
        if heading:
            sheet.y += 12
            sheet.paragraph(heading, "strong")
            sheet.paragraph(verdict(lifecycle), "subtitle")
        _Panel(sheet, names, lifecycle).draw()
    sheet.y += 8
    sheet.paragraph(CAPTION, "small")
    told = [f"{heading}: {verdict(one)}.".lstrip(": ") for heading, one in lifecycles]
    return sheet.svg(" ".join([*told, CAPTION]), _CSS)


def _columns(lifecycles: Sequence[Lifecycle]) -> list[str]:
    """The stages that any of them went through; one that was not told apart spans several."""
    present = {stage.name for lifecycle in lifecycles for stage in lifecycle.stages}
    if ROUTING in present:
        present.discard(UNTOLD)
    return [name for name in STAGE_ORDER if name in present]


def verdict(lifecycle: Lifecycle) -> str:
    """When the connection came back, seen from the response, and how its transaction ended."""
    if not lifecycle.checkouts:
        return "It had no connection"
    if lifecycle.returned is None:
        return "The connection has not come back"
    ended = f"; the transaction ended with {lifecycle.ended_with}" if lifecycle.ended_with else ""
    if lifecycle.responding is None:
        return f"The connection came back, and there was no response{ended}"
    away = lifecycle.returned - lifecycle.responding
    side = "before" if lifecycle.returned_before_response else "after"
    return f"The connection came back {seconds(abs(away))} {side} the response was sent{ended}"


class _Panel:
    """One life on the sheet: a column per stage, and instants placed within their columns."""

    def __init__(self, sheet: Sheet, names: Sequence[str], lifecycle: Lifecycle) -> None:
        self.sheet = sheet
        self.lifecycle = lifecycle
        self.narrow = sheet.width < _NARROW_SHEET
        self.left = MARGIN + (0 if self.narrow else _LABELS)
        self.right = sheet.width - MARGIN
        self.names = names
        self.block = (self.right - self.left + _BETWEEN) / max(len(names), 1) - _BETWEEN
        corners = [(0.0, float(self.left))]
        for stage in lifecycle.stages:
            left, right = self.edges(stage)
            corners += [(stage.started, left), (stage.ended, right)]
        corners.append((max(lifecycle.ended, corners[-1][0]), float(self.right)))
        self.times = [at for at, _ in corners]
        self.places = [x for _, x in corners]

    def edges(self, stage: Span) -> tuple[float, float]:
        """Where its column begins and ends; one that was not told apart has all it may contain."""
        if stage.name in self.names:
            first = last = self.names.index(stage.name)
        else:
            first, last = 0, max(i for i, name in enumerate(self.names) if name not in _AFTERWARDS)
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
        self.row("session open", [(span, "session") for span in lifecycle.sessions])
        parts = sorted(lifecycle.holding, key=lambda part: part.state is State.BUSY)
        held = [
            (Span(part.state, part.started, part.ended), PAINTS[part.state].name) for part in parts
        ]
        self.row("connection checked out", held)
        self.row("transaction open", [(span, "transaction") for span in lifecycle.transactions])
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
            wrap(stage.name, "small", right - left - 6) if inside else (str(number),)
            for number, stage in enumerate(stages, start=1)
            for left, right in [self.edges(stage)]
        ]
        rows = max((len(label) for label in labels), default=0)
        height = rows * 13 + (26 if inside else 11)
        for stage, label in zip(stages, labels, strict=True):
            left, right = self.edges(stage)
            told = element("title", f"{stage.name}: {seconds(stage.duration)}")
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
        sheet.y += height + 10

    def key(self) -> None:
        for number, stage in enumerate(self.lifecycle.stages, start=1):
            self.sheet.add(
                text(self.left, self.sheet.y + 8, f"{number}  {stage.name}", "small"),
                text(self.right, self.sheet.y + 8, seconds(stage.duration), "small", "end"),
            )
            self.sheet.y += 15
        self.sheet.y += 6

    def row(self, label: str, spans: Sequence[tuple[Span, str]]) -> None:
        sheet = self.sheet
        if self.narrow:
            sheet.add(text(self.left, sheet.y + 11, label, "small"))
            sheet.y += 16
        else:
            sheet.add(text(self.left - 10, sheet.y + 11, label, "label", "end"))
        sheet.add(rect(self.left, sheet.y, self.right - self.left, _BAR, "track"))
        if not spans:
            sheet.add(text(self.left + 6, sheet.y + 11, "none", "small"))
        for span, class_ in spans:
            left, right = self.x(span.started, end=False), self.x(span.ended, end=True)
            left = min(left, self.right - _NARROWEST_BAR)
            told = f"{span.name}: {seconds(span.duration)}, from {seconds(span.started)} on"
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
