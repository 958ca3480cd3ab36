"""A report is the same whichever way its checkouts are read and judged."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawn import traces
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.findings import Finding, known_thresholds
from poolhog.analysis.findings.finder import Finder
from poolhog.analysis.report import Report, read_report, report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.render.findings import advice, detail
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolhog.analysis.ledger import Flags
    from poolhog.model import Trace

NOTHING = Thresholds({threshold.name: 0.0 for threshold in known_thresholds()})
"""All that is something is a finding."""

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""To make a failing example small takes minutes, as each writes files."""

THRESHOLDS = st.sampled_from([Thresholds(), NOTHING])


def differences(one: Any, other: Any, path: str = "report") -> Iterator[str]:
    """Where two reports differ by more than a rounding error."""
    if dataclasses.is_dataclass(one) and type(one).__name__ not in ("Site", "Process"):
        if isinstance(one, Finding):
            for words in (detail, advice):  # evidence names sites, which are another's objects
                yield from differences(words(one), words(other), f"{path}.{words.__name__}")
        for field in dataclasses.fields(one):
            name = field.name
            if isinstance(one, Finding) and name in ("evidence", "occurrences"):
                continue
            yield from differences(getattr(one, name), getattr(other, name), f"{path}.{name}")
        if isinstance(one, Finding):
            yield from differences(occurrences(one), occurrences(other), f"{path}.occurrences")
    elif isinstance(one, float):
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6):
            yield f"{path}: {one} and {other}"
    elif isinstance(one, tuple) and len(one) == len(other):
        if path in ("report.routes", "report.findings"):  # of those that cost the same, any order
            one, other = (sorted(rows, key=_in_order) for rows in (one, other))
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif one != other and type(one).__name__ != "Site":
        yield f"{path}: {one} and {other}"


def occurrences(finding: Finding) -> tuple[tuple[float, float], ...]:
    """When its checkouts were asked for, and what was wasted in each, in order."""
    found = finding.occurrences
    pairs = zip(found.asked, found.seconds, strict=True)
    return tuple(sorted((round(asked, 6), round(seconds, 6)) for asked, seconds in pairs))


def _in_order(row: Any) -> str:
    return f"{row.kind} {row.site}" if isinstance(row, Finding) else row.name


def one_by_one(report: Callable[[], Report]) -> Report:
    """The report with the gaps of every checkout judged by themselves."""

    def none_is_plain(finder: Finder) -> Flags:
        return np.zeros(len(finder._ledger), bool)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finder, "_plain", none_is_plain)
        return report()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traces(), THRESHOLDS)
def test_gaps_that_are_alike_are_judged_like_each_of_them(
    trace: Trace, thresholds: Thresholds
) -> None:
    def report() -> Report:
        return report_of(trace, thresholds)

    assert list(differences(report(), one_by_one(report))) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traces(), THRESHOLDS, st.integers(1, 4))
def test_checkouts_that_are_cut_in_parts_come_to_the_same(
    trace: Trace, thresholds: Thresholds, at_once: int
) -> None:
    whole = report_of(trace, thresholds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolhog.analysis.measured._AT_ONCE", at_once)
        assert list(differences(report_of(trace, thresholds), whole)) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK)
@given(st.data(), THRESHOLDS)
def test_a_file_is_reported_like_its_trace_in_memory(
    data: st.DataObject, thresholds: Thresholds
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))

        def report() -> Report:
            return read_report(stream_trace(directory), thresholds)

        of_file = report()
        assert list(differences(of_file, report_of(open_trace(directory), thresholds))) == []
        assert list(differences(of_file, one_by_one(report))) == []
