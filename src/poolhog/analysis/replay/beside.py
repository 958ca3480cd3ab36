"""The what-if beside the top finding of a report: as if its line held no connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from poolhog.analysis.findings import FindingKind
from poolhog.analysis.replay.places import lines, places_at
from poolhog.analysis.replay.prediction import predict, replay
from poolhog.analysis.replay.reading import read_part, read_workload
from poolhog.analysis.replay.terms import WhatIf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.prediction import Prediction, Replay
    from poolhog.analysis.replay.workload import Workload
    from poolhog.analysis.report import Report
    from poolhog.trace.reader import ProcessReader

MOST_CHECKOUTS = 10_000
"""Of a larger run, only a part around the finding's example is replayed."""

_RELEASED = frozenset(
    [
        *(FindingKind.PARKED_CHECKOUT, FindingKind.HELD_AFTER_RESPONSE),
        *(FindingKind.HELD_WHILE_STREAMING, FindingKind.NESTED_CHECKOUT),
    ]
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What would be if the line of a ``finding`` held no connection.

    ``part`` is between which instants the requests came that were replayed, ``None`` if all were.
    """

    finding: Finding
    replayed: Replay
    prediction: Prediction
    part: tuple[float, float] | None


def with_whatif(report: Report, readers: Sequence[ProcessReader]) -> Report:
    """The report with the what-if of its top finding, if that one can be released.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    if not report.findings:
        return report
    finding = report.findings[0]
    if finding.kind not in _RELEASED or finding.site is None:
        return report
    part = _part(report, finding)
    workload = read_workload(readers) if part is None else read_part(readers, *part)
    found = _beside(finding, workload, part)
    return report if found is None else replace(report, whatif=found)


def _part(report: Report, finding: Finding) -> tuple[float, float] | None:
    """As long a stretch around the example as has so many checkouts, on average."""
    if report.checkouts <= MOST_CHECKOUTS:
        return None
    length = report.observed * MOST_CHECKOUTS / report.checkouts
    middle = (finding.example.started + finding.example.ended) / 2
    return middle - length / 2, middle + length / 2


def _beside(
    finding: Finding, workload: Workload, part: tuple[float, float] | None
) -> Beside | None:
    site = finding.site
    places = places_at(lines(workload), f"{site.file}:{site.line}") if site is not None else None
    if not places:
        return None
    replayed = replay(workload)
    return Beside(finding, replayed, predict(replayed, WhatIf(release=places)), part)
