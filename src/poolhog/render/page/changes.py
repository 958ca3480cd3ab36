"""What changed from one side of a page to the other: the conclusion, by finding and by route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.comparison import Verdict
from poolhog.render.comparison import amount, both, change_text, conclusion, place, range_text
from poolhog.render.page.side import MOST_ROWS
from poolhog.render.page.tables import Cell, Column, Table
from poolhog.render.page.texts import page_text
from poolhog.render.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.comparison import Change, Comparison, FindingChange, RouteChange

_SHOWN = ("throughput", "wait-p95", "use", "busy", "parked", "timeouts")
_MUCH = 1_000.0
_SPREAD = "The least and the greatest of ten parts of each run: "


@dataclass(frozen=True, slots=True)
class Changes:
    """The conclusion, and the tables behind it."""

    conclusion: str
    tables: Sequence[Table]


def changes(comparison: Comparison) -> Changes:
    """What is told of a comparison."""
    routes = comparison.routes if len(comparison.routes) != 1 else ()
    shown = [comparison.total, *routes[:MOST_ROWS]] if comparison.total.changes else routes
    tables = [
        Table(
            "route-changes",
            "What changed, by route",
            [
                *(Column("route", is_number=False), Column("verdict", is_number=False)),
                *(Column(name, meaning=_MEANINGS.get(name, "")) for name in _SHOWN),
            ],
            [_route(route) for route in shown],
            _left_out(len(routes) - MOST_ROWS, "route"),
        )
    ]
    if comparison.findings:
        tables.insert(0, _findings(comparison.findings))
    return Changes(page_text(conclusion(comparison)), tables)


_MEANINGS = {
    "throughput": "Requests by the second, from the first checkout to the last",
    "wait-p95": "95 of 100 checkouts waited no longer",
    "use": "In a request, added up",
    "busy": "In a request, added up",
    "parked": "In a request, added up",
    "timeouts": "The part of the checkouts that got no connection in time",
}


def _findings(findings: Sequence[FindingChange]) -> Table:
    columns = (
        *(Column(name, is_number=False) for name in ("verdict", "finding", "line", "function")),
        *(Column(name, is_number=False) for name in ("source", "wasted")),
    )
    rows = [_finding(found) for found in findings[:MOST_ROWS]]
    left_out = _left_out(len(findings) - MOST_ROWS, "finding")
    return Table("finding-changes", "What became of the findings", columns, rows, left_out)


def _finding(found: FindingChange) -> Sequence[Cell]:
    site = found.finding.site
    wasted = amount(found.finding)
    if found.change is not None:
        wasted = f"{both(found.change)} of each request, {change_text(found.change)}"
    moved = f"was at {place(found.before)}" if found.has_moved and found.before else ""
    return (
        _text(found.verdict.value),
        _text(found.finding.kind.name),
        _code(place(found.finding), moved),
        _code(site.name if site is not None else ""),
        _code(site.source if site is not None else ""),
        _text(wasted),
    )


def _route(route: RouteChange) -> Sequence[Cell]:
    by_name = {change.measure.name: change for change in route.changes}
    return (
        _code(route.name),
        _text(route.verdict.value),
        *(_change(by_name.get(name)) for name in _SHOWN),
    )


def _change(change: Change | None) -> Cell:
    if change is None:
        return Cell("", 0.0)
    is_news = change.verdict in (Verdict.WORSE, Verdict.BETTER)
    news = f", {change.verdict.value}" if is_news and change.verdict is not None else ""
    ranges = [range_text(change.measure, spread) for spread in change.ranges]
    note = f"{_SPREAD}{ranges[0]}; {ranges[1]}" if all(ranges) else ""
    return Cell(f"{both(change)}{news}", min(change.relative, _MUCH), note=note)


def _code(text: str, note: str = "") -> Cell:
    return Cell(page_text(text), page_text(text), is_code=True, note=page_text(note))


def _text(text: str) -> Cell:
    return Cell(text, text)


def _left_out(number: int, noun: str) -> str:
    return f"{count(number, noun)} left out" if number > 0 else ""
