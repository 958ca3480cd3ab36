"""The page's what-if section: a sentence, and curves over the pool's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from poolhog.render.charts import PANEL_HEIGHT, panel
from poolhog.render.page.tables import PageCell, PageColumn, PageTable
from poolhog.render.svg import Scale, element, text, ticks, write
from poolhog.render.whatif import beside_told
from poolhog.render.words import rate, seconds, short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.study import TopFindingWhatIf
    from poolhog.analysis.report import Report

    Points = Sequence[tuple[int, Performance]]
    """Sizes of the pool, the least first, and what the run comes to with each."""

_WIDTH = 520.0
_LEFT = 60.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve as a picture, with its title."""

    title: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class WhatIfSection:
    """What changes if the first finding's line releases its connection, or with other pool sizes.

    If nothing is predicted, the sentence says why, and there are no curves.
    """

    sentence: str
    curves: Sequence[Curve]
    table: PageTable | None


def whatif_section(report: Report, found: TopFindingWhatIf | None) -> WhatIfSection | None:
    """Return the section of a run, ``None`` if nothing can be released."""
    if found is None or found.finding is not report.hog:
        return None
    site = found.finding.site
    if site is None:
        return None
    points = [(size, prediction.after) for size, prediction in found.curve]
    return WhatIfSection(
        sentence=f"`{short_path(site.file)}:{site.line}`: {beside_told(found).rstrip('.')}.",
        curves=_curves(points) if len(points) > 1 else (),
        table=_table(points) if points else None,
    )


def _curves(points: Points) -> list[Curve]:
    rates = [(size, after.throughput) for size, after in points]
    waits = [(size, after.waits.p95) for size, after in points]
    return [
        _curve(rates, "requests per second", "{:g}".format, "rates"),
        _curve(waits, "95 % of checkouts wait no longer than", seconds, "waits"),
    ]


def _curve(
    points: Sequence[tuple[int, float]], title: str, told: Callable[[float], str], class_: str
) -> Curve:
    sizes = [size for size, _ in points]
    values = [value for _, value in points]
    scale = Scale(sizes[0], sizes[-1], _LEFT, _WIDTH - 12)
    marks = [at for at in ticks(scale.upper, 8, scale.lower) if at == int(at)]
    labels = [text(scale.x(at), PANEL_HEIGHT + 28, f"{at:g}", "small", "middle") for at in marks]
    drawn = element(
        "svg",
        *panel(scale, sizes, values, 10.0, class_, told),
        *labels,
        class_="curves",
        viewBox=f"0 0 {_WIDTH:g} {PANEL_HEIGHT + 36:g}",
        role="img",
        aria_label=f"{title}, by pool size: "
        + "; ".join(f"{size}: {told(value)}" for size, value in points),
    )
    return Curve(title, Markup(write(drawn, "")))  # noqa: S704 - escaped there


_COLUMNS: Sequence[tuple[str, Callable[[Performance], float], Callable[[float], str]]] = (
    ("requests per second", lambda after: after.throughput, rate),
    ("wait p50", lambda after: after.waits.p50, seconds),
    ("wait p95", lambda after: after.waits.p95, seconds),
    ("response p95", lambda after: after.responses.p95, seconds),
    ("timeouts", lambda after: after.timeouts, lambda value: f"{value:,.0f}"),
)


def _table(points: Points) -> PageTable:
    rows = [
        [
            PageCell(f"{size:,}", size),
            *(PageCell(told(value(after)), value(after)) for _, value, told in _COLUMNS),
        ]
        for size, after in points
    ]
    columns = [PageColumn("pool size"), *(PageColumn(name) for name, _, _ in _COLUMNS)]
    return PageTable("whatif", "The same requests, with pools of other sizes", columns, rows)
