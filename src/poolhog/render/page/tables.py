"""The tables of a page: of routes, lines of code, statements, pools and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.render.page.summary import counted_rows
from poolhog.render.page.verdict import base
from poolhog.render.words import count, percent, seconds, short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Json = Mapping[str, Any]
    Value = str | float | None


class Cell(NamedTuple):
    """A cell: what is shown, and what it is sorted by. ``is_code`` if it is of a program."""

    text: str
    value: str | float
    is_code: bool = False
    note: str = ""
    heat: int = 0
    """How dark it is shaded, up to 4."""


class Column(NamedTuple):
    """A column: its heading, whether it has numbers, and what the heading means."""

    name: str
    is_number: bool = True
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``key`` is for addresses, ``left_out`` says which rows are not there."""

    key: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    left_out: str = ""


STATE_COLUMNS = tuple(Column(name) for name in ("busy", "parked", "running", "ready"))


def tables(side: Json) -> list[Table]:
    """All tables of a side."""
    report = side["report"]
    return [
        *([blame_table(side)] if side["tables"]["blame"]["rows"] else []),
        _table(side, "routes", "Routes", _ROUTE_COLUMNS, report["routes"], _route),
        _table(side, "sites", "Lines of code", _SITE_COLUMNS, side["tables"]["sites"], _site),
        _table(
            side,
            *("statements", "Statements", _STATEMENT_COLUMNS, side["tables"]["statements"]),
            _statement,
        ),
        _table(side, "pools", "Pools", _POOL_COLUMNS, report["pools"], _pool),
        _table(side, "processes", "Processes", _PROCESS_COLUMNS, report["processes"], _process),
    ]


def blame_table(side: Json) -> Table:
    """Who made whom wait: a row for each who held, a column for each route that waited."""
    matrix = side["tables"]["blame"]
    columns = [
        Column("held by", is_number=False),
        Column("made others wait", meaning="All that requests waited because of this"),
    ]
    for index, route in enumerate(matrix["waiting"]):
        whole = sum(row["cells"][index] for row in matrix["rows"])
        columns.append(Column(route, meaning=f"{route} waited {seconds(whole)} in all"))
    largest = max((value for row in matrix["rows"] for value in row["cells"]), default=0.0)
    rows = [
        (
            _text(row["name"]),
            _time(row["seconds"]),
            *(_time(value)._replace(heat=_heat(value, largest)) for value in row["cells"]),
        )
        for row in matrix["rows"]
    ]
    return Table("blame", "Who made whom wait", columns, rows)


def _heat(value: float, largest: float) -> int:
    return math.ceil(4 * value / largest) if value > 0 and value >= largest / 100 else 0


def _table(
    side: Json,
    key: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Json],
    row: Callable[[Json], Sequence[Cell]],
) -> Table:
    left_out = side["left_out"].get(key, 0)
    told = f"{counted_rows(key, left_out)} left out" if left_out else ""
    return Table(key, caption, columns, [row(one) for one in rows], told)


def _time(value: float) -> Cell:
    return Cell(seconds(value), value)


def _whole(value: int) -> Cell:
    return Cell(f"{value:,}", value)


def _share(value: float | None) -> Cell:
    return Cell("no limit", -1.0) if value is None else Cell(percent(value), value)


def _text(value: str, *, is_code: bool = False, note: str = "") -> Cell:
    return Cell(value, value, is_code, note)


def _used(row: Json) -> list[float]:
    return [row[f"{name}_s"] for name in ("use", "busy", "parked", "running", "ready")]


def _waits(row: Json) -> list[float]:
    return [row[f"wait_{name}_s"] for name in ("p50", "p95", "max")]


_WAIT_COLUMNS = (
    Column("wait p50", meaning="Half of the checkouts waited no longer for a connection"),
    Column("wait p95", meaning="95 of 100 checkouts waited no longer for a connection"),
    Column("wait max"),
)
_USE = Column("use", meaning="From getting connections to giving them back, added up")

_MADE_WAIT = Column("made others wait", meaning="How long requests waited because of this")

_ROUTE_COLUMNS = (
    *(Column("route", is_number=False), Column("requests"), Column("checkouts"), *_WAIT_COLUMNS),
    *(_USE, *STATE_COLUMNS, Column("idle", meaning="The part of the use that was not busy")),
    *(_MADE_WAIT, Column("timeouts")),
)


def _route(row: Json) -> Sequence[Cell]:
    return (
        _text(row["name"], is_code=True),
        *map(_whole, (row["requests"], row["checkouts"])),
        *map(_time, (*_waits(row), *_used(row))),
        _share(row["idle_share"]),
        _time(row["made_wait_s"]),
        _whole(row["timeouts"]),
    )


_SITE_COLUMNS = (
    *(Column("line", is_number=False), Column("function", is_number=False)),
    *(Column("source", is_number=False), Column("checkouts"), *STATE_COLUMNS),
)


def _site(row: Json) -> Sequence[Cell]:
    place = f"{base(row['file'])}:{row['line']}"
    return (
        _text(place, is_code=True, note=row["file"]),
        _text(short_name(row["function"]), is_code=True),
        _text(row["source"], is_code=True),
        _whole(row["checkouts"]),
        *map(_time, (row[f"{c.name}_s"] for c in STATE_COLUMNS)),
    )


_STATEMENT_COLUMNS = (
    *(Column("statement", is_number=False), Column("kind", is_number=False), Column("count")),
    *(Column("total"), Column("median"), Column("p95"), Column("errors")),
    Column("routes", is_number=False),
)


def _statement(row: Json) -> Sequence[Cell]:
    hidden = row["routes_total"] - len(row["routes"])
    routes = ", ".join(row["routes"]) + (f" and {count(hidden, 'other')}" if hidden else "")
    return (
        _text(row["statement"] or row["kind"].upper(), is_code=True),
        _text(row["kind"]),
        _whole(row["count"]),
        *map(_time, (row["total_s"], row["median_s"], row["p95_s"])),
        _whole(row["errors"]),
        _text(routes),
    )


_POOL_COLUMNS = (
    *(Column("pool", is_number=False), Column("process"), Column("connections")),
    *(Column("checkouts"), Column("most lent"), Column("most waiting")),
    Column("exhausted", meaning="The part of the time in which all connections were lent"),
    Column("contended", meaning="The part of the time in which somebody waited"),
    *(*_WAIT_COLUMNS, _USE, *STATE_COLUMNS, Column("timeouts")),
)


def _pool(row: Json) -> Sequence[Cell]:
    capacity = row["capacity"]
    return (
        _text(row["name"], is_code=True, note=f"{row['kind']} of {row['library']}"),
        Cell(str(row["pid"]), row["pid"]),
        Cell("no limit", float(2**53)) if capacity is None else _whole(capacity),
        *map(_whole, (row["checkouts"], row["peak_lent"], row["peak_waiting"])),
        *map(_share, (row["saturation"], row["contention"])),
        *map(_time, (*_waits(row), *_used(row))),
        _whole(row["timeouts"]),
    )


_PROCESS_COLUMNS = (
    *(Column("process"), Column("command", is_number=False), Column("recorded for")),
    *(Column("ended", is_number=False), Column("dropped"), Column("faults")),
    *(Column("sampled every"), Column("versions", is_number=False)),
)


def _process(row: Json) -> Sequence[Cell]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(row["versions"].items()))
    interval = row["sampling_interval_s"]
    return (
        Cell(str(row["pid"]), row["pid"]),
        _text(" ".join(row["argv"]), is_code=True),
        _time(row["written_s"] - row["began_s"]),
        _text("normally" if row["finished"] else "abnormally, or still running"),
        *map(_whole, (row["dropped"], row["recorder_errors"])),
        _time(interval) if interval else Cell("never", 0.0),
        _text(f"poolhog {row['poolhog_version']}, {versions}"),
    )
