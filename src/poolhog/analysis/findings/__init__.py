"""Findings: typed conclusions about a run, each with its line, its evidence, and what to do.

``find`` is for a trace in memory, ``Finder`` for checkouts that are streamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Shares, told
from poolhog.analysis.findings.finder import Finder
from poolhog.analysis.findings.finding import Example, Finding, FindingKind
from poolhog.analysis.findings.names import route_of
from poolhog.analysis.thresholds import Thresholds

if TYPE_CHECKING:
    from poolhog.model import Checkout, Process, Trace

__all__ = ["Example", "Finder", "Finding", "FindingKind", "find", "route_of"]


def find(trace: Trace, thresholds: Thresholds = Thresholds()) -> tuple[Finding, ...]:  # noqa: B008
    """The findings of a trace in memory, the one that wastes the most connection-seconds first."""
    finder = Finder(thresholds)
    for process in trace.processes:
        until = process.written
        checkouts = [c for c in trace.checkouts if _is_of(c, process)]
        finder.begin(until)
        for checkout in checkouts:
            finder.add(checkout, told(checkout, until))
        finder.end(Shares(checkouts, until))
    return finder.found()


def _is_of(checkout: Checkout, process: Process) -> bool:
    """A pid may be used again."""
    other = checkout.pool.process
    return (other.pid, other.began) == (process.pid, process.began)
