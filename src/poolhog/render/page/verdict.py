"""What a run comes to, in a few sentences that a manager understands, and its numbers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings import POOL_TIMEOUT, Severity
from poolhog.model import Outcome
from poolhog.render.comparison import conclusion
from poolhog.render.failures import failures_told
from poolhog.render.findings import WORDS, at_start_told, besides, detail
from poolhog.render.kept import kept_told
from poolhog.render.page.run import left_out_words
from poolhog.render.page.source import call_of
from poolhog.render.words import UNSEEN, command_of, count, percent, place, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.analysis.compare.comparison import Comparison
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.report import PoolUse, Report
    from poolhog.model import Site
    from poolhog.render.page.data import PageData

_MUCH = 0.005
"""The least share of the time that is worth a number of its own."""

MOST_HARM = 3
"""Findings that are harm and have a sentence of their own in the verdict; others are counted."""


class Number(NamedTuple):
    """One of the numbers below the verdict: a name, a value in words, a note, and the value."""

    name: str
    value: str
    note: str
    exact: float


def verdict(report: Report) -> tuple[str, ...]:
    """Return the sentences; what stands between backquotes is code.

    What failed comes first. Then come the pool that it is about, and what held the connections of
    that pool.
    """
    if not report.checkouts and any(p.missing_reason is not None for p in report.processes):
        return ("No checkout could be written.",)
    if not report.checkouts:
        asked = "No connection was asked for while this was recorded."
        needed_none = f"{asked} {count(report.requests, 'request')} needed none."
        return (needed_none if report.requests else asked,)
    sentences = [*harm_sentences(report), pool_sentence(report), cause_sentence(report)]
    if report.failures and report.findings:
        sentences.append(f"{failures_told(report.failures)}.")
    return (*filter(None, sentences), *map(kept_told, report.kept))


def harm_sentences(report: Report) -> Iterator[str]:
    """Yield a sentence for each of the worst findings that are harm, and count the others."""
    harm = [finding for finding in report.findings if finding.is_harm]
    for finding in harm[:MOST_HARM]:
        yield finding_sentence(finding)
    if len(harm) > MOST_HARM:
        more = count(len(harm) - MOST_HARM, "more finding")
        yield f"There {'is' if len(harm) == MOST_HARM + 1 else 'are'} {more} of this gravity below."


def chief_pool(report: Report) -> PoolUse:
    """Return the pool that the verdict is about.

    It is that of the worst finding, but for lost writes, which are no matter of pools. Without
    findings it is the one in which the most checkouts timed out, then the one that was waited for
    longest, then the one that lent the largest part of its connections.
    """
    used = [use for use in report.pools if use.checkouts]
    worst = (f for f in report.findings if f.severity is not Severity.LOST_WRITE)
    accused = {finding.example.pool for finding in islice(worst, 1)}
    return max(
        used,
        key=lambda use: (
            use.pool.id in accused,
            use.outcomes.get(Outcome.TIMEOUT, 0),
            use.spent.wait,
            use.peak_lent / (use.pool.capacity or float("inf")),
            use.spent.use,
        ),
    )


def pool_sentence(report: Report) -> str:
    """Return how far the pool was used up; of several, the one that the verdict is about."""
    several = sum(1 for use in report.pools if use.checkouts) > 1
    use = chief_pool(report)
    capacity, lent = use.pool.capacity, count(use.peak_lent, "connection")
    if capacity is None:
        which = _pool_name(report, use, "no limit") if several else "The pool has no limit: it"
        return f"{which} lent up to {lent} at once."
    size = count(capacity, "connection")
    which = _pool_name(report, use, size) if several else f"The pool of {capacity}"
    if use.peak_lent < capacity:
        return f"{which} never ran out: it lent at most {lent} at once."
    told = f"{which} was exhausted {percent(use.saturation or 0.0)} of the time"
    if several:
        told += f" ({seconds(use.saturated or 0.0)} of {seconds(use.observed)})"
    late = use.outcomes.get(Outcome.TIMEOUT, 0)
    if late and not any(finding.kind is POOL_TIMEOUT for finding in report.findings):
        told += f", and {count(late, 'wait')} for a connection timed out"
    return f"{told}."


def _pool_name(report: Report, chosen: PoolUse, size: str) -> str:
    """Return how one of several pools is told from the others."""
    used = [use.pool for use in report.pools if use.checkouts]
    pool = chosen.pool
    alike = [other for other in used if other.name == pool.name]
    name = f"`{pool.name}`"
    if len(alike) > 1:
        name += f" in process {pool.process.pid}"
    if sum(other.process.pid == pool.process.pid for other in alike) > 1:
        name += f", number {pool.id.rpartition('.')[2]}"
    return f"The pool {name} ({size}, one of {len(used)} pools)"


def cause_sentence(report: Report) -> str:
    """Return what the connection time of the verdict's pool went into, or that nothing is wrong."""
    if not report.findings and report.failures:
        return f"{failures_told(report.failures)}."
    if not report.findings:
        use, in_flight = report.passing
        busy = percent(in_flight, use)
        return (
            "Nothing held a connection without need: the database was at work in "
            f"{busy} of the connection time."
        )
    pool = chief_pool(report).pool.id
    others = [finding for finding in report.findings if not finding.is_harm]
    cause = next((one for one in others if one.example.pool in (pool, "")), None)
    return finding_sentence(cause) if cause is not None else ""


def finding_sentence(finding: Finding) -> str:
    """Return what a finding comes to: its share of the connection time, or what happened."""
    words, share = WORDS[finding.kind.name], finding.share
    if words.happened is not None and (words.spent is None or share < _MUCH or finding.is_harm):
        return f"{happened(finding)}{besides(finding)}"
    much = percent(share) if share >= _MUCH else seconds(finding.seconds)
    told = f"{much} of connection time {(words.spent or '').format(**_values(finding))}"
    return f"{told}{at_start_told(finding)}.{besides(finding)}"


def happened(finding: Finding) -> str:
    """Return what happened in a sentence; "" if only time was spent."""
    words = WORDS[finding.kind.name].happened
    told = "" if words is None else words.format(**_values(finding))
    return f"{told[:1].upper()}{told[1:]}." if told else ""


def _values(finding: Finding) -> dict[str, str]:
    words, number = WORDS[finding.kind.name], finding.checkouts
    return {
        "call": called(finding.site),
        "what": _awaited(finding.site),
        "place": line_code(finding.site),
        "times": "Once" if number == 1 else f"{number:,} times",
        "connections": count(number, "connection"),
        "writes": "1 write was" if number == 1 else f"{number:,} writes were",
        "waits": count(number, "wait"),
        "detail": detail(finding) if "{detail}" in (words.happened or "") else "",
    }


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
    yield Number("requests", f"{requests:,}", "recorded, with a checkout or without", requests)
    yield Number("checkouts", f"{checkouts:,}", "times a connection was asked for", checkouts)
    pools = [pool for pool in report.pools if pool.checkouts]
    if not pools:
        return
    waits = max((pool.waits for pool in pools), key=lambda waits: (waits.p95, waits.p50))
    of = "for a connection" if len(pools) == 1 else "in the pool with the longest p95"
    yield Number("wait, p50", seconds(waits.p50), of, waits.p50)
    yield Number("wait, p95", seconds(waits.p95), of, waits.p95)
    peak = max(pool.peak_waiting for pool in pools)
    in_pool = "at most" if len(pools) == 1 else "at most, for one pool"
    yield Number("waiting at once", f"{peak:,}", in_pool, peak)
    yield Number("connection time", seconds(use), "all checkouts added up", use)
    late = timeouts(report)
    if late:
        yield Number("timeouts", f"{late:,}", "waits without a connection", late)


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
