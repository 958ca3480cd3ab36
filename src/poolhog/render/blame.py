"""Who made whom wait as a matrix: a row for each who held, a column for each who waited."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.analysis.blame import CONNECTING, NOBODY, PINGING, Blame, line_of
from poolhog.render.palette import PAINTS, TERMINAL_MUTED
from poolhog.render.words import DurationUnit, count, file_and_line, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.blame import Charge, Line

COLUMNS = 3
"""Routes that waited have columns of their own, up to so many; the others share one."""

OTHERS = "others"
_NOT_HELD = {
    CONNECTING: "opened their own connection",
    PINGING: "pinged their own connection",
    NOBODY: "nobody: one was free, or being handed over",
}
_HELD = PAINTS[State.PARKED].terminal
_WIDEST = 20
_NARROWEST = 36


class Doer(NamedTuple):
    """What made others wait: a route, its state, and the line; no route: no other's doing."""

    route: str | None
    state: str
    line: Line | None


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
    """The matrix of all pools. What no other did comes last."""
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
    """What made others wait by this charge, whatever pool it was."""
    return Doer(charge.holding, charge.state, line_of(charge.site))


def told(doer: Doer) -> str:
    """In words, such as ``parked at service.py:46, POST /notes``."""
    if doer.route is None:
        return _NOT_HELD[doer.state]
    at = f" at {file_and_line(*doer.line[:2])}" if doer.line is not None else ""
    return f"{doer.state}{at}, {doer.route}"


def blame_lines(blame: Blame, width: int, most: int) -> Iterator[Text]:
    """The matrix, with so many rows of who held up others."""
    found = matrix(blame)
    if not found.doers:
        yield Text("Nobody waited for a connection.")
        return
    for number in range(COLUMNS, -1, -1):
        labels, *columns = _columns(found, most, number)
        widths = [max(map(len, column)) for column in columns]
        if sum(widths) + 2 * len(widths) <= width - _NARROWEST:
            break
    margin = min(max(map(len, labels)), max(width - sum(widths) - 2 * len(widths), 10))
    for index, label in enumerate(labels):
        line = Text(label, TERMINAL_MUTED if not index else "")
        line.truncate(margin, overflow="ellipsis", pad=True)
        for column, room in zip(columns, widths, strict=True):
            style = (
                TERMINAL_MUTED
                if not index
                else _HELD
                if label.startswith(State.PARKED.value)
                else "none"
            )
            line.append(f"  {column[index]:>{room}}", style if index else TERMINAL_MUTED)
        yield line
    hidden = sum(doer.route is not None for doer in found.doers) - most
    if hidden > 0:
        yield Text(f"… {count(hidden, 'row')} added up in others: --top N", TERMINAL_MUTED)


def _columns(found: Matrix, most: int, number: int) -> Iterator[list[str]]:
    """The labels of the rows, all that they made others wait, and each who waited."""
    held = [doer for doer in found.doers if doer.route is not None]
    shown, rest = held[:most], held[most:]
    free = [doer for doer in found.doers if doer.route is None]
    rows: list[Sequence[Doer]] = [[doer] for doer in shown]
    labels = ["held by", *map(told, shown)]
    if rest:
        rows.append(rest)
        labels.append(OTHERS)
    rows += [[doer] for doer in free]
    rows.append(found.doers)
    yield [*labels, *map(told, free), "all waiting"]
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
