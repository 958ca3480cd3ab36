"""The report for a terminal: the verdict, pools, findings, routes, and what to type next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.analysis.dump import LATE_S
from poolhog.analysis.findings import FindingKind
from poolhog.model import Outcome
from poolhog.render.blame import blame_lines
from poolhog.render.missing import missing_json, missing_lines
from poolhog.render.palette import PAINTS, TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.unreadable import unreadable_lines
from poolhog.render.whatif import beside_told, release_words
from poolhog.render.words import (
    DurationUnit,
    command_of,
    count,
    folded_lines,
    listed,
    listed_pids,
    path_and_line,
    percent,
    seconds,
)
from poolhog.trace.missing import remedy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.report import PoolUse, Report, RouteUse
    from poolhog.model import Process

WIDE = 110
"""Columns from which on there is room for all numbers of a route."""

_HELD = PAINTS[State.PARKED].terminal
_WARNING = "bold red"
_GUTTER = 6
_MUCH = 0.5
_LEAST_SHARE = 0.005
_LEAST_WAIT_S = 0.001
_ROOM_FOR_BLAME = 80


@dataclass(frozen=True, slots=True)
class Layout:
    """How much is shown, in how many columns.

    ``in_full`` shows every finding with all of its evidence, not only the first. ``target`` are
    the words that name the trace in the next command, none if it is found without. ``running`` are
    the ages in seconds of the last commits of processes that go on, by their ids. ``with_blame``
    shows who made whom wait, instead of findings and routes.
    """

    width: int
    findings: int
    routes: int
    in_full: bool
    target: tuple[str, ...] = ()
    running: Mapping[int, float] = field(default_factory=dict)
    with_blame: bool = False


def report_lines(report: Report, layout: Layout) -> Iterator[Text]:
    """The report; first comes the conclusion, last what to type next."""
    blocks = (
        (*_unseen(report, layout), *_verdict(report, layout.width)),
        tuple(_pools(report, layout)),
        *(
            (tuple(blame_lines(report.blame, layout.width, layout.routes)),)
            if layout.with_blame
            else (*_findings(report, layout), tuple(_routes(report, layout)))
        ),
        (_next(report, layout),) if report.checkouts else (),
    )
    for index, block in enumerate(block for block in blocks if block):
        if index:
            yield Text()
        yield from block


def verdict(report: Report) -> str:
    """The conclusion in a sentence or two."""
    if report.findings:
        return _accusation(report.findings[0])
    lacking = missing_json(report.processes)
    if not report.checkouts and lacking:
        remedy = remedy_for(lacking[0]["reason"])
        return f"No checkout could be written: {remedy}."
    if not report.checkouts:
        return "No connection was asked for yet: let the application work, and ask again."
    use = sum(route.spent.use for route in report.routes)
    busy = percent(sum(route.spent.busy for route in report.routes), use)
    checkouts = count(sum(route.checkouts for route in report.routes), "checkout")
    told = f"{checkouts}, {seconds(use)} of use, {busy} of it busy"
    subject = "Nothing that could be written" if lacking else "Nothing"
    return f"{subject} held a connection without need: {told}."


_DEEDS = {
    FindingKind.PARKED_CHECKOUT: "{site} held connections for {seconds} without using them",
    FindingKind.HELD_AFTER_RESPONSE: "{site} held connections for {seconds} after the response",
    FindingKind.HELD_WHILE_STREAMING: "{site} held connections for {seconds} while it streamed",
    FindingKind.NESTED_CHECKOUT: (
        "{site} asked for a second connection while it held one, for {seconds}"
    ),
    FindingKind.NEVER_RETURNED: "{site} did not return its connections for {seconds}",
    FindingKind.LOST_WRITE: "{site} wrote what was rolled back, because nobody committed it",
    FindingKind.POOL_TIMEOUT: "{checkouts} timed out waiting for a connection at {site}",
    FindingKind.CONNECTION_CHURN: "{site} opened connections anew for {seconds}",
    FindingKind.STARVED_LOOP: "{site} blocked the event loop for {seconds} of held connections",
}


def _accusation(finding: Finding) -> str:
    deed = _DEEDS[finding.kind].format(
        site=path_and_line(finding.site),
        seconds=seconds(finding.seconds),
        checkouts=count(finding.checkouts, "request"),
    )
    told = f"{deed[0].upper()}{deed[1:]}" if finding.site is None else deed
    if finding.share >= _LEAST_SHARE:
        told += f": {percent(finding.share)} of all use"
    if finding.made_wait >= _LEAST_WAIT_S:
        told += f". {_waiters(finding)} waited {seconds(finding.made_wait)} for it"
    return told + "."


def end_told(lent: int, waiting: int, *, is_cut_off: bool) -> str:
    """What was lent, and who waited, at the end of the trace.

    Of a run that ``is_cut_off``, nobody knows whether that was so at its own end.
    """
    what = "lent" if is_cut_off else "not returned"
    parts = [f"{count(lent, 'connection')} {what}"] if lent else []
    parts += [f"{count(waiting, 'request')} waiting for one"] if waiting else []
    told = ", ".join(parts)
    if is_cut_off:
        return f"At the last commit: {told}. How that ended could not be written."
    return f"At its end: {told}."


def _verdict(report: Report, width: int) -> Iterator[Text]:
    for line in folded_lines(verdict(report), width):
        yield Text(line, "bold")


def _unseen(report: Report, layout: Layout) -> Iterator[Text]:
    """What the recorder lost, and what was not over or cannot be read."""
    yield from unreadable_lines(report.unreadable, layout.width)
    yield from missing_lines(report.processes, layout.width, report.checkouts)
    yield from unseen(report.processes, layout.running)
    lent, waiting = (report.outcomes.get(o, 0) for o in (Outcome.OPEN, Outcome.WAITING))
    if lent or waiting:
        is_cut_off = any(process.is_cut_off for process in report.processes)
        yield Text(end_told(lent, waiting, is_cut_off=is_cut_off), TERMINAL_MUTED)


def unseen(processes: Sequence[Process], running: Mapping[int, float]) -> Iterator[Text]:
    """What the recorder dropped of these processes, or did not see the end of.

    ``running`` are the ages in seconds of the last commits of those that still run, by their ids.
    """
    for process in processes:
        if process.dropped or process.errors:
            lost = f"{count(process.dropped, 'fact')} dropped, {count(process.errors, 'fault')}"
            told = f"The recorder did not see everything of process {process.pid}: {lost}."
            yield Text(told, _WARNING)
    unfinished = [process for process in processes if not process.finished]
    ended = [p.pid for p in unfinished if p.pid not in running and not p.is_cut_off]
    if ended:
        told = f"{listed_pids(ended)} exited abnormally: the last moments may be missing."
        yield Text(told.capitalize(), TERMINAL_MUTED)
    still = [p.pid for p in unfinished if p.pid in running]
    late = [p.pid for p in unfinished if running.get(p.pid, 0.0) > LATE_S and not p.is_cut_off]
    yield from _late(late, running)
    fresh = [pid for pid in still if pid not in late]
    if fresh:
        verb = "is" if len(fresh) == 1 else "are"
        told = f"{listed_pids(fresh)} {verb} still running; results so far."
        yield Text(told.capitalize(), TERMINAL_MUTED)


def _late(pids: Sequence[int], running: Mapping[int, float]) -> Iterator[Text]:
    """That processes run, of which nothing is known for longer than there should be."""
    for pid in pids:
        told = (
            f"Process {pid} is still running, but its last commit is {seconds(running[pid])} old: "
            "the interpreter has not run poolhog's thread since. Results up to then."
        )
        yield Text(told, _WARNING)


def _pools(report: Report, layout: Layout) -> Iterator[Text]:
    used = sorted(
        (pool for pool in report.pools if pool.checkouts),
        key=lambda pool: (-(pool.saturation or 0.0), -pool.spent.use),
    )
    shown = used[: layout.routes]
    several = len({pool.pool.process.pid for pool in report.pools}) > 1
    names = [f"pool {use.pool.name}" for use in shown]
    if several:
        pids = [use.pool.process.pid for use in shown]
        names = [f"{name} of {pid}" for name, pid in zip(names, pids, strict=True)]
    margin = min(max(map(len, names), default=0), layout.width // 3)
    for name, use in zip(names, shown, strict=True):
        yield from _pool(name, use, margin, layout.width)
    if len(shown) < len(used):
        yield _more(len(used) - len(shown), "pool")


def _pool(name: str, use: PoolUse, margin: int, width: int) -> Iterator[Text]:
    label = Text(name)
    label.truncate(margin, overflow="ellipsis", pad=True)
    bar = _bar(use.saturation, 20 if width >= WIDE else 12)
    first = Text.assemble(label, "  ", bar)
    for index, line in enumerate(folded_lines(_lent(use), width - len(first))):
        yield Text.assemble(" " * len(first) if index else first, line)


def _bar(share: float | None, cells: int) -> Text:
    """The share of the time in which all connections were lent; nothing if there is no limit."""
    if share is None:
        return Text()
    filled = round(share * cells)
    style = _HELD if share >= _MUCH else TERMINAL_ACCENT
    return Text.assemble(("━" * filled, style), ("─" * (cells - filled), TERMINAL_MUTED), "  ")


def _lent(use: PoolUse) -> str:
    capacity = use.pool.capacity
    if capacity is None or use.peak_lent < capacity:
        limit = "" if capacity is None else f" of {capacity}"
        told = f"at most {use.peak_lent}{limit} lent in {seconds(use.observed)}"
    else:
        all_of = "its one" if capacity == 1 else f"all {capacity}"
        told = f"{all_of} lent {percent(use.saturation or 0.0)} of {seconds(use.observed)}"
        if use.peak_waiting > 1:
            told += f", up to {use.peak_waiting:,} waiting"
    timeouts = use.outcomes.get(Outcome.TIMEOUT, 0)
    if timeouts:
        told += f", {count(timeouts, 'timeout')}"
    waiting = use.outcomes.get(Outcome.WAITING, 0)
    if waiting:
        told += f", {waiting:,} waiting now"
    return told


def _findings(report: Report, layout: Layout) -> Iterator[tuple[Text, ...]]:
    """The first finding with all of its evidence, and the others in short."""
    shown = report.findings[: layout.findings]
    in_full = shown if layout.in_full else shown[:1]
    for finding in in_full:
        yield tuple(_finding(finding, layout.width, _beside(report, finding, layout)))
    rest = [
        line
        for finding in shown[len(in_full) :]
        for line in _finding(finding, layout.width, in_full=False)
    ]
    if len(shown) < len(report.findings):
        rest.append(_more(len(report.findings) - len(shown), "finding"))
    yield tuple(rest)


def _beside(report: Report, finding: Finding, layout: Layout) -> Sequence[str]:
    """What would be if it were mended, and the command that says more."""
    beside, site = report.whatif, finding.site
    if beside is None or site is None or beside.finding is not finding:
        return ()
    told = f"if it held no connection: {beside_told(beside)}"
    return told, command_of(["poolhog", *release_words(site, layout.target)])


def _finding(
    finding: Finding, width: int, beside: Sequence[str] = (), *, in_full: bool = True
) -> Iterator[Text]:
    site = finding.site
    wasted = seconds(finding.seconds) if finding.seconds else f"{finding.checkouts:,}x"
    share = percent(finding.share) if finding.share else ""
    head = Text.assemble(
        (f"{wasted:>{_GUTTER}}  {finding.kind.value}", f"bold {_HELD}"),
        (f"  {path_and_line(site)}", "bold"),
        (f" in {site.function}" if site is not None else "", TERMINAL_MUTED),
    )
    source = site.source if site is not None else ""
    lines = [head, Text.assemble((f"{share:>{_GUTTER}}  ", _HELD), (source, TERMINAL_ACCENT))]
    for line in (*_evidence(finding), *beside[:1]) if in_full else ():
        lines.extend(_indented(line, width))
    advice = list(_indented(f"→ {finding.advice}", width, hanging=2))
    lines.extend(advice if in_full else [_shortened(f"→ {finding.advice}")])
    for text in lines:
        text.truncate(width, overflow="ellipsis")
        yield text
    for command in beside[1:]:  # which stays whole, whatever the width is
        yield Text.assemble(f"{'':{_GUTTER}}  ", (command, TERMINAL_ACCENT))


def _evidence(finding: Finding) -> Iterator[str]:
    if finding.routes:
        yield f"in {listed(finding.routes, 2, 'other route')}"
    yield finding.detail
    if finding.made_wait >= _LEAST_WAIT_S:
        yield f"{_waiters(finding)} waited {seconds(finding.made_wait)} for it"


def _indented(text: str, width: int, *, hanging: int = 0) -> Iterator[Text]:
    for line in folded_lines(text, width - _GUTTER - 2, hanging):
        yield Text(f"{'':{_GUTTER}}  {line}")


def _shortened(text: str) -> Text:
    return Text(f"{'':{_GUTTER}}  {text}")


def _routes(report: Report, layout: Layout) -> Iterator[Text]:
    used = [route for route in report.routes if route.checkouts]
    if not used:
        return
    shown = used[: layout.routes]
    columns = _columns(shown, is_wide=layout.width >= WIDE)
    if layout.width < _ROOM_FOR_BLAME:
        columns = [column for column in columns if not column[0].startswith("blame")]
    taken = sum(max(map(len, column)) + 2 for column in columns)
    names = ["route", *(route.name for route in shown)]
    margin = min(max(map(len, names)), max(layout.width - taken, 10))
    for index, name in enumerate(names):
        line = Text(name, TERMINAL_MUTED if not index else "")
        line.truncate(margin, overflow="ellipsis", pad=True)
        for column in columns:
            cell = f"  {column[index]:>{max(map(len, column))}}"
            is_hog = index and column[0] == "parked" and shown[index - 1].spent.parked
            line.append(cell, _HELD if is_hog else TERMINAL_MUTED if not index else "none")
        yield line
    if len(shown) < len(used):
        yield _more(len(used) - len(shown), "route")


def _columns(routes: Sequence[RouteUse], *, is_wide: bool) -> list[list[str]]:
    """Headings with the numbers below them; durations of a kind are in one unit."""
    wait = DurationUnit.of(max(route.waits.longest for route in routes))
    use = DurationUnit.of(max(route.spent.use for route in routes))
    made_wait = max(route.made_wait for route in routes)
    blame = DurationUnit.of(made_wait)

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
        column("parked", lambda r: use.told(r.spent.parked)),
        *([column("running", lambda r: use.told(r.spent.running))] if is_wide else []),
        *([column("ready", lambda r: use.told(r.spent.ready))] if is_wide else []),
        column("idle", lambda r: percent(r.idle)),
        *([column(f"blame {blame.name}", lambda r: blame.told(r.made_wait))] if made_wait else []),
    ]


def _next(report: Report, layout: Layout) -> Text:
    finding = report.findings[0] if report.findings else None
    if report.outcomes.get(Outcome.WAITING):
        words, why = ["dump", *layout.target], "who holds them now"
    elif finding is not None and finding.routes and finding.example.request is not None:
        words, why = ["log", *layout.target, "--route", finding.routes[0]], "step by step"
    else:
        words, why = ["timeline", *layout.target], "who held what, and when"
    command = command_of(["poolhog", *words])
    line = Text.assemble(("Next: ", TERMINAL_MUTED), (command, "bold"))
    # Whatever the width is, the command stays whole.
    if len(line) + len(why) + 2 <= layout.width:
        line.append(f"  {why}", TERMINAL_MUTED)
    return line


def _more(number: int, noun: str) -> Text:
    return Text(f"… and {count(number, noun)} more: --top N", TERMINAL_MUTED)


def _waiters(finding: Finding) -> str:
    return listed(finding.waiters, 1, "other route") or "Others"
