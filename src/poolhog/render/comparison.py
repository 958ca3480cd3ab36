"""Two runs for a terminal: the conclusion, conditions, findings, measures, what to type next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.comparison import Verdict
from poolhog.render.changes import (
    amount,
    both,
    change_text,
    conclusion,
    gate_lines,
    place,
    quiet_routes,
    range_text,
    told,
    verdict_text,
    work_text,
)
from poolhog.render.missing import missing_lines
from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.report import WIDE, unseen
from poolhog.render.unreadable import unreadable_lines
from poolhog.render.words import command_of, count, folded_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.comparison import (
        Change,
        Comparison,
        FindingChange,
        RouteChange,
    )
    from poolhog.analysis.conditions import ConditionResult

_GUTTER = 10
_STYLES = {
    Verdict.NEW: "bold red",
    Verdict.WORSE: "bold red",
    Verdict.GONE: "bold green",
    Verdict.BETTER: "bold green",
}
_HEADINGS = ("", "before", "after", "change", "")
_WIDE_HEADINGS = ("parts before", "parts after")


@dataclass(frozen=True, slots=True)
class Layout:
    """How many findings and routes are shown, in how many columns.

    ``targets`` are the two traces as they were named. ``running`` are the ages in
    seconds of the last commits of processes that go on, by their ids.
    """

    width: int
    most: int
    targets: tuple[str, str]
    running: Mapping[int, float] = field(default_factory=dict)


def comparison_lines(
    comparison: Comparison, results: Sequence[ConditionResult], layout: Layout
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
    for index, block in enumerate(block for block in blocks if block):
        if index:
            yield Text()
        yield from block


def _notes(comparison: Comparison, layout: Layout) -> Iterator[Text]:
    """What the recorder lost of either run, or did not see the end of."""
    for run in (comparison.before, comparison.after):
        notes = (
            *unreadable_lines(run.report.unreadable, layout.width - len(run.label) - 2),
            *missing_lines(
                run.report.processes, layout.width - len(run.label) - 2, run.report.checkouts
            ),
            *unseen(run.report.processes, layout.running),
        )
        for note in notes:
            yield Text.assemble(f"{run.label}: ", note, style=note.style)


def _conclusion(comparison: Comparison, width: int) -> Iterator[Text]:
    for line in folded_lines(conclusion(comparison), width):
        yield Text(line, "bold")


def _gate(results: Sequence[ConditionResult], comparison: Comparison, width: int) -> Iterator[Text]:
    for holds, line in gate_lines(results, comparison):
        style = "bold red" if holds else TERMINAL_MUTED
        for part in folded_lines(f"{'failed' if holds else 'passed'}  {line}", width, 8):
            yield Text(part, style)


def _runs(comparison: Comparison) -> Iterator[Text]:
    total = comparison.total
    sides = (("before", comparison.before, total.before), ("after", comparison.after, total.after))
    margin = max(len(run.label) for _, run, _ in sides)
    for name, run, work in sides:
        yield Text.assemble(
            (f"{name:<{_GUTTER}}", TERMINAL_MUTED), f"{run.label:<{margin}}  ", work_text(work)
        )


def _findings(comparison: Comparison, layout: Layout) -> Iterator[tuple[Text, ...]]:
    shown = comparison.findings[: layout.most]
    lines = [line for finding in shown for line in _finding(finding, comparison, layout.width)]
    if len(shown) < len(comparison.findings):
        lines.append(_more(len(comparison.findings) - len(shown), "finding"))
    yield tuple(lines)


def _finding(found: FindingChange, comparison: Comparison, width: int) -> Iterator[Text]:
    finding = found.finding
    site = finding.site
    head = Text.assemble(
        (f"{_short(found.verdict):<{_GUTTER}}", _STYLES.get(found.verdict, TERMINAL_MUTED)),
        (f"{finding.kind.value}  ", "bold"),
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
    headings = [route.name, *_HEADINGS[1:], *(_WIDE_HEADINGS if is_wide else ())]
    rows = [headings, *(_cells(change, is_wide=is_wide) for change in changes)]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    widths[0] = min(max(widths[0], 14), max(width - sum(widths[1:]) - 2 * len(widths), 14))
    for index, row in enumerate(rows):
        line = Text(row[0], "bold" if not index else "")
        line.truncate(widths[0], overflow="ellipsis", pad=True)
        verdict = changes[index - 1].verdict if index else None
        for column, cell in enumerate(row[1:], 1):
            style = _STYLES.get(verdict, TERMINAL_MUTED) if verdict and column == 4 else ""
            aligned = f"{cell:<{widths[column]}}" if column == 4 else f"{cell:>{widths[column]}}"
            line.append(f"  {aligned}", TERMINAL_MUTED if not index else style or "none")
        line.rstrip()
        yield line


def _cells(change: Change, *, is_wide: bool) -> list[str]:
    measure = change.measure
    cells = [
        f"  {measure.name}",
        told(measure, change.before.whole),
        told(measure, change.after.whole),
        change_text(change),
        verdict_text(change),
    ]
    ranges = [range_text(measure, spread) for spread in change.ranges]
    return [*cells, *ranges] if is_wide else cells


def _routes(comparison: Comparison, layout: Layout) -> Iterator[tuple[Text, ...]]:
    found = [route for route in comparison.routes if route.news]
    if len(comparison.routes) == 1 and comparison.total.changes:
        return  # the only one is all of them
    for route in found[: layout.most]:
        yield tuple(_measures(route, route.news, layout.width))
    if len(found) > layout.most:
        yield (_more(len(found) - layout.most, "route"),)


def _quiet(comparison: Comparison, width: int) -> Iterator[Text]:
    for verdict, routes in quiet_routes(comparison):
        names = ", ".join(route.name for route in routes)
        line = Text.assemble((f"{_short(verdict):<{_GUTTER}}", TERMINAL_MUTED), names)
        line.truncate(width, overflow="ellipsis")
        yield line


def _next(comparison: Comparison, layout: Layout) -> Text:
    before, after = layout.targets
    worse = [*comparison.found(Verdict.NEW), *comparison.found(Verdict.WORSE)]
    example = next((f.finding for f in worse if f.finding.example.request is not None), None)
    if example is not None and example.routes:
        words = ["log", after, "--route", example.routes[0]]
    else:
        words = ["compare", before, after, "--html", "compare.html"]
    command = command_of(["poolhog", *words])
    return Text.assemble(("Next: ", TERMINAL_MUTED), (command, "bold"))


def _short(verdict: Verdict) -> str:
    """In the gutter."""
    return "too few" if verdict is Verdict.TOO_FEW else verdict.value


def _indented(text: str, style: str = "") -> Text:
    return Text.assemble(" " * _GUTTER, (text, style or "none"))


def _more(number: int, noun: str) -> Text:
    return Text(f"… and {count(number, noun)} more: --top N", TERMINAL_MUTED)
