"""Two runs compared, for a build: as JSON, and as Markdown for a pull request on GitHub.

In the Markdown, whatever comes from a trace stands in ``<code>``, with all that Markdown or HTML
could take for its own as numeric references: these have no structure in CommonMark, and split no
cell of a table.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from poolhog.analysis.compare.changes import Verdict
from poolhog.analysis.compare.measures import MEASURES, Unit
from poolhog.render.comparison import (
    amount,
    both,
    change_text,
    conclusion,
    gate_lines,
    place,
    quiet_routes,
    range_text,
    value_text,
    verdict_text,
    work_text,
)
from poolhog.render.losses import losses_json, missing_json, missing_told
from poolhog.render.report import finding_json
from poolhog.render.words import count, listed
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.compare.changes import Change
    from poolhog.analysis.compare.comparison import (
        Comparison,
        ConditionResult,
        FindingChange,
        RouteChange,
        Run,
    )
    from poolhog.analysis.compare.series import Work
    from poolhog.analysis.findings import Finding

MOST = 20
"""Findings, and routes with news: GitHub takes no more than 65,536 characters."""

_LONGEST = 300
_MARKS = {
    Verdict.NEW: "❌ new",
    Verdict.WORSE: "❌ worse",
    Verdict.GONE: "✅ gone",
    Verdict.BETTER: "✅ better",
}
_LINKING = frozenset("@#")
_BROKEN = "&#8203;"
"""Follows what would begin a mention, or an issue: GitHub looks for these in what is shown."""

_ADDRESS = re.compile(r"\bwww\.|:(?=/)", re.IGNORECASE)
"""GitHub makes a link of this, unless its last character is a reference."""

_PLAIN = frozenset(" .,:;/()+=-%…→÷\N{MULTIPLICATION SIGN}✅❌")


def comparison_json(
    comparison: Comparison, results: Sequence[ConditionResult] = ()
) -> dict[str, Any]:
    """The comparison as documented in ``docs/compare.md``, made of JSON's values only."""
    total = comparison.total
    return {
        "conclusion": conclusion(comparison),
        "failed": any(result.holds for result in results),
        "conditions": [_result_json(result) for result in results],
        "before": _run_json(comparison.before, total.before),
        "after": _run_json(comparison.after, total.after),
        "totals": _route_json(total),
        "routes": [_route_json(route) for route in comparison.routes],
        "findings": [_finding_json(finding) for finding in comparison.findings],
    }


def _result_json(result: ConditionResult) -> dict[str, Any]:
    change = result.change
    return {
        "condition": result.condition.text,
        "holds": result.holds,
        "within_spread": result.is_uncertain,
        "before": change.before.whole if change is not None else None,
        "after": change.after.whole if change is not None else None,
        "change": _finite(change.relative) if change is not None else None,
    }


def _run_json(run: Run, work: Work) -> dict[str, Any]:
    processes = run.report.processes
    return {
        "name": run.label,
        **_work_json(work),
        "dropped": sum(process.dropped for process in processes),
        "recorder_errors": sum(process.errors for process in processes),
        **losses_json(run.report.unreadable, processes),
    }


def _work_json(work: Work) -> dict[str, Any]:
    return {
        "requests": work.requests,
        "checkouts": len(work.rows),
        "observed_s": work.lasted,
    }


def _route_json(route: RouteChange) -> dict[str, Any]:
    changes = {change.measure.key: _change_json(change) for change in route.changes}
    return {
        "name": route.name,
        "verdict": route.verdict.value,
        "before": _work_json(route.before),
        "after": _work_json(route.after),
        "measures": {m.key: changes.get(m.key) for m in MEASURES},
    }


def _change_json(change: Change) -> dict[str, Any]:
    before, after = change.ranges
    return {
        "before": change.before.whole,
        "after": change.after.whole,
        "before_parts": list(before) if before is not None else None,
        "after_parts": list(after) if after is not None else None,
        "change": _finite(change.relative),
        "probability": change.probability,
        "verdict": change.verdict.value if change.verdict is not None else None,
    }


def _finding_json(found: FindingChange) -> dict[str, Any]:
    change = found.change
    is_timed = change is not None and change.measure.unit is Unit.SECONDS
    return {
        "verdict": found.verdict.value,
        "kind": found.finding.kind.name,
        "has_moved": found.has_moved,
        "before": _either(found.before),
        "after": _either(found.after),
        "wasted_s": _change_json(change) if change is not None and is_timed else None,
        "seen": _change_json(change) if change is not None and not is_timed else None,
    }


def _either(finding: Finding | None) -> dict[str, Any] | None:
    return finding_json(finding) if finding is not None else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def comparison_markdown(comparison: Comparison, results: Sequence[ConditionResult]) -> str:
    """The comparison, with the conclusion as its heading."""
    lines = [
        f"### poolhog: {_text(conclusion(comparison))}",
        "",
        *(
            f"- {'❌' if holds else '✅'} {_text(line)}"
            for holds, line in gate_lines(results, comparison)
        ),
        *_missing(comparison),
        "",
        *_findings(comparison.findings),
        *_measures(comparison),
        *_routes(comparison),
        *_runs(comparison),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _missing(comparison: Comparison) -> Iterator[str]:
    """A line for each run of which something could not be written."""
    for run in (comparison.before, comparison.after):
        report = run.report
        told = missing_told(missing_json(report.processes), report.checkouts)
        if told is not None:
            yield f"- ❌ {code(run.label)}: {_text(told)}"


def code(text: str) -> str:
    """A text that stands for itself."""
    return f"<code>{_text(visible(text, _LONGEST))}</code>"


def _text(text: str) -> str:
    written = "".join(
        c if c.isalnum() or c in _PLAIN else f"&#{ord(c)};{_BROKEN if c in _LINKING else ''}"
        for c in " ".join(text.split())
    )
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", written)


def _findings(findings: Sequence[FindingChange]) -> Iterator[str]:
    if not findings:
        return
    yield from _table(
        ("", "finding", "line", "wasted"),
        (
            (
                _MARKS.get(found.verdict, found.verdict.value),
                found.finding.kind.name,
                _line(found),
                _wasted(found),
            )
            for found in findings[:MOST]
        ),
    )
    yield from _left_out(len(findings) - MOST, "finding")


def _line(found: FindingChange) -> str:
    site = found.finding.site
    where = place(found.finding)
    if site is None:
        return where
    moved = f", was at {code(place(found.before))}" if found.has_moved and found.before else ""
    source = f"<br>{code(site.source)}" if site.source else ""
    return f"{code(where)} in {code(site.name)}{moved}{source}"


def _wasted(found: FindingChange) -> str:
    if found.change is None:
        return amount(found.finding)
    return f"{both(found.change)} of each request ({change_text(found.change)})"


def _measures(comparison: Comparison) -> Iterator[str]:
    if not comparison.total.changes:
        return
    yield from _table(
        (comparison.total.name, "before", "after", "change", ""),
        (_cells(change, change.measure.name) for change in comparison.total.changes),
        numbers=(1, 2, 3),
    )


def _cells(change: Change, name: str) -> Sequence[str]:
    sides = zip((change.before, change.after), change.ranges, strict=True)
    values = [
        f"{value_text(change.measure, value.whole)}"
        + (f"<br><sub>{_text(range_text(change.measure, spread))}</sub>" if spread else "")
        for value, spread in sides
    ]
    verdict = _MARKS[change.verdict] if change.verdict in _MARKS else verdict_text(change)
    return (name, *values, change_text(change), verdict)


def _routes(comparison: Comparison) -> Iterator[str]:
    found = [route for route in comparison.routes if route.news]
    if found and len(comparison.routes) > 1:
        yield from _table(
            ("route", "measure", "before", "after", "change", ""),
            (row for route in found[:MOST] for row in _route(route)),
            numbers=(2, 3, 4),
        )
        yield from _left_out(len(found) - MOST, "route")
    for verdict, routes in quiet_routes(comparison):
        names = listed([code(route.name) for route in routes], MOST, "other")
        yield f"{verdict.value.capitalize()}: {names}."
        yield ""


def _route(route: RouteChange) -> Iterator[Sequence[str]]:
    for index, change in enumerate(route.news):
        yield ("" if index else code(route.name), *_cells(change, change.measure.name))


def _runs(comparison: Comparison) -> Iterator[str]:
    total = comparison.total
    sides = (("Before", comparison.before, total.before), ("after", comparison.after, total.after))
    told = "; ".join(f"{name} {code(run.label)}: {work_text(work)}" for name, run, work in sides)
    yield (
        f"<sub>{told}. Small numbers are the least and the greatest of ten parts of a run; "
        "what is between is the same.</sub>"
    )


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> Iterator[str]:
    rules = ["---:" if index in numbers else "---" for index, _ in enumerate(headings)]
    for row in (headings, rules, *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def _left_out(number: int, noun: str) -> Iterator[str]:
    if number > 0:
        yield f"… and {count(number, noun)} more."
        yield ""
