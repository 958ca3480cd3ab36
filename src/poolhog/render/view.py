"""What a verb shows of a trace's window: its title, the picture that fits, and how to read it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from poolhog.analysis.timeline import Timeline
from poolhog.analysis.windows import ReasonKind
from poolhog.render.console import console
from poolhog.render.occupancy import occupancy_summary, occupancy_svg
from poolhog.render.occupancy_text import labels_width, occupancy_text
from poolhog.render.palette import TERMINAL_MUTED
from poolhog.render.timeline import summary as timeline_summary
from poolhog.render.timeline import timeline_svg, who
from poolhog.render.timeline_json import occupancy_json, timeline_json
from poolhog.render.timeline_text import timeline_text
from poolhog.render.words import folded_lines, listed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.occupancy import Occupancy
    from poolhog.analysis.view import Selection, View
    from poolhog.analysis.windows import Window
    from poolhog.render.hints import Hint

ZERO = 0.0
"""Axes count from when the run began, as the options that choose a window do."""


def columns_for(selection: Selection) -> int:
    """How many columns the terminal has beside the labels."""
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
        *(Text(line, "bold") for line in folded_lines(_title(selection), width)),
        *(Text(line) for line in folded_lines(summary(view), width)),
        Text(),
        drawn,
        *(Text(note, TERMINAL_MUTED) for note in _notes(view)),
        *_who(picture),
        Text(),
        *(hint.text(width) for hint in hints),
    )


def crowded(view: View) -> tuple[float, float] | None:
    """When the most waited at once, or else when the most connections were lent; of bins only."""
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
    """What ``--json`` prints."""
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
    """Which lanes are of which route."""
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
