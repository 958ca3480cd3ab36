"""What changed from one run of a page to the other: by finding, by route, and in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.compare.changes import Verdict
from poolhog.render.comparison import amount, both, change_text, conclusion, place, range_text
from poolhog.render.page.run import MOST_ROWS
from poolhog.render.page.tables import PageCell, PageColumn, PageTable, text_cell
from poolhog.render.page.verdict import timeouts
from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.compare.changes import Change
    from poolhog.analysis.compare.comparison import Comparison, FindingChange, RouteChange
    from poolhog.analysis.report import PoolUse, Report
    from poolhog.render.page.run import PageRun

_SHOWN = ("throughput", "wait-p95", "use", "busy", "parked", "timeouts")
_MUCH = 1_000.0
_SPREAD = "The least and the greatest of ten parts of each run: "


@dataclass(frozen=True, slots=True)
class Changes:
    """The conclusion, and the tables behind it."""

    conclusion: str
    tables: Sequence[PageTable]


def changes(comparison: Comparison) -> Changes:
    """Return what changed: by finding, if there are any, and by route."""
    routes = comparison.routes if len(comparison.routes) != 1 else ()
    shown = [comparison.total, *routes[:MOST_ROWS]] if comparison.total.changes else routes
    tables = [
        PageTable(
            "route-changes",
            "What changed, by route",
            [
                *(PageColumn("route", is_number=False), PageColumn("verdict", is_number=False)),
                *(PageColumn(name, meaning=_MEANINGS.get(name, "")) for name in _SHOWN),
            ],
            [_route(route) for route in shown],
            _left_out(len(routes) - MOST_ROWS, "route"),
        )
    ]
    if comparison.findings:
        tables.insert(0, _findings(comparison.findings))
    return Changes(conclusion(comparison), tables)


_MEANINGS = {
    "throughput": "Answers per second, in the time in which they are counted",
    "wait-p95": "95 of 100 checkouts waited no longer",
    "use": "In a request, added up",
    "busy": "In a request, added up",
    "blocked": "In a request, added up",
    "parked": "In a request, added up",
    "timeouts": "The part of the checkouts that got no connection in time",
}


def _findings(findings: Sequence[FindingChange]) -> PageTable:
    columns = (
        *(PageColumn(name, is_number=False) for name in ("verdict", "finding", "line", "function")),
        *(PageColumn(name, is_number=False) for name in ("source", "wasted")),
    )
    rows = [_finding(found) for found in findings[:MOST_ROWS]]
    left_out = _left_out(len(findings) - MOST_ROWS, "finding")
    return PageTable("finding-changes", "What became of the findings", columns, rows, left_out)


def _finding(found: FindingChange) -> Sequence[PageCell]:
    site = found.finding.site
    wasted = amount(found.finding)
    if found.change is not None:
        wasted = f"{both(found.change)} of each request, {change_text(found.change)}"
    moved = f"was at {place(found.before)}" if found.has_moved and found.before else ""
    return (
        text_cell(found.verdict.value),
        text_cell(found.finding.kind.name),
        _code(place(found.finding), moved),
        _code(site.name if site is not None else ""),
        _code(site.source if site is not None else ""),
        text_cell(wasted),
    )


def _route(route: RouteChange) -> Sequence[PageCell]:
    by_name = {change.measure.name: change for change in route.changes}
    return (
        _code(route.name),
        text_cell(route.verdict.value),
        *(_change(by_name.get(name)) for name in _SHOWN),
    )


def _change(change: Change | None) -> PageCell:
    if change is None:
        return PageCell("", 0.0)
    is_news = change.verdict in (Verdict.WORSE, Verdict.BETTER)
    news = f", {change.verdict.value}" if is_news and change.verdict is not None else ""
    ranges = [range_text(change.measure, spread) for spread in change.ranges]
    note = f"{_SPREAD}{ranges[0]}; {ranges[1]}" if all(ranges) else ""
    return PageCell(f"{both(change)}{news}", min(change.relative, _MUCH), note=note)


def _code(text: str, note: str = "") -> PageCell:
    return text_cell(text, is_code=True, note=note)


def _left_out(number: int, noun: str) -> str:
    return f"{count(number, noun)} left out" if number > 0 else ""


def comparison(one: PageRun, other: PageRun) -> PageTable:
    """Return the table of two runs side by side, in the numbers that tell them apart."""
    meaning = "What the first is multiplied with, or divided by, to get the second"
    columns = (
        PageColumn("number", is_number=False),
        *(PageColumn(run.label) for run in (one, other)),
        PageColumn("change", meaning=meaning),
    )
    rows = []
    for name, value, told in _MEASURES:
        first, second = value(one.report), value(other.report)
        cells = PageCell(told(first), first), PageCell(told(second), second)
        rows.append((text_cell(name), *cells, _ratio(first, second)))
    return PageTable("comparison", "Both runs in numbers", columns, rows)


def _ratio(first: float, second: float) -> PageCell:
    if first == second:
        return PageCell("the same", 1.0)
    if not first:
        return PageCell("from nothing", _MUCH)
    ratio = second / first
    if not second:
        return PageCell("to nothing", 0.0)
    sign, times = ("\N{MULTIPLICATION SIGN}", ratio) if ratio >= 1 else ("÷", 1 / ratio)
    return PageCell(f"{sign} {times:,.3g}" if times < _MUCH else f"{sign} {times:,.0f}", ratio)


def _most(value: Callable[[PoolUse], float]) -> Callable[[Report], float]:
    return lambda report: max((float(value(pool)) for pool in report.pools), default=0.0)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


_MEASURES: Sequence[tuple[str, Callable[[Report], float], Callable[[float], str]]] = (
    ("requests", lambda report: report.requests, _whole),
    ("checkouts", lambda report: report.checkouts, _whole),
    ("recorded for", lambda report: report.observed, seconds),
    ("pool exhausted", _most(lambda pool: pool.saturation or 0.0), percent),
    ("waiting at once", _most(lambda pool: pool.peak_waiting), _whole),
    ("wait p50", _most(lambda pool: pool.waits.p50), seconds),
    ("wait p95", _most(lambda pool: pool.waits.p95), seconds),
    ("wait, added up", lambda report: report.spent.wait, seconds),
    ("connection time", lambda report: report.spent.use, seconds),
    ("of it busy", lambda report: report.spent.busy, seconds),
    ("of it parked", lambda report: report.spent.parked, seconds),
    ("of it running", lambda report: report.spent.running, seconds),
    ("of it ready", lambda report: report.spent.ready, seconds),
    ("timeouts", timeouts, _whole),
)
