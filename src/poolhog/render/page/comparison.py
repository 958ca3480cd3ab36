"""Two runs side by side, in the numbers that tell them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.render.page.tables import Cell, Column, Table
from poolhog.render.words import percent, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Json = Mapping[str, Any]

_MUCH = 1_000.0


def comparison(sides: Sequence[Json]) -> Table:
    """The table of both runs."""
    one, other = sides
    columns = (
        Column("", is_number=False),
        Column(one["label"]),
        Column(other["label"]),
        Column(
            "change", meaning="What the first is multiplied with, or divided by, to get the second"
        ),
    )
    rows = []
    for name, value, told in _MEASURES:
        first, second = value(one["report"]), value(other["report"])
        cells = Cell(told(first), first), Cell(told(second), second)
        rows.append((Cell(name, name), *cells, _change(first, second)))
    return Table("comparison", "Both runs in numbers", columns, rows)


def _change(first: float, second: float) -> Cell:
    if first == second:
        return Cell("the same", 1.0)
    if not first:
        return Cell("from nothing", _MUCH)
    ratio = second / first
    if not second:
        return Cell("to nothing", 0.0)
    sign, times = ("\N{MULTIPLICATION SIGN}", ratio) if ratio >= 1 else ("÷", 1 / ratio)
    return Cell(f"{sign} {times:,.3g}" if times < _MUCH else f"{sign} {times:,.0f}", ratio)


def _total(key: str) -> Callable[[Json], float]:
    return lambda report: float(report["totals"][key])


def _most(key: str) -> Callable[[Json], float]:
    return lambda report: max((float(pool[key] or 0.0) for pool in report["pools"]), default=0.0)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


_MEASURES: Sequence[tuple[str, Callable[[Json], float], Callable[[float], str]]] = (
    ("requests", _total("requests"), _whole),
    ("checkouts", _total("checkouts"), _whole),
    ("recorded for", _total("observed_s"), seconds),
    ("pool exhausted", _most("saturation"), percent),
    ("waiting at once", _most("peak_waiting"), _whole),
    ("wait p50", _most("wait_p50_s"), seconds),
    ("wait p95", _most("wait_p95_s"), seconds),
    ("wait, added up", _total("wait_s"), seconds),
    ("connection time", _total("use_s"), seconds),
    ("of it busy", _total("busy_s"), seconds),
    ("of it parked", _total("parked_s"), seconds),
    ("of it running", _total("running_s"), seconds),
    ("of it ready", _total("ready_s"), seconds),
    ("timeouts", _total("timeouts"), _whole),
)
