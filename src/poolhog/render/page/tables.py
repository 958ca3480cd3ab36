"""The tables of a page: of routes, lines of code, statements, pools and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poolhog.model import Outcome
from poolhog.render.page.run import MOST_ROWS, counted_rows
from poolhog.render.palette import LENT
from poolhog.render.report_tables import OTHERS, doer_text, matrix, route_name
from poolhog.render.words import count, percent, place, seconds, short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.blame.blaming import Blame
    from poolhog.analysis.measured import WaitTimes
    from poolhog.analysis.report import PoolUse, RouteUse
    from poolhog.analysis.usage import SiteUse, StatementUse
    from poolhog.model import Process
    from poolhog.render.page.links import Links
    from poolhog.render.page.run import PageRun

Row = TypeVar("Row")

MOST_WAITING = 6
"""Routes that waited and have a column of their own in the matrix of blame."""

_ROUTES_NAMED = 5


class PageCell(NamedTuple):
    """A cell: what is shown, and what it is sorted by.

    ``is_code`` if the text is of a program; ``heat`` is how dark the cell is shaded, up to 4;
    ``address`` is where an editor opens the line that it names.
    """

    text: str
    value: str | float
    is_code: bool = False
    note: str = ""
    heat: int = 0
    address: str = ""


class PageColumn(NamedTuple):
    """A column: its heading, whether it has numbers, and what the heading means."""

    name: str
    is_number: bool = True
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table; ``key`` is for addresses, ``left_out`` says which rows are not there."""

    key: str
    caption: str
    columns: Sequence[PageColumn]
    rows: Sequence[Sequence[PageCell]]
    left_out: str = ""


_STATE_COLUMNS = tuple(PageColumn(state.value) for state in LENT)


def tables(run: PageRun) -> list[PageTable]:
    """Return all tables of a run."""
    report, blame = run.report, blame_table(run.report.blame)
    return [
        *([blame] if blame.rows else []),
        _table(run, "routes", "Routes", _ROUTE_COLUMNS, report.routes, _route),
        _table(run, "sites", "Lines of code", _SITE_COLUMNS, run.lines, partial(_site, run.links)),
        _table(run, "statements", "Statements", _STATEMENT_COLUMNS, run.statements, _statement),
        _table(run, "pools", "Pools", _POOL_COLUMNS, report.pools, _pool),
        _table(run, "processes", "Processes", _PROCESS_COLUMNS, report.processes, _process),
    ]


def blame_table(blame: Blame) -> PageTable:
    """Return who made whom wait: a row for each who held, a column for each route that waited."""
    found = matrix(blame)
    waiting, more_waiting = found.waiting[:MOST_WAITING], found.waiting[MOST_WAITING:]
    groups = [(route, [route]) for route in waiting]
    groups += [(OTHERS, list(more_waiting))] if more_waiting else []
    rows = [(doer_text(doer), [doer]) for doer in found.doers[:MOST_ROWS]]
    rows += [(OTHERS, list(found.doers[MOST_ROWS:]))] if len(found.doers) > MOST_ROWS else []
    columns = [
        PageColumn("held by", is_number=False),
        PageColumn("made others wait", meaning="All that requests waited because of this"),
    ]
    for name, routes in groups:
        whole = found.seconds(found.doers, routes)
        columns.append(PageColumn(name, meaning=f"{name} waited {seconds(whole)} in all"))
    cells = [[found.seconds(doers, routes) for _, routes in groups] for _, doers in rows]
    largest = max((value for row in cells for value in row), default=0.0)
    return PageTable(
        "blame",
        "Who made whom wait",
        columns,
        [
            (
                text_cell(name),
                _time(found.seconds(doers, found.waiting)),
                *(_time(value)._replace(heat=_heat(value, largest)) for value in row),
            )
            for (name, doers), row in zip(rows, cells, strict=True)
        ],
    )


def _heat(value: float, largest: float) -> int:
    return math.ceil(4 * value / largest) if value > 0 and value >= largest / 100 else 0


def _table(
    run: PageRun,
    key: str,
    caption: str,
    columns: Sequence[PageColumn],
    rows: Sequence[Row],
    row: Callable[[Row], Sequence[PageCell]],
) -> PageTable:
    left_out = getattr(run.left_out, key)
    words = f"{counted_rows(key, left_out)} left out" if left_out else ""
    return PageTable(key, caption, columns, [row(one) for one in rows[:MOST_ROWS]], words)


def text_cell(value: str, *, is_code: bool = False, note: str = "") -> PageCell:
    """Return a cell that is sorted by what it shows."""
    return PageCell(value, value, is_code, note)


def _time(value: float) -> PageCell:
    return PageCell(seconds(value), value)


def _number(value: int) -> PageCell:
    return PageCell(f"{value:,}", value)


def _share(value: float | None) -> PageCell:
    return PageCell("no limit", -1.0) if value is None else PageCell(percent(value), value)


def _spent(spent: Account) -> list[float]:
    return [spent.use, *(getattr(spent, state.value) for state in LENT)]


def _waits(waits: WaitTimes) -> tuple[float, float, float]:
    return waits.p50, waits.p95, waits.longest


def _timeouts(outcomes: Mapping[Outcome, int]) -> PageCell:
    return _number(outcomes.get(Outcome.TIMEOUT, 0))


_WAIT_COLUMNS = (
    PageColumn("wait p50", meaning="Half of the checkouts waited no longer for a connection"),
    PageColumn("wait p95", meaning="95 of 100 checkouts waited no longer for a connection"),
    PageColumn("wait max"),
)
_USE = PageColumn("use", meaning="From getting connections to giving them back, added up")

_MADE_WAIT = PageColumn("made others wait", meaning="How long requests waited because of this")

_ROUTE_COLUMNS = (
    *(
        PageColumn("route", is_number=False),
        PageColumn("requests"),
        PageColumn("checkouts"),
        *_WAIT_COLUMNS,
    ),
    *(_USE, *_STATE_COLUMNS, PageColumn("idle", meaning="The part of the use that was not busy")),
    *(_MADE_WAIT, PageColumn("timeouts")),
)


def _route(use: RouteUse) -> Sequence[PageCell]:
    return (
        text_cell(route_name(use), is_code=True),
        *map(_number, (use.requests, use.checkouts)),
        *map(_time, (*_waits(use.waits), *_spent(use.spent))),
        _share(use.idle),
        _time(use.made_wait),
        _timeouts(use.outcomes),
    )


_SITE_COLUMNS = (
    *(PageColumn("line", is_number=False), PageColumn("function", is_number=False)),
    *(PageColumn("source", is_number=False), PageColumn("checkouts"), *_STATE_COLUMNS),
)


def _site(links: Links, use: SiteUse) -> Sequence[PageCell]:
    site = use.site
    return (
        text_cell(place(site), is_code=True, note=site.file)._replace(address=links.address(site)),
        text_cell(short_name(site.function), is_code=True),
        text_cell(site.source, is_code=True),
        _number(use.checkouts),
        *(_time(max(spent, 0.0)) for spent in use.seconds),
    )


_STATEMENT_COLUMNS = (
    *(PageColumn("statement", is_number=False), PageColumn("kind", is_number=False)),
    *(PageColumn("count"), PageColumn("total"), PageColumn("median"), PageColumn("p95")),
    *(PageColumn("errors"), PageColumn("routes", is_number=False)),
)


def _statement(use: StatementUse) -> Sequence[PageCell]:
    named, hidden = list(use.routes)[:_ROUTES_NAMED], len(use.routes) - _ROUTES_NAMED
    more = f" and {count(hidden, 'other')}" if hidden > 0 else ""
    return (
        text_cell(use.statement or use.kind.value.upper(), is_code=True),
        text_cell(use.kind.value),
        _number(use.count),
        *map(_time, (use.total, use.at(0.5), use.at(0.95))),
        _number(use.errors),
        text_cell(f"{', '.join(named)}{more}"),
    )


_POOL_COLUMNS = (
    *(PageColumn("pool", is_number=False), PageColumn("process"), PageColumn("connections")),
    *(PageColumn("checkouts"), PageColumn("most lent"), PageColumn("most waiting")),
    PageColumn(
        "exhausted",
        meaning="The part of the time in which all connections were lent or in the making",
    ),
    PageColumn("contended", meaning="The part of the time in which somebody waited"),
    *(*_WAIT_COLUMNS, _USE, *_STATE_COLUMNS, PageColumn("timeouts")),
)


def _pool(use: PoolUse) -> Sequence[PageCell]:
    pool, capacity = use.pool, use.pool.capacity
    return (
        text_cell(pool.name, is_code=True, note=f"{pool.kind} of {pool.library}"),
        PageCell(str(pool.process.pid), pool.process.pid),
        PageCell("no limit", float(2**53)) if capacity is None else _number(capacity),
        *map(_number, (use.checkouts, use.peak_lent, use.peak_waiting)),
        *map(_share, (use.saturation, use.contention)),
        *map(_time, (*_waits(use.waits), *_spent(use.spent))),
        _timeouts(use.outcomes),
    )


_PROCESS_COLUMNS = (
    *(PageColumn("process"), PageColumn("command", is_number=False), PageColumn("recorded for")),
    *(PageColumn("ended", is_number=False), PageColumn("dropped"), PageColumn("faults")),
    *(PageColumn("sampled every"), PageColumn("versions", is_number=False)),
)


def _process(process: Process) -> Sequence[PageCell]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(process.versions.items()))
    interval = process.sampling_interval
    return (
        PageCell(str(process.pid), process.pid),
        text_cell(" ".join(process.argv), is_code=True),
        _time(process.written - process.began),
        text_cell("normally" if process.finished else "abnormally, or still running"),
        *map(_number, (process.dropped, process.errors)),
        _time(interval) if interval else PageCell("never", 0.0),
        text_cell(f"poolhog {process.poolhog_version}, {versions}"),
    )
