"""What a recorder could not see, did not finish, or the page leaves out: told on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Outcome
from poolhog.render.losses import end_told, missing_json, missing_told
from poolhog.render.words import count, seconds, short_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.report import Report
    from poolhog.render.page.run import LeftOut

_NOUNS = {
    "routes": ("route", "routes"),
    "findings": ("finding", "findings"),
    "pools": ("pool", "pools"),
    "processes": ("process", "processes"),
    "sites": ("line of code", "lines of code"),
    "statements": ("statement", "statements"),
}
"""The tables that may leave rows out, and what a row is."""


class Unseen(NamedTuple):
    """Something that is not in what is shown; ``is_grave``: numbers may be wrong because of it."""

    text: str
    is_grave: bool = False


def unseen(report: Report, left_out: LeftOut) -> Iterator[Unseen]:
    """Yield what is missing in a run, the gravest first."""
    for one in report.unreadable:
        told = f"Not in this: {short_path(one.file)} {one.reason}."
        yield Unseen(told, is_grave=True)
    lacking = missing_told(missing_json(report.processes), report.checkouts)
    if lacking is not None:
        yield Unseen(lacking, is_grave=True)
    yield from _lost(report)
    yield from _unfinished(report)
    told = left_out_words(report, left_out)
    if told:
        yield Unseen(f"{told[0].upper()}{told[1:]}.")
    if left_out.nodes:
        yield Unseen(
            f"Where connection time goes leaves out {count(left_out.nodes, 'part')}, the smallest: "
            "their time is in those above them."
        )
    yield from _sampling(report)
    sites = [finding.site for finding in report.findings if finding.site is not None]
    if sites and not any(site.source for site in sites):
        yield Unseen("The recording has no source text, so no lines of code can be shown.")


def left_out_words(report: Report, left_out: LeftOut) -> str:
    """Return what the page does not show of a run, in a sentence; "" if it shows everything."""
    parts = []
    if left_out.checkouts:
        shown = report.checkouts - left_out.checkouts
        of = count(report.checkouts, "checkout")
        parts.append(f"{shown:,} of {of} are shown one by one, all are in the sums")
    if left_out.spans:
        parts.append(
            f"{left_out.spans:,} short spans are added up by state: their checkouts have too many "
            "to show one by one"
        )
    rows = [counted_rows(key, getattr(left_out, key)) for key in _NOUNS if getattr(left_out, key)]
    if rows:
        parts.append(f"{' and '.join(rows)} left out of the tables")
    return "; ".join(parts)


def counted_rows(key: str, number: int) -> str:
    """Return how many rows of a table there are, such as ``12 lines of code``."""
    one, several = _NOUNS[key]
    return f"{number:,} {one if number == 1 else several}"


def _lost(report: Report) -> Iterator[Unseen]:
    for process in report.processes:
        if process.dropped or process.errors:
            lost = f"{count(process.dropped, 'fact')} dropped, {count(process.errors, 'fault')}"
            text = f"The recorder did not see everything of process {process.pid}: {lost}."
            yield Unseen(text, is_grave=True)


def _unfinished(report: Report) -> Iterator[Unseen]:
    unfinished = [process for process in report.processes if not process.finished]
    pids = sorted({process.pid for process in unfinished if not process.is_cut_off})
    if pids:
        which = f"Process {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes"
        was = "was" if len(pids) == 1 else "were"
        yield Unseen(
            f"{which} exited abnormally, or {was} still running: the last moments may be missing.",
            is_grave=True,
        )
    lent, waiting = (report.outcomes.get(one, 0) for one in (Outcome.OPEN, Outcome.WAITING))
    if lent or waiting:
        is_cut_off = any(process.is_cut_off for process in unfinished)
        yield Unseen(end_told(lent, waiting, is_cut_off=is_cut_off), is_grave=True)


def _sampling(report: Report) -> Iterator[Unseen]:
    intervals = {process.sampling_interval for process in report.processes}
    if 0 in intervals:
        yield Unseen(
            "Owners of idle connections were not looked at (--interval 0): "
            "what they did in gaps is unknown, and counts as running."
        )
    told = [seconds(interval) for interval in sorted(intervals) if interval]
    if told:
        yield Unseen(
            f"Owners of idle connections were looked at every {' or '.join(told)}. A gap that no "
            "look fell into is split into parked, running and ready like others whose connection "
            "was asked for on the same line."
        )
