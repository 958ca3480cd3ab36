"""How changes between two runs are told: values, what they are multiplied with, the conclusion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolhog.analysis.comparison import Verdict
from poolhog.analysis.measures import Unit
from poolhog.render.words import UNSEEN, brief, count, listed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.comparison import Change, Comparison, FindingChange, RouteChange
    from poolhog.analysis.conditions import ConditionResult
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.measures import Measure, Work
    from poolhog.analysis.spread import Range

ARROW = "→"
WITHIN_SPREAD = "within the spread"
_NAMED = 2
_TWICE = 2.0
_MUCH = 1_000.0
_HEADLINES = ("wait-p95", "parked", "timeouts", "throughput")
_NEWS = (Verdict.NEW, Verdict.WORSE, Verdict.GONE, Verdict.BETTER)


def told(measure: Measure, value: float) -> str:
    """A value in words."""
    match measure.unit:
        case Unit.SECONDS:
            return seconds(value)
        case Unit.SHARE:
            return f"{brief(value * 100)} %"
        case Unit.RATE:
            return f"{brief(value)}/s"
        case Unit.TIMES:
            return f"{brief(value)}x"


def both(change: Change) -> str:
    """Such as ``4.90 s → 2.00 ms``."""
    before, after = (told(change.measure, v.whole) for v in (change.before, change.after))
    return f"{before} {ARROW} {after}"


def change_text(change: Change) -> str:
    """By how much the second is more or less than the first: as a factor, or in percent."""
    first, second = change.before.whole, change.after.whole
    if math.isclose(first, second, abs_tol=1e-9):
        return "="
    if first <= 0.0:
        return "from nothing"
    if second <= 0.0:
        return "to nothing"
    ratio = second / first
    if 1 / _TWICE < ratio < _TWICE:
        percent = round((ratio - 1) * 100)
        return f"{percent:+} %" if percent else "±0 %"
    sign, times = ("\N{MULTIPLICATION SIGN}", ratio) if ratio >= 1 else ("÷", 1 / ratio)
    return f"{sign} {times:,.3g}" if times < _MUCH else f"{sign} {times:,.0f}"


def range_text(measure: Measure, spread: Range | None) -> str:
    """Between what the parts of a run are."""
    if spread is None:
        return ""
    low, high = told(measure, spread.low), told(measure, spread.high)
    return low if low == high else f"{low} to {high}"


def verdict_text(change: Change) -> str:
    """The verdict; a large difference that may be chance is not called the same."""
    if change.verdict is Verdict.SAME and change.matters:
        return WITHIN_SPREAD
    return change.verdict.value if change.verdict is not None else ""


def place(finding: Finding) -> str:
    """File and line, with as much of the path as tells files of a name apart for people."""
    site = finding.site
    if site is None:
        return UNSEEN
    return f"{'/'.join(site.file.replace(chr(92), '/').split('/')[-2:])}:{site.line}"


def named(change: FindingChange) -> str:
    """Such as ``parked-checkout at app/notes.py:44 in synchronize``."""
    finding = change.finding
    within = f" in {finding.site.name}" if finding.site is not None else ""
    return f"{finding.kind.value} at {place(finding)}{within}"


def amount(finding: Finding) -> str:
    """How much of it there is in its run."""
    if not finding.seconds:
        return count(finding.checkouts, "time")
    return f"{seconds(finding.seconds)} in {count(finding.checkouts, 'checkout')}"


def work_text(work: Work) -> str:
    """How much there was to be compared."""
    length = max(work.ended - work.began, 0.0) if len(work.rows) else 0.0
    requests = count(work.requests, "request")
    return f"{requests}, {count(len(work.rows), 'checkout')} in {seconds(length)}"


def conclusion(comparison: Comparison) -> str:
    """The comparison in a sentence or two."""
    total = comparison.total
    for run, work in ((comparison.before, total.before), (comparison.after, total.after)):
        if not work.units:
            return f"Nothing to compare: no connection was asked for in {run.label}."
    in_common = [r for r in comparison.routes if r.verdict not in (Verdict.NEW, Verdict.GONE)]
    others = _about_measures(comparison) if in_common else "The runs have no route in common."
    return f"{_about_findings(comparison)} {others}"


def _about_findings(comparison: Comparison) -> str:
    parts = []
    for verdict in _NEWS:
        found = comparison.found(verdict)
        if found:
            names = listed([named(change) for change in found], _NAMED)
            parts.append(f"{verdict.value}: {names}")
    if not parts:
        kept = len(comparison.findings)
        return f"0 new findings, 0 gone{f', {kept} as before' if kept else ''}."
    if not comparison.found(Verdict.NEW):
        parts.append("0 new")
    return "; ".join(parts) + "."


def _about_measures(comparison: Comparison) -> str:
    news = {change.measure.name: change for change in comparison.total.news}
    headlines = [news[name] for name in _HEADLINES if name in news] or list(news.values())
    if headlines:
        text = ", ".join(f"{change.measure.name} {both(change)}" for change in headlines)
        return f"{text[0].upper()}{text[1:]}."
    moved = sum(bool(route.news) for route in comparison.routes)
    if moved:
        return f"In all, nothing changed beyond the spread; {count(moved, 'route')} did."
    if comparison.total.verdict is Verdict.TOO_FEW:
        return "There are too few checkouts to tell what else changed."
    waits = comparison.total.change("wait-p95")
    doubtful = f": wait-p95 {both(waits)} is within it" if waits.matters else ""
    return f"Nothing else changed beyond the spread{doubtful}."


def gate_lines(
    results: Sequence[ConditionResult], comparison: Comparison
) -> Iterator[tuple[bool, str]]:
    """What the conditions came to: whether each holds, and the numbers."""
    for result in results:
        yield result.holds, f"{result.condition.text}: {_result(result, comparison)}"


def _result(result: ConditionResult, comparison: Comparison) -> str:
    word = "yes" if result.holds else "no"
    if result.condition.measure is None:
        return f"{word}, {len(comparison.found(Verdict.NEW))} new"
    change = result.change
    if change is None:
        return f"{word}, there is nothing to compare it with"
    if not result.condition.is_relative:
        return f"{word}, {told(change.measure, change.after.whole)}"
    numbers = f"{both(change)} ({change_text(change)})"
    if not result.is_uncertain:
        return f"{word}, {numbers}"
    return f"{word}, {numbers} is {verdict_text(change) or WITHIN_SPREAD}"


def quiet_routes(comparison: Comparison) -> Iterator[tuple[Verdict, Sequence[RouteChange]]]:
    """Those without news, by what is said of them."""
    for verdict in (Verdict.NEW, Verdict.GONE, Verdict.SAME, Verdict.TOO_FEW):
        found = [route for route in comparison.routes if route.verdict is verdict]
        if found:
            yield verdict, found
