"""Two runs for a program, as documented in ``docs/compare.md``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolhog.analysis.measures import MEASURES, Unit
from poolhog.render.changes import conclusion
from poolhog.render.missing import missing_json
from poolhog.render.report_json import finding_json
from poolhog.render.unreadable import unreadable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.comparison import Change, Comparison, FindingChange, RouteChange, Run
    from poolhog.analysis.conditions import ConditionResult
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.measures import Work


def comparison_json(
    comparison: Comparison, results: Sequence[ConditionResult] = ()
) -> dict[str, Any]:
    """The comparison of JSON's values only."""
    total = comparison.total
    return {
        "conclusion": conclusion(comparison),
        "failed": any(result.holds for result in results),
        "conditions": [_result(result) for result in results],
        "before": _run(comparison.before, total.before),
        "after": _run(comparison.after, total.after),
        "totals": _route(total),
        "routes": [_route(route) for route in comparison.routes],
        "findings": [_finding(finding) for finding in comparison.findings],
    }


def _result(result: ConditionResult) -> dict[str, Any]:
    change = result.change
    return {
        "condition": result.condition.text,
        "holds": result.holds,
        "within_spread": result.is_uncertain,
        "before": change.before.whole if change is not None else None,
        "after": change.after.whole if change is not None else None,
        "change": _finite(change.relative) if change is not None else None,
    }


def _run(run: Run, work: Work) -> dict[str, Any]:
    processes = run.report.processes
    return {
        "name": run.label,
        **_work(work),
        "dropped": sum(process.dropped for process in processes),
        "recorder_errors": sum(process.errors for process in processes),
        "unreadable": unreadable_json(run.report.unreadable),
        "missing": missing_json(processes),
    }


def _work(work: Work) -> dict[str, Any]:
    return {
        "requests": work.requests,
        "checkouts": len(work.rows),
        "observed_s": max(work.ended - work.began, 0.0) if len(work.rows) else 0.0,
    }


def _route(route: RouteChange) -> dict[str, Any]:
    changes = {change.measure.key: _change(change) for change in route.changes}
    return {
        "name": route.name,
        "verdict": route.verdict.value,
        "before": _work(route.before),
        "after": _work(route.after),
        "measures": {m.key: changes.get(m.key) for m in MEASURES},
    }


def _change(change: Change) -> dict[str, Any]:
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


def _finding(found: FindingChange) -> dict[str, Any]:
    change = found.change
    is_timed = change is not None and change.measure.unit is Unit.SECONDS
    return {
        "verdict": found.verdict.value,
        "kind": found.finding.kind.value,
        "has_moved": found.has_moved,
        "before": _either(found.before),
        "after": _either(found.after),
        "wasted_s": _change(change) if change is not None and is_timed else None,
        "seen": _change(change) if change is not None and not is_timed else None,
    }


def _either(finding: Finding | None) -> dict[str, Any] | None:
    return finding_json(finding) if finding is not None else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
