"""The report: for a terminal, from the verdict to what to type next, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.model import Outcome
from poolhog.render.failures import failures_json, failures_told
from poolhog.render.findings import WORDS, advice, at_start_told, besides, detail
from poolhog.render.kept import kept_json, kept_told
from poolhog.render.losses import end_told, loss_lines, losses_json, missing_json, unseen_lines
from poolhog.render.output import in_blocks, more_line, next_line, paragraph
from poolhog.render.palette import PAINTS, TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.report_tables import blame_lines, pool_lines, route_lines
from poolhog.render.whatif import beside_told, release_words
from poolhog.render.whatif_json import beside_json
from poolhog.render.words import (
    command_of,
    count,
    folded_lines,
    listed,
    path_and_line,
    percent,
    seconds,
    site_json,
)
from poolhog.trace.missing import remedy_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.blame.blaming import Charge
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.measured import WaitTimes
    from poolhog.analysis.replay.study import TopFindingWhatIf
    from poolhog.analysis.report import PoolUse, Report, RouteUse
    from poolhog.model import Process

_HELD = PAINTS[State.PARKED].terminal
_GUTTER = 6
_LEAST_SHARE = 0.005
_LEAST_WAIT_S = 0.001


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
    whatif: TopFindingWhatIf | None = None


def report_lines(report: Report, layout: Layout) -> Iterator[Text]:
    """The report; first comes the conclusion, last what to type next."""
    blocks = (
        (
            *(*_unseen(report, layout), *_verdict(report, layout.width)),
            *(*_failures(report, layout), *_kept(report, layout)),
        ),
        tuple(pool_lines(report, layout.width, layout.routes)),
        *(
            (tuple(blame_lines(report.blame, layout.width, layout.routes)),)
            if layout.with_blame
            else (
                *_findings(report, layout),
                tuple(route_lines(report, layout.width, layout.routes)),
            )
        ),
        (_next(report, layout),) if report.checkouts else (),
    )
    yield from in_blocks(blocks)


def verdict(report: Report) -> str:
    """The conclusion in a sentence or two."""
    if report.findings:
        return " ".join(map(_accusation, report.accused))
    lacking = missing_json(report.processes)
    if not report.checkouts and lacking:
        remedy = remedy_for(lacking[0]["reason"])
        return f"No checkout could be written: {remedy}."
    if not report.checkouts:
        return _nothing_recorded(report)
    if report.failures:
        return f"{failures_told(report.failures)}."
    use, in_flight = report.passing
    busy = percent(in_flight, use)
    checkouts = count(sum(route.checkouts for route in report.routes), "checkout")
    told = f"{checkouts}, {seconds(use)} of use, {busy} of it busy"
    subject = "Nothing that could be written" if lacking else "Nothing"
    return f"{subject} held a connection without need: {told}."


def _nothing_recorded(report: Report) -> str:
    """Why there is no checkout: nobody asked, or the pools are none that poolhog knows."""
    if any(process.unrecorded for process in report.processes):
        return "No pool that poolhog records was asked for a connection."
    if report.processes and all(process.finished for process in report.processes):
        return "No connection was asked for, and the recording is over."
    return "No connection was asked for yet: let the application work, and ask again."


def _accusation(finding: Finding) -> str:
    deed = WORDS[finding.kind.name].verdict.format(
        site=path_and_line(finding.site),
        seconds=seconds(finding.seconds),
        checkouts=count(finding.checkouts, "request"),
        detail=detail(finding),
    )
    told = f"{deed[0].upper()}{deed[1:]}" if finding.site is None else deed
    if finding.share >= _LEAST_SHARE:
        told += f": {percent(finding.share)} of all use{at_start_told(finding)}"
    if finding.made_wait >= _LEAST_WAIT_S:
        told += f". {_effect(finding)}"
    return f"{told}.{besides(finding)}"


def _verdict(report: Report, width: int) -> Iterator[Text]:
    yield from paragraph(verdict(report), width, "bold")


def _failures(report: Report, layout: Layout) -> Iterator[Text]:
    """What failed besides the first finding; without a finding, the verdict says it."""
    if report.failures and report.findings:
        yield from paragraph(f"{failures_told(report.failures)}.", layout.width, _HELD)


def _kept(report: Report, layout: Layout) -> Iterator[Text]:
    for kept in report.kept:
        yield from paragraph(kept_told(kept), layout.width, TERMINAL_MUTED)


def _unseen(report: Report, layout: Layout) -> Iterator[Text]:
    """Lines about lost or unreadable facts, and about requests and processes still going on."""
    yield from loss_lines(report.unreadable, report.processes, layout.width, report.checkouts)
    yield from unseen_lines(report.processes, layout.running)
    lent, waiting = (report.outcomes.get(o, 0) for o in (Outcome.OPEN, Outcome.WAITING))
    if lent or waiting:
        is_cut_off = any(process.is_cut_off for process in report.processes)
        yield Text(end_told(lent, waiting, is_cut_off=is_cut_off), TERMINAL_MUTED)


def _findings(report: Report, layout: Layout) -> Iterator[tuple[Text, ...]]:
    """The findings up to the one that costs most with all of their evidence, others in short.

    What is worse than lost time is told in full, however many there are.
    """
    harm = sum(finding.is_harm for finding in report.findings)
    shown = report.findings[: max(layout.findings, harm)]
    hog = report.hog
    whole = 1 + (shown.index(hog) if hog in shown else 0)
    in_full = shown if layout.in_full else shown[: max(whole, harm)]
    for finding in in_full:
        yield tuple(_finding(finding, layout.width, _beside(finding, layout)))
    rest = [
        line
        for finding in shown[len(in_full) :]
        for line in _finding(finding, layout.width, in_full=False)
    ]
    if len(shown) < len(report.findings):
        rest.append(more_line(len(report.findings) - len(shown), "finding"))
    yield tuple(rest)


def _beside(finding: Finding, layout: Layout) -> Sequence[str]:
    """The predicted effect of fixing the finding, and the command that says more."""
    beside, site = layout.whatif, finding.site
    if beside is None or site is None or beside.finding is not finding:
        return ()
    if beside.prediction is None:
        return (beside_told(beside),)
    return beside_told(beside), command_of(["poolhog", *release_words(site, layout.target)])


def _finding(
    finding: Finding, width: int, beside: Sequence[str] = (), *, in_full: bool = True
) -> Iterator[Text]:
    site = finding.site
    wasted = seconds(finding.seconds) if finding.seconds else f"{finding.checkouts:,}x"
    share = percent(finding.share) if finding.share else ""
    head = Text.assemble(
        (f"{wasted:>{_GUTTER}}  {finding.kind.name}", f"bold {_HELD}"),
        (f"  {path_and_line(site)}", "bold"),
        (f" in {site.function}" if site is not None else "", TERMINAL_MUTED),
    )
    source = site.source if site is not None else ""
    lines = [head, Text.assemble((f"{share:>{_GUTTER}}  ", _HELD), (source, TERMINAL_ACCENT))]
    for line in (*_evidence(finding), *beside[:1]) if in_full else ():
        lines.extend(_indented(line, width))
    what_to_do = f"→ {advice(finding)}"
    in_lines = list(_indented(what_to_do, width, hanging=2))
    lines.extend(in_lines if in_full else [Text(f"{'':{_GUTTER}}  {what_to_do}")])
    for text in lines:
        text.truncate(width, overflow="ellipsis")
        yield text
    for command in beside[1:]:  # which stays whole, whatever the width is
        yield Text.assemble(f"{'':{_GUTTER}}  ", (command, TERMINAL_ACCENT))


def _evidence(finding: Finding) -> Iterator[str]:
    if finding.routes:
        at_start = ", before the first request" if finding.is_at_start else ""
        yield f"in {listed(finding.routes, 2, 'other route')}{at_start}"
    yield detail(finding)
    if finding.made_wait >= _LEAST_WAIT_S:
        yield _effect(finding)


def _indented(text: str, width: int, *, hanging: int = 0) -> Iterator[Text]:
    for line in folded_lines(text, width - _GUTTER - 2, hanging):
        yield Text(f"{'':{_GUTTER}}  {line}")


def _next(report: Report, layout: Layout) -> Text:
    finding = report.findings[0] if report.findings else None
    if report.outcomes.get(Outcome.WAITING):
        words, why = ["dump", *layout.target], "who holds them now"
    elif finding is not None and finding.routes and finding.example.request is not None:
        words, why = ["log", *layout.target, "--route", finding.routes[0]], "step by step"
    else:
        words, why = ["timeline", *layout.target], "who held what, and when"
    return next_line(words, why, layout.width)


def _effect(finding: Finding) -> str:
    waiters = listed(finding.waiters, 1, "other route") or "others"
    return f"This made {waiters} wait {seconds(finding.made_wait)}"


def report_json(report: Report, whatif: TopFindingWhatIf | None = None) -> dict[str, Any]:
    """The report as documented in ``docs/report.md``, made of JSON's values only."""
    return {
        **losses_json(report.unreadable, report.processes),
        "processes": [_process_json(process) for process in report.processes],
        "pools": [_pool_json(pool) for pool in report.pools],
        "totals": _totals_json(report),
        "routes": [_route_json(route) for route in report.routes],
        "failures": failures_json(report.failures),
        "kept": [kept_json(kept) for kept in report.kept],
        "findings": [finding_json(finding, whatif) for finding in report.findings],
        "blame": [_charge_json(charge) for charge in report.blame.charges],
    }


def _process_json(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "parent_pid": process.parent_pid,
        "argv": list(process.argv),
        "began_wall_s": process.began_wall,
        "began_s": process.began,
        "written_s": process.written,
        "finished": process.finished,
        "dropped": process.dropped,
        "recorder_errors": process.errors,
        "sampling_interval_s": process.sampling_interval,
        "poolhog_version": process.poolhog_version,
        "versions": dict(process.versions),
        "unrecorded": list(process.unrecorded),
    }


def _pool_json(use: PoolUse) -> dict[str, Any]:
    pool = use.pool
    return {
        "id": pool.id,
        "pid": pool.process.pid,
        "library": pool.library,
        "kind": pool.kind,
        "name": pool.name,
        "size": pool.size,
        "max_overflow": pool.max_overflow,
        "capacity": pool.capacity,
        "timeout_s": pool.timeout,
        "checkouts": use.checkouts,
        "observed_s": use.observed,
        "peak_lent": use.peak_lent,
        "peak_waiting": use.peak_waiting,
        "saturated_s": use.saturated,
        "saturation": use.saturation,
        "awaited_s": use.awaited,
        "contention": use.contention,
        **_waits_json(use.waits),
        **_spent_json(use.spent),
        **_outcomes_json(use.outcomes),
    }


def _totals_json(report: Report) -> dict[str, Any]:
    return {
        "checkouts": report.checkouts,
        "requests": report.requests,
        "observed_s": report.observed,
        **_spent_json(report.spent),
        **_outcomes_json(report.outcomes),
        "dropped": sum(process.dropped for process in report.processes),
        "recorder_errors": sum(process.errors for process in report.processes),
    }


def _route_json(route: RouteUse) -> dict[str, Any]:
    return {
        "name": route.name,
        "requests": route.requests,
        "checkouts": route.checkouts,
        **_waits_json(route.waits),
        **_spent_json(route.spent),
        "idle_share": route.idle,
        "at_start": route.is_at_start,
        "made_wait_s": route.made_wait,
        **_outcomes_json(route.outcomes),
    }


def finding_json(finding: Finding, whatif: TopFindingWhatIf | None = None) -> dict[str, Any]:
    """A finding as documented in ``docs/report.md``; with the what-if, if that is about it."""
    example = finding.example
    return {
        "kind": finding.kind.name,
        "severity": finding.severity.name.lower(),
        "site": site_json(finding.site),
        "routes": list(finding.routes),
        "at_start": finding.is_at_start,
        "checkouts": finding.checkouts,
        "seconds": finding.seconds,
        "estimated_s": finding.estimated,
        "share": finding.share,
        "made_wait_s": float(finding.made_wait),
        "waiters": list(finding.waiters),
        "detail": detail(finding),
        "advice": advice(finding),
        "awaiting": [site_json(site) for site in finding.awaiting],
        "example": {
            "request": example.request,
            "checkout": example.checkout,
            "pid": example.pid,
            "started_s": example.started,
            "ended_s": example.ended,
        },
        "whatif": beside_json(whatif) if whatif is not None and whatif.finding is finding else None,
    }


def _charge_json(charge: Charge) -> dict[str, Any]:
    return {
        "pool": charge.pool.id,
        "waiting": charge.waiting,
        "holding": charge.holding,
        "state": charge.state,
        "site": site_json(charge.site),
        "seconds": charge.seconds,
    }


def _waits_json(waits: WaitTimes) -> dict[str, float]:
    return {"wait_p50_s": waits.p50, "wait_p95_s": waits.p95, "wait_max_s": waits.longest}


def _spent_json(spent: Account) -> dict[str, float]:
    return {
        "wait_s": spent.wait,
        "queueing_s": spent.queueing,
        "connecting_s": spent.connecting,
        "pinging_s": spent.pinging,
        "use_s": spent.use,
        "busy_s": spent.busy,
        "blocked_s": spent.blocked,
        "parked_s": spent.parked,
        "running_s": spent.running,
        "ready_s": spent.ready,
    }


_IN_PLURAL = (Outcome.TIMEOUT, Outcome.ERROR)


def _outcomes_json(outcomes: Mapping[Outcome, int]) -> dict[str, int]:
    return {
        f"{outcome}s" if outcome in _IN_PLURAL else outcome.value: outcomes.get(outcome, 0)
        for outcome in Outcome
    }
