"""The tables of the report: pools, routes, and who made whom wait."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.analysis.blame.blaming import CONNECTING, NOBODY, PINGING, Blame, line_of
from poolhog.model import Outcome
from poolhog.render.output import WIDE, aligned, more_line
from poolhog.render.palette import PAINTS, TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.words import (
    DurationUnit,
    count,
    file_and_line,
    folded_lines,
    percent,
    seconds,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.blame.blaming import Charge, LineKey
    from poolhog.analysis.report import PoolUse, Report, RouteUse

_HELD = PAINTS[State.PARKED].terminal
_MUCH = 0.5
_ROOM_FOR_BLAME = 80

COLUMNS = 3
"""Up to this number of routes that waited have columns of their own; the others share one."""

OTHERS = "others"
_NOT_HELD = {
    CONNECTING: "opened their own connection",
    PINGING: "pinged their own connection",
    NOBODY: "nobody: one was free, or being handed over",
}
_WIDEST = 20
_NARROWEST = 36


def pool_lines(report: Report, width: int, most: int) -> Iterator[Text]:
    """The ``most`` busiest pools, each with a bar: how much of the time it was exhausted."""
    used = sorted(
        (pool for pool in report.pools if pool.checkouts),
        key=lambda pool: (-(pool.saturation or 0.0), -pool.spent.use),
    )
    shown = used[:most]
    several = len({pool.pool.process.pid for pool in report.pools}) > 1
    names = [f"pool {use.pool.name}" for use in shown]
    if several:
        pids = [use.pool.process.pid for use in shown]
        names = [f"{name} of {pid}" for name, pid in zip(names, pids, strict=True)]
    margin = min(max(map(len, names), default=0), width // 3)
    for name, use in zip(names, shown, strict=True):
        yield from _pool(name, use, margin, width)
    if len(shown) < len(used):
        yield more_line(len(used) - len(shown), "pool")


def _pool(name: str, use: PoolUse, margin: int, width: int) -> Iterator[Text]:
    label = Text(name)
    label.truncate(margin, overflow="ellipsis", pad=True)
    bar = _bar(use.saturation, 20 if width >= WIDE else 12)
    first = Text.assemble(label, "  ", bar)
    for index, line in enumerate(folded_lines(_lent(use), width - len(first))):
        yield Text.assemble(" " * len(first) if index else first, line)


def _bar(share: float | None, cells: int) -> Text:
    """A bar for the share of the time in which the pool was exhausted; empty without a limit."""
    if share is None:
        return Text()
    filled = round(share * cells)
    style = _HELD if share >= _MUCH else TERMINAL_ACCENT
    return Text.assemble(("━" * filled, style), ("─" * (cells - filled), TERMINAL_MUTED), "  ")


def _lent(use: PoolUse) -> str:
    capacity = use.pool.capacity
    if capacity is None or use.peak_lent < capacity:
        limit = "" if capacity is None else f" of {capacity}"
        told = f"at most {use.peak_lent}{limit} out in {seconds(use.observed)}"
    else:
        all_of = "its one" if capacity == 1 else f"all {capacity}"
        exhausted = f"exhausted {percent(use.saturation or 0.0)} of {seconds(use.observed)}"
        told = f"{exhausted}: {all_of} out"
        if use.peak_waiting > 1:
            told += f", up to {use.peak_waiting:,} waiting"
    timeouts = use.outcomes.get(Outcome.TIMEOUT, 0)
    if timeouts:
        told += f", {count(timeouts, 'timeout')}"
    waiting = use.outcomes.get(Outcome.WAITING, 0)
    if waiting:
        told += f", {waiting:,} waiting now"
    return told


def route_lines(report: Report, width: int, most: int) -> Iterator[Text]:
    """A table of the ``most`` routes that used connections for the longest."""
    used = [route for route in report.routes if route.checkouts]
    if not used:
        return
    shown = used[:most]
    columns = _route_columns(shown, is_wide=width >= WIDE)
    if width < _ROOM_FOR_BLAME:
        columns = [column for column in columns if not column[0].startswith("blame")]
    columns.insert(0, ["route", *map(route_name, shown)])
    headings = [column[0] for column in columns]

    def style(row: int, column: int) -> str:
        if not row:
            return TERMINAL_MUTED
        is_hog = headings[column] == "parked" and shown[row - 1].spent.parked
        return _HELD if is_hog else "none"

    yield from aligned(list(zip(*columns, strict=True)), width=width, style=style)
    if len(shown) < len(used):
        yield more_line(len(used) - len(shown), "route")


def route_name(route: RouteUse) -> str:
    """What a table calls a route."""
    return f"{route.name} (start-up)" if route.is_at_start else route.name


def _route_columns(routes: Sequence[RouteUse], *, is_wide: bool) -> list[list[str]]:
    """Headings with the numbers below them; durations of a kind are in one unit."""
    wait = DurationUnit.of(max(route.waits.longest for route in routes))
    use = DurationUnit.of(max(route.spent.use for route in routes))
    made_wait = max(route.made_wait for route in routes)
    blame = DurationUnit.of(made_wait)
    is_blocked = any(route.spent.blocked for route in routes)

    def column(heading: str, cell: Callable[[RouteUse], str]) -> list[str]:
        return [heading, *map(cell, routes)]

    wide = [
        column("requests", lambda r: f"{r.requests:,}"),
        column("checkouts", lambda r: f"{r.checkouts:,}"),
        column(f"wait p50 {wait.name}", lambda r: wait.told(r.waits.p50)),
        column("p95", lambda r: wait.told(r.waits.p95)),
        column("max", lambda r: wait.told(r.waits.longest)),
    ]
    narrow = [
        column("requests", lambda r: f"{r.requests:,}"),
        column(
            f"wait p50/p95/max {wait.name}",
            lambda r: "/".join(map(wait.told, (r.waits.p50, r.waits.p95, r.waits.longest))),
        ),
    ]
    return [
        *(wide if is_wide else narrow),
        column(f"use {use.name}", lambda r: use.told(r.spent.use)),
        column("busy", lambda r: use.told(r.spent.busy)),
        *([column("blocked", lambda r: use.told(r.spent.blocked))] if is_blocked else []),
        column("parked", lambda r: use.told(r.spent.parked)),
        *([column("running", lambda r: use.told(r.spent.running))] if is_wide else []),
        *([column("ready", lambda r: use.told(r.spent.ready))] if is_wide else []),
        column("idle", lambda r: percent(r.idle)),
        *([column(f"blame {blame.name}", lambda r: blame.told(r.made_wait))] if made_wait else []),
    ]


class Doer(NamedTuple):
    """What made others wait: a route, its state and line. Without a route, nobody held them up."""

    route: str | None
    state: str
    line: LineKey | None


class Matrix(NamedTuple):
    """Microseconds by what made others wait and by who waited; both with the most first."""

    doers: Sequence[Doer]
    waiting: Sequence[str]
    cells: Mapping[tuple[Doer, str], int]

    @property
    def total(self) -> int:
        """All waiting."""
        return sum(self.cells.values())

    def seconds(self, doers: Iterable[Doer], routes: Sequence[str]) -> float:
        """How long these routes waited for these."""
        return sum(self.cells.get((doer, route), 0) for doer in doers for route in routes) / 1e6


def matrix(blame: Blame) -> Matrix:
    """The matrix of all pools; waits that no other request caused come last."""
    cells: Counter[tuple[Doer, str]] = Counter()
    rows: Counter[Doer] = Counter()
    columns: Counter[str] = Counter()
    for charge in blame.charges:
        doer = doer_of(charge)
        cells[doer, charge.waiting] += charge.microseconds
        rows[doer] += charge.microseconds
        columns[charge.waiting] += charge.microseconds
    doers = sorted(rows, key=lambda doer: (doer.route is None, -rows[doer]))
    return Matrix(doers, [route for route, _ in columns.most_common()], cells)


def doer_of(charge: Charge) -> Doer:
    """The doer of a charge, without the pool."""
    return Doer(charge.holding, charge.state, line_of(charge.site))


def doer_text(doer: Doer) -> str:
    """A row's label, such as ``parked at service.py:46, POST /notes``."""
    if doer.route is None:
        return _NOT_HELD[doer.state]
    at = f" at {file_and_line(*doer.line[:2])}" if doer.line is not None else ""
    return f"{doer.state}{at}, {doer.route}"


def blame_lines(blame: Blame, width: int, most: int) -> Iterator[Text]:
    """The matrix: a row for each of the ``most`` that held up others, and one for the rest."""
    found = matrix(blame)
    if not found.doers:
        yield Text("Nobody waited for a connection.")
        return
    for number in range(COLUMNS, -1, -1):
        labels, *columns = _blame_columns(found, most, number)
        widths = [max(map(len, column)) for column in columns]
        if sum(widths) + 2 * len(widths) <= width - _NARROWEST:
            break

    def style(row: int, column: int) -> str:
        if not row:
            return TERMINAL_MUTED
        is_parked = column and labels[row].startswith(State.PARKED.value)
        return _HELD if is_parked else "none"

    yield from aligned(list(zip(labels, *columns, strict=True)), width=width, style=style)
    hidden = sum(doer.route is not None for doer in found.doers) - most
    if hidden > 0:
        yield Text(f"… {count(hidden, 'row')} added up in others: --top N", TERMINAL_MUTED)


def _blame_columns(found: Matrix, most: int, number: int) -> Iterator[list[str]]:
    """The column of labels, the one of totals, and one for each route that waited."""
    held = [doer for doer in found.doers if doer.route is not None]
    shown, rest = held[:most], held[most:]
    free = [doer for doer in found.doers if doer.route is None]
    rows: list[Sequence[Doer]] = [[doer] for doer in shown]
    labels = ["held by", *map(doer_text, shown)]
    if rest:
        rows.append(rest)
        labels.append(OTHERS)
    rows += [[doer] for doer in free]
    rows.append(found.doers)
    yield [*labels, *map(doer_text, free), "all waiting"]
    waiting, rest_waiting = found.waiting[:number], found.waiting[number:]
    groups = [found.waiting, *([route] for route in waiting)]
    headings = ["made wait", *waiting]
    if rest_waiting and number:
        groups.append(rest_waiting)
        headings.append(OTHERS)
    unit = DurationUnit.of(found.total / 1e6)
    headings[0] += f" {unit.name}"
    for heading, group in zip(headings, groups, strict=True):
        yield [shortened(heading, _WIDEST), *(unit.told(found.seconds(row, group)) for row in rows)]
