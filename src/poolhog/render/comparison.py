"""Two runs compared: how changes are said in words, and the comparison for a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.compare.changes import Verdict
from poolhog.analysis.compare.measures import Unit
from poolhog.render.losses import loss_lines, unseen_lines
from poolhog.render.output import WIDE, aligned, in_blocks, more_line, next_line, paragraph
from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED, TERMINAL_WARNING
from poolhog.render.words import UNSEEN, brief, count, listed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.compare.changes import Change
    from poolhog.analysis.compare.comparison import (
        Comparison,
        ConditionResult,
        FindingChange,
        RouteChange,
    )
    from poolhog.analysis.compare.measures import Measure, Range
    from poolhog.analysis.compare.series import Work
    from poolhog.analysis.findings import Finding

ARROW = "→"
WITHIN_SPREAD = "within the spread"
_NAMED = 2
_TWICE = 2.0
_MUCH = 1_000.0
_HEADLINES = ("wait-p95", "parked", "timeouts", "throughput")
_NEWS = (Verdict.NEW, Verdict.WORSE, Verdict.GONE, Verdict.BETTER)
_GUTTER = 12
_STYLES = {
    Verdict.NEW: TERMINAL_WARNING,
    Verdict.WORSE: TERMINAL_WARNING,
    Verdict.GONE: "bold green",
    Verdict.BETTER: "bold green",
}
_HEADINGS = ("", "before", "after", "change", "")
_WIDE_HEADINGS = ("parts before", "parts after")


@dataclass(frozen=True, slots=True)
class ComparisonLayout:
    """How many findings and routes are shown, in how many columns.

    ``targets`` are the two traces as they were named. ``running`` are the ages in
    seconds of the last commits of processes that go on, by their ids.
    """

    width: int
    most: int
    targets: tuple[str, str]
    running: Mapping[int, float] = field(default_factory=dict)


def value_text(measure: Measure, value: float) -> str:
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
    before, after = (value_text(change.measure, v.whole) for v in (change.before, change.after))
    return f"{before} {ARROW} {after}"


def change_text(change: Change) -> str:
    """How the second value differs from the first: as a factor, or in percent if it is below 2."""
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
    return f"{sign} {times:,.3g}" if times < _MUCH else f"{sign} over {_MUCH:,.0f}"


def range_text(measure: Measure, spread: Range | None) -> str:
    """The range of the values of a run's parts, such as ``1.2 s to 1.4 s``; "" if it is unknown."""
    if spread is None:
        return ""
    low, high = value_text(measure, spread.low), value_text(measure, spread.high)
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
    return f"{finding.kind.name} at {place(finding)}{within}"


def amount(finding: Finding) -> str:
    """How much time a finding takes in its run, or how often it occurs if it takes none."""
    if not finding.seconds:
        return count(finding.checkouts, "time")
    return f"{seconds(finding.seconds)} in {count(finding.checkouts, 'checkout')}"


def work_text(work: Work) -> str:
    """The size of a run: requests, checkouts and its length."""
    length = work.lasted
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
    """For each condition whether it holds, and a line with its numbers."""
    for result in results:
        yield result.holds, f"{result.condition.text}: {_result_text(result, comparison)}"


def _result_text(result: ConditionResult, comparison: Comparison) -> str:
    word = "yes" if result.holds else "no"
    if result.condition.measure is None:
        return f"{word}, {len(comparison.found(Verdict.NEW))} new"
    change = result.change
    if change is None:
        return f"{word}, there is nothing to compare it with"
    if not result.condition.is_relative:
        return f"{word}, {value_text(change.measure, change.after.whole)}"
    numbers = f"{both(change)} ({change_text(change)})"
    if not result.is_uncertain:
        return f"{word}, {numbers}"
    return f"{word}, {numbers} is {verdict_text(change) or WITHIN_SPREAD}"


def quiet_routes(comparison: Comparison) -> Iterator[tuple[Verdict, Sequence[RouteChange]]]:
    """The routes without news, by their verdicts."""
    for verdict in (Verdict.NEW, Verdict.GONE, Verdict.SAME, Verdict.TOO_FEW):
        found = [route for route in comparison.routes if route.verdict is verdict]
        if found:
            yield verdict, found


def comparison_lines(
    comparison: Comparison, results: Sequence[ConditionResult], layout: ComparisonLayout
) -> Iterator[Text]:
    """The comparison; first comes the conclusion, last what to type next."""
    blocks = (
        (
            *_notes(comparison, layout),
            *_conclusion(comparison, layout.width),
            *_gate(results, comparison, layout.width),
        ),
        tuple(_runs(comparison)),
        *_findings(comparison, layout),
        tuple(_measures(comparison.total, comparison.total.changes, layout.width)),
        *_routes(comparison, layout),
        tuple(_quiet(comparison, layout.width)),
        (_next(comparison, layout),),
    )
    yield from in_blocks(blocks)


def _notes(comparison: Comparison, layout: ComparisonLayout) -> Iterator[Text]:
    """What the recorder lost of either run, or did not see the end of."""
    for run in (comparison.before, comparison.after):
        report, room = run.report, layout.width - len(run.label) - 2
        notes = (
            *loss_lines(report.unreadable, report.processes, room, report.checkouts),
            *unseen_lines(report.processes, layout.running),
        )
        for note in notes:
            yield Text.assemble(f"{run.label}: ", note, style=note.style)


def _conclusion(comparison: Comparison, width: int) -> Iterator[Text]:
    yield from paragraph(conclusion(comparison), width, "bold")


def _gate(results: Sequence[ConditionResult], comparison: Comparison, width: int) -> Iterator[Text]:
    for holds, line in gate_lines(results, comparison):
        style = TERMINAL_WARNING if holds else TERMINAL_MUTED
        yield from paragraph(f"{'failed' if holds else 'passed'}  {line}", width, style, 8)


def _runs(comparison: Comparison) -> Iterator[Text]:
    total = comparison.total
    sides = (("before", comparison.before, total.before), ("after", comparison.after, total.after))
    margin = max(len(run.label) for _, run, _ in sides)
    for name, run, work in sides:
        yield Text.assemble(
            (f"{name:<{_GUTTER}}", TERMINAL_MUTED), f"{run.label:<{margin}}  ", work_text(work)
        )
    each = "request" if total.before.requests or total.after.requests else "checkout"
    yield Text(f"{'':{_GUTTER}}Seconds below are those of one {each}, on average.", TERMINAL_MUTED)


def _findings(comparison: Comparison, layout: ComparisonLayout) -> Iterator[tuple[Text, ...]]:
    shown = comparison.findings[: layout.most]
    lines = [line for finding in shown for line in _finding(finding, comparison, layout.width)]
    if len(shown) < len(comparison.findings):
        lines.append(more_line(len(comparison.findings) - len(shown), "finding"))
    yield tuple(lines)


def _finding(found: FindingChange, comparison: Comparison, width: int) -> Iterator[Text]:
    finding = found.finding
    site = finding.site
    head = Text.assemble(
        (f"{_short(found.verdict):<{_GUTTER}}", _STYLES.get(found.verdict, TERMINAL_MUTED)),
        (f"{finding.kind.name}  ", "bold"),
        (place(finding), "bold"),
        (f" in {site.name}" if site is not None else "", TERMINAL_MUTED),
    )
    source = site.source if site is not None else ""
    lines = [head, *([_indented(source, TERMINAL_ACCENT)] if source else [])]
    lines.extend(_indented(part) for part in _evidence(found, comparison))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        yield line


def _evidence(found: FindingChange, comparison: Comparison) -> Iterator[str]:
    if found.change is not None:
        each = "of each request" if comparison.total.after.requests else "of each checkout"
        yield f"{both(found.change)} {each}, {change_text(found.change)}"
    else:
        yield amount(found.finding)
    if found.verdict is Verdict.NOT_CALLED:
        routes = ", ".join(found.finding.routes[:2])
        yield f"whether it is gone cannot be told: {routes} was not called after"
    if found.has_moved and found.before is not None:
        yield f"was at {place(found.before)}"


def _measures(route: RouteChange, changes: Sequence[Change], width: int) -> Iterator[Text]:
    """A table of some changes of a route."""
    if not changes:
        return
    is_wide = width >= WIDE
    headings = [f"{route.name:<14}", *_HEADINGS[1:], *(_WIDE_HEADINGS if is_wide else ())]
    rows = [headings, *(_cells(change, is_wide=is_wide) for change in changes)]

    def style(row: int, column: int) -> str:
        if not row:
            return TERMINAL_MUTED if column else "bold"
        verdict = changes[row - 1].verdict
        return _STYLES.get(verdict, TERMINAL_MUTED) if verdict and column == 4 else "none"

    # Two columns are left free at the right.
    yield from aligned(rows, width=width - 2, left=(4,), style=style)


def _cells(change: Change, *, is_wide: bool) -> list[str]:
    measure = change.measure
    cells = [
        f"  {measure.name}",
        value_text(measure, change.before.whole),
        value_text(measure, change.after.whole),
        change_text(change),
        verdict_text(change),
    ]
    ranges = [range_text(measure, spread) for spread in change.ranges]
    return [*cells, *ranges] if is_wide else cells


def _routes(comparison: Comparison, layout: ComparisonLayout) -> Iterator[tuple[Text, ...]]:
    found = [route for route in comparison.routes if route.news]
    if len(comparison.routes) == 1 and comparison.total.changes:
        return  # the only one is all of them
    for route in found[: layout.most]:
        yield tuple(_measures(route, route.news, layout.width))
    if len(found) > layout.most:
        yield (more_line(len(found) - layout.most, "route"),)


def _quiet(comparison: Comparison, width: int) -> Iterator[Text]:
    for verdict, routes in quiet_routes(comparison):
        names = ", ".join(route.name for route in routes)
        line = Text.assemble((f"{_short(verdict):<{_GUTTER}}", TERMINAL_MUTED), names)
        line.truncate(width, overflow="ellipsis")
        yield line


def _next(comparison: Comparison, layout: ComparisonLayout) -> Text:
    before, after = layout.targets
    worse = [*comparison.found(Verdict.NEW), *comparison.found(Verdict.WORSE)]
    example = next((f.finding for f in worse if f.finding.example.request is not None), None)
    if example is not None and example.routes:
        words = ["log", after, "--route", example.routes[0]]
    else:
        words = ["compare", before, after, "--html", "compare.html"]
    return next_line(words)


def _short(verdict: Verdict) -> str:
    """In the gutter."""
    return "too few" if verdict is Verdict.TOO_FEW else verdict.value


def _indented(text: str, style: str = "") -> Text:
    return Text.assemble(" " * _GUTTER, (text, style or "none"))
