"""The what-if beside the top finding of a report: as if its line held no connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from poolhog.analysis.replay.places import lines, places_at
from poolhog.analysis.replay.prediction import predict, replay
from poolhog.analysis.replay.reading import read_part, read_workload
from poolhog.analysis.replay.study import values_between
from poolhog.analysis.replay.terms import WhatIf
from poolhog.trace.lookup import operation_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.prediction import Prediction, Replay
    from poolhog.analysis.replay.workload import Workload
    from poolhog.analysis.report import Report
    from poolhog.trace.reader import ProcessReader

MOST_CHECKOUTS = 10_000
"""Of a larger run, only a part around the finding's example is replayed."""

MOST_OPERATIONS = 200_000
"""The same: each is a step of the replay."""

_POINTS = 8


@dataclass(frozen=True, slots=True)
class Beside:
    """What would be if the line of a ``finding`` held no connection.

    ``part`` is between which instants the requests came that were replayed, ``None`` if all were.
    ``curve`` is what the run would have come to, unmended, with pools of other sizes.
    """

    finding: Finding
    replayed: Replay
    prediction: Prediction
    part: tuple[float, float] | None
    curve: tuple[tuple[int, Prediction], ...] = ()


def with_whatif(
    report: Report, readers: Sequence[ProcessReader], *, with_curve: bool = False
) -> Report:
    """The report with the what-if of its top finding, if that one can be released.

    A curve over pool sizes takes several times as long. Raises :class:`poolhog.TraceError` if a
    process cannot be read.
    """
    if not report.findings:
        return report
    finding = report.findings[0]
    if not finding.kind.is_released or finding.site is None:
        return report
    part = _part(report, finding, operation_count(readers))
    workload = read_workload(readers) if part is None else read_part(readers, *part)
    found = _beside(finding, workload, part)
    if found is None:
        return report
    if with_curve:
        found = replace(found, curve=tuple(_curve(found.replayed)))
    return replace(report, whatif=found)


def _curve(replayed: Replay) -> Iterator[tuple[int, Prediction]]:
    """From half of the pool's size to four times as much."""
    sizes = {pool.size for pool in replayed.workload.pools if pool.size}
    if not sizes:
        return
    largest = max(sizes)
    for size in values_between(max(largest // 2, 1), largest * 4, _POINTS):
        yield size, predict(replayed, WhatIf(pool_size=size))


def _part(report: Report, finding: Finding, operations: int) -> tuple[float, float] | None:
    """As long a stretch around the example as has few enough, on average."""
    share = min(
        MOST_CHECKOUTS / max(report.checkouts, 1), MOST_OPERATIONS / max(operations, 1), 1.0
    )
    if share == 1.0:
        return None
    length = report.observed * share
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
