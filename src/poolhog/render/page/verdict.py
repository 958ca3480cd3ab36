"""What a run comes to, in one or two sentences that a manager understands, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings import POOL_TIMEOUT, Severity
from poolhog.model import Outcome
from poolhog.render.comparison import conclusion
from poolhog.render.failures import failures_told
from poolhog.render.findings import WORDS, besides, detail
from poolhog.render.kept import kept_told
from poolhog.render.page.run import left_out_words
from poolhog.render.page.source import call_of
from poolhog.render.words import UNSEEN, command_of, count, percent, place, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.analysis.compare.comparison import Comparison
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.report import Report
    from poolhog.model import Site
    from poolhog.render.page.data import PageData

_MUCH = 0.005
"""The least share of the time that is worth a number of its own."""


class Number(NamedTuple):
    """One of the numbers below the verdict: a name, a value in words, a note, and the value."""

    name: str
    value: str
    note: str
    exact: float


def verdict(report: Report) -> tuple[str, ...]:
    """Return the sentences; what stands between backquotes is code."""
    if not report.checkouts and any(p.missing_reason is not None for p in report.processes):
        return ("No checkout could be written.",)
    if not report.checkouts:
        asked = "No connection was asked for while this was recorded."
        needed_none = f"{asked} {count(report.requests, 'request')} needed none."
        return (needed_none if report.requests else asked,)
    sentences = [pool_sentence(report), cause_sentence(report)]
    if report.findings and report.findings[0].severity < Severity.TIME:
        sentences.reverse()
    if report.failures and report.findings:
        sentences.append(f"{failures_told(report.failures)}.")
    return (*sentences, *map(kept_told, report.kept))


def pool_sentence(report: Report) -> str:
    """Return how far the pool was used up; of several, the one that was most."""
    used = [use for use in report.pools if use.checkouts]
    lending = [use for use in used if use.peak_lent] or used
    worst = max(lending, key=lambda use: (use.saturation or 0.0, use.contention, use.spent.use))
    several, capacity = len(used) > 1, worst.pool.capacity
    lent = count(worst.peak_lent, "connection")
    if capacity is None:
        which = f"Of {len(used)} pools, the busiest has" if several else "The pool has"
        return f"{which} no limit: it lent up to {lent} at once."
    which = (
        f"Of {len(used)} pools, the busiest one ({count(capacity, 'connection')})"
        if several
        else f"The pool of {capacity}"
    )
    if worst.peak_lent < capacity:
        return f"{which} never ran out: it lent at most {lent} at once."
    told = f"{which} was exhausted {percent(worst.saturation or 0.0)} of the time"
    late = timeouts(report)
    is_told = bool(report.findings) and report.findings[0].kind is POOL_TIMEOUT
    if late and not is_told:
        told += f", and {count(late, 'request')} got no connection in time"
    return f"{told}."


def cause_sentence(report: Report) -> str:
    """Return what the connection time went into, by the worst finding, if there is one."""
    if not report.findings and report.failures:
        return f"{failures_told(report.failures)}."
    if not report.findings:
        use, in_flight = report.passing
        busy = percent(in_flight, use)
        return (
            "Nothing held a connection without need: the database was at work in "
            f"{busy} of the connection time."
        )
    return " ".join(map(_finding_sentence, report.accused))


def _finding_sentence(finding: Finding) -> str:
    words, number = WORDS[finding.kind.name], finding.checkouts
    values = {
        "call": called(finding.site),
        "what": _awaited(finding.site),
        "place": line_code(finding.site),
        "times": "Once" if number == 1 else f"{number:,} times",
        "connections": count(number, "connection"),
        "writes": "1 write was" if number == 1 else f"{number:,} writes were",
        "requests": count(number, "request"),
        "detail": detail(finding) if "{detail}" in (words.happened or "") else "",
    }
    if words.happened is not None and (words.spent is None or finding.share < _MUCH):
        told = words.happened.format(**values)
        return f"{told[:1].upper()}{told[1:]}.{besides(finding)}"
    has_share = finding.share >= _MUCH
    much = percent(finding.share) if has_share else seconds(finding.seconds)
    told = f"{much} of connection time {(words.spent or '').format(**values)}"
    return f"{told}.{besides(finding)}"


def called(site: Site | None) -> str:
    """Return what a line calls, as code, or else where it is."""
    call = call_of(site.source) if site is not None else ""
    return f"`{call}`" if call else line_code(site)


def _awaited(site: Site | None) -> str:
    """Return what was waited for, or at least where."""
    found = called(site)
    return f"at {found}" if found == line_code(site) else f"for {found}"


def line_code(site: Site | None) -> str:
    """Return the line in short, as code."""
    if site is None:
        return UNSEEN
    return f"`{place(site)}`"


def numbers(report: Report) -> Iterator[Number]:
    """Yield the numbers below the verdict."""
    requests, checkouts, use = report.requests, report.checkouts, report.spent.use
    yield Number("requests", f"{requests:,}", "recorded", requests)
    yield Number("checkouts", f"{checkouts:,}", "connections asked for", checkouts)
    pools = [pool for pool in report.pools if pool.checkouts]
    if not pools:
        return
    waits = max((pool.waits for pool in pools), key=lambda waits: (waits.p95, waits.p50))
    of = "for a connection" if len(pools) == 1 else "in the pool with the longest"
    yield Number("wait, p50", seconds(waits.p50), of, waits.p50)
    yield Number("wait, p95", seconds(waits.p95), of, waits.p95)
    peak = max(pool.peak_waiting for pool in pools)
    yield Number("waiting at once", f"{peak:,}", "at the most, in one pool", peak)
    yield Number("connection time", seconds(use), "lent, added up", use)
    late = timeouts(report)
    if late:
        yield Number("timeouts", f"{late:,}", "got no connection", late)


def timeouts(report: Report) -> int:
    """Return how many checkouts got no connection in time."""
    return report.outcomes.get(Outcome.TIMEOUT, 0)


def summary_lines(
    file: Path, data: PageData, size: int, comparison: Comparison | None = None
) -> Iterator[str]:
    """Yield what a terminal says of a page: the conclusion first, last the command to open it."""
    for run in data.runs:
        for one in run.report.unreadable:
            yield f"Not in this: {one.file} {one.reason}."
    if comparison is not None:
        yield conclusion(comparison)
    for run in data.runs:
        named = f"{run.label}: " if len(data.runs) > 1 else ""
        yield named + " ".join(verdict(run.report))
    yield f"{file}: {size_text(size)}"
    for run in data.runs:
        told = left_out_words(run.report, run.left_out)
        if told:
            yield f"{run.label}: {told}"
    yield f"Look at it: python3 -m webbrowser {command_of([str(file)])}"


def size_text(size: int) -> str:
    """Return a number of bytes in thousands, such as ``312 KB``."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1):,} KB"
