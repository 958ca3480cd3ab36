"""The page's section of what would be: a sentence, and a curve over the pool's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from poolhog.render.charts import PANEL_HEIGHT, panel
from poolhog.render.page.tables import Cell, Column, Table
from poolhog.render.svg import Scale, element, text, ticks, write
from poolhog.render.words import rate, seconds, short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Json = Mapping[str, Any]

_WIDTH = 520.0
_LEFT = 60.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve as a picture, and what it shows in words."""

    title: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class WhatIfSection:
    """What would be if the first finding were mended, and with pools of other sizes."""

    sentence: str
    is_doubtful: bool
    curves: Sequence[Curve]
    table: Table | None


def whatif_section(side: Json) -> WhatIfSection | None:
    """The section of a side; none if nothing can be released."""
    findings = side["report"]["findings"]
    found = findings[0]["whatif"] if findings else None
    if found is None:
        return None
    curve, site = found["curve"], findings[0]["site"]
    line = f"{short_path(site['file'])}:{site['line']}"
    return WhatIfSection(
        sentence=f"If `{line}` held no connection: {found['told']}.",
        is_doubtful=found["replay"]["is_doubtful"],
        curves=_curves(curve) if len(curve) > 1 else (),
        table=_table(curve) if curve else None,
    )


def _curves(curve: Sequence[Json]) -> list[Curve]:
    return [
        _curve(curve, "requests per second", "requests_per_s", "{:g}".format, "rates"),
        _curve(curve, "95 % of checkouts wait no longer than", "wait_p95_s", seconds, "waits"),
    ]


def _curve(
    curve: Sequence[Json], title: str, key: str, told: Callable[[float], str], class_: str
) -> Curve:
    sizes = [point["pool_size"] for point in curve]
    values = [point[key] for point in curve]
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
        + "; ".join(f"{size}: {told(value)}" for size, value in zip(sizes, values, strict=True)),
    )
    return Curve(title, Markup(write(drawn, "")))  # noqa: S704 - escaped there


_COLUMNS = (
    ("requests per second", "requests_per_s", rate),
    ("wait p50", "wait_p50_s", seconds),
    ("wait p95", "wait_p95_s", seconds),
    ("response p95", "response_p95_s", seconds),
    ("timeouts", "timeouts", lambda value: f"{value:,}"),
)


def _table(curve: Sequence[Json]) -> Table:
    rows = [
        [
            Cell(f"{point['pool_size']:,}", point["pool_size"]),
            *(Cell(told(point[key]), point[key]) for _, key, told in _COLUMNS),
        ]
        for point in curve
    ]
    columns = [Column("pool size", is_number=True)]
    columns += [Column(name, is_number=True) for name, _, _ in _COLUMNS]
    return Table("whatif", "The same requests, with pools of other sizes", columns, rows)
