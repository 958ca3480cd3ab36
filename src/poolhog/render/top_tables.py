"""The tables of ``poolhog top``: pools, checkouts, routes and findings, in a terminal's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.palette import PAINTS, TERMINAL_MUTED
from poolhog.render.words import path_and_line, percent, place, seconds, short_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.live import LiveCheckout, LivePool, LiveRoute
    from poolhog.model import Site

WIDE = 110
"""Columns from which on there is room for paths, functions and the names of pools."""

_GAP = 2
_BAR = 10
"""Connections of a pool that have a cell each."""

_NARROWEST = 8
_UNSEEN = "·"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; ``style`` never says what the text does not."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: numbers stand to the right; one that ``yields`` is cut if need be."""

    heading: str
    is_number: bool = False
    yields: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> tuple[Text, list[Text]]:
    """A heading and a line for each row, at most ``width`` columns wide."""
    widths = [
        max([len(column.heading), *(len(row[index].text) for row in rows)])
        for index, column in enumerate(columns)
    ]
    over = sum(widths) + _GAP * (len(columns) - 1) - width
    yielding = [index for index, column in enumerate(columns) if column.yields]
    while over > 0 and any(widths[index] > _NARROWEST for index in yielding):
        widest = max(yielding, key=widths.__getitem__)
        widths[widest] -= 1
        over -= 1
    heading = [Cell(column.heading, TERMINAL_MUTED) for column in columns]
    return _line(columns, heading, widths), [_line(columns, row, widths) for row in rows]


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> Text:
    line = Text()
    for index, (column, cell, room) in enumerate(zip(columns, row, widths, strict=True)):
        text = middle(cell.text, room)
        last = index == len(columns) - 1
        padded = f"{text:>{room}}" if column.is_number else text if last else f"{text:<{room}}"
        line.append(padded, cell.style)
        if not last:
            line.append(" " * _GAP)
    return line


def middle(text: str, room: int) -> str:
    """The text, or its beginning and its end where it is too long: both tell routes apart."""
    if len(text) <= room:
        return text
    kept = max(room - 1, 1)
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def pools_table(
    pools: Sequence[LivePool], width: int, *, with_pid: bool
) -> tuple[Text, list[Text]]:
    """The pools: what is out, in which states, and who waits."""
    columns = [
        Column("POOL", yields=True),
        *([Column("PID", is_number=True)] if with_pid else []),
        Column("OUT", is_number=True),
        Column("CONNECTIONS"),
        Column("WAITING", is_number=True),
        Column("LONGEST", is_number=True),
        Column(""),
    ]
    rows = [
        [
            Cell(pool.pool.name, "bold" if pool.is_exhausted else ""),
            *([Cell(str(pool.process.pid), TERMINAL_MUTED)] if with_pid else []),
            Cell(out_told(pool)),
            Cell(_bar(pool)),
            Cell(f"{len(pool.waiting):,}" if pool.waiting else "-"),
            Cell(seconds(pool.longest_wait) if pool.waiting else "-"),
            Cell("EXHAUSTED" if pool.is_exhausted else "", "bold"),
        ]
        for pool in pools
    ]
    return table(columns, rows, width)


def out_told(pool: LivePool) -> str:
    """The connections that are out, of those that can be, such as ``5/5``."""
    capacity = pool.pool.capacity
    return f"{pool.out:,}/{capacity:,}" if capacity is not None else f"{pool.out:,}"


def _bar(pool: LivePool) -> str:
    """A cell for each connection, by its state, as in the timeline; or a share of ten cells."""
    capacity = pool.pool.capacity
    order = list(PAINTS)
    states = sorted(
        (one.held.state for one in pool.holders),
        key=lambda state: order.index(state) if state is not None else len(order),
    )
    glyphs = [PAINTS[state].glyph if state is not None else _UNSEEN for state in states]
    glyphs += ["█"] * (pool.out - len(glyphs))
    room = capacity if capacity is not None else len(glyphs)
    if room <= _BAR:
        return "".join(glyphs).ljust(room, _UNSEEN)
    cells = [glyphs[index * len(glyphs) // _BAR] for index in range(_BAR)] if glyphs else []
    return "".join(cells[: max(-(-_BAR * len(glyphs) // room), 0)]).ljust(_BAR, _UNSEEN)


def checkouts_table(
    checkouts: Sequence[LiveCheckout], width: int, *, with_pid: bool, with_pool: bool, sort: str
) -> tuple[Text, list[Text]]:
    """Who holds a connection or waits for one: the state, the ages, the route and the line."""

    def heading(text: str) -> str:
        return f"{text}▾" if text == sort else text

    is_wide = width >= WIDE
    columns = [
        Column(heading("STATE")),
        Column(heading("FOR"), is_number=True),
        Column(heading("AGE"), is_number=True),
        Column(heading("ROUTE OR TASK"), yields=True),
        Column(heading("LINE"), yields=True),
        *([Column("POOL", yields=True)] if with_pool and is_wide else []),
        *([Column("PID", is_number=True)] if with_pid else []),
        *([Column("CODE", yields=True)] if is_wide else []),
    ]
    rows = [
        [
            Cell(state_told(one), _style(one)),
            Cell(seconds(one.state_seconds)),
            Cell(seconds(one.age)),
            Cell(one.route, "bold"),
            Cell(_where(one.line, is_wide=is_wide)),
            *([Cell(one.pool.name, TERMINAL_MUTED)] if with_pool and is_wide else []),
            *([Cell(str(one.process.pid), TERMINAL_MUTED)] if with_pid else []),
            *([Cell(one.line.source if one.line else "", TERMINAL_MUTED)] if is_wide else []),
        ]
        for one in checkouts
    ]
    return table(columns, rows, width)


def state_told(one: LiveCheckout) -> str:
    """The glyph of the state, and the word."""
    glyph = PAINTS[one.state].glyph if one.state is not None else _UNSEEN
    return f"{glyph} {one.what}"


def _style(one: LiveCheckout) -> str:
    return f"bold {PAINTS[one.state].terminal}" if one.state is not None else ""


def _where(line: Site | None, *, is_wide: bool) -> str:
    if line is None:
        return "?"
    return f"{path_and_line(line)} {short_name(line.name)}" if is_wide else place(line)


def routes_table(routes: Sequence[LiveRoute], width: int) -> tuple[Text, list[Text]]:
    """The routes that hold connections or wait for one."""
    columns = [
        Column("ROUTE", yields=True),
        Column("HELD", is_number=True),
        Column("UNUSED", is_number=True),
        Column("LONGEST", is_number=True),
        Column("WAITING", is_number=True),
        Column("LONGEST", is_number=True),
    ]
    rows = [
        [
            Cell(route.name, "bold"),
            *(Cell(f"{number:,}") for number in (route.held, route.unused)),
            Cell(seconds(route.longest_held) if route.held else "-"),
            Cell(f"{route.waiting:,}"),
            Cell(seconds(route.longest_wait) if route.waiting else "-"),
        ]
        for route in routes
    ]
    return table(columns, rows, width)


def findings_table(findings: Sequence[Finding], width: int) -> tuple[Text, list[Text]]:
    """The findings so far: how long connections were wasted, for what, and where."""
    columns = [
        Column("WASTED", is_number=True),
        Column("SHARE", is_number=True),
        Column("FINDING"),
        Column("LINE", yields=True),
        Column("MADE WAIT", is_number=True),
    ]
    is_wide = width >= WIDE
    rows = [
        [
            Cell(seconds(one.seconds) if one.seconds else f"{one.checkouts:,}x"),
            Cell(percent(one.share) if one.share else "-"),
            Cell(one.kind.name, "bold"),
            Cell(_where(one.site, is_wide=is_wide) if one.site is not None else "-"),
            Cell(seconds(one.made_wait) if one.made_wait else "-"),
        ]
        for one in findings
    ]
    return table(columns, rows, width)
