"""What `poolhog whatif` tells: what was asked, and what came of it; also of a top finding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from poolhog.analysis.replay.chains import read_part, read_workload
from poolhog.analysis.replay.formulas import answers
from poolhog.analysis.replay.prediction import predict, replay
from poolhog.analysis.replay.reasons import reasons, reasons_of
from poolhog.analysis.replay.whatif import WhatIf, lines, places_at
from poolhog.trace.lookup import operation_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.formulas import Answers, FormulaTarget
    from poolhog.analysis.replay.prediction import Prediction, Replay
    from poolhog.analysis.replay.reasons import Reason
    from poolhog.analysis.replay.workload import Workload
    from poolhog.analysis.report import Report
    from poolhog.model import Process, Site, Unreadable
    from poolhog.trace.reader import ProcessReader

MOST_POINTS = 16
"""Points of a curve; of a longer range some are left out."""


@dataclass(frozen=True, slots=True)
class OptionRange:
    """An option that is tried with several values: a field of ``WhatIf``."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A replay, with what is predicted under the ``terms``, if these are other than it was.

    ``curve`` has the predictions over a ``range``, in its order: values of which nothing can be
    predicted are left out of both. ``released`` are the lines whose
    places the terms release, as text. ``processes`` are those that were recorded. If there are
    ``reasons`` to predict nothing, there is neither a prediction nor a curve. ``hog`` is the line
    of the first finding that can be released.
    """

    replayed: Replay
    terms: WhatIf
    released: tuple[str, ...]
    before: Answers
    prediction: Prediction | None = None
    after: Answers | None = None
    range: OptionRange | None = None
    curve: tuple[Prediction, ...] = ()
    reasons: tuple[Reason, ...] = ()
    unreadable: Sequence[Unreadable] = field(default=())
    processes: Sequence[Process] = field(default=())
    hog: Site | None = None


def study(
    replayed: Replay,
    terms: WhatIf,
    question: FormulaTarget,
    *,
    released: tuple[str, ...] = (),
    over: OptionRange | None = None,
    is_otherwise: bool,
    findings: Sequence[Finding] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Study:
    """Predict what was asked for, if the run with these ``findings`` deserves a prediction.

    ``tell`` learns what is being simulated.
    """
    workload = replayed.workload
    before = answers(workload, replayed.recorded, question)
    hog = _hog(workload, findings)
    made = Study(replayed, terms, released, before, range=over, hog=hog)
    against = reasons(replayed, findings)
    if against:
        return replace(made, reasons=against)
    if over is not None:
        curve: dict[int, Prediction] = {}
        for number in over.values:
            tell(f"simulating {over.name.replace('_', ' ')} {number}")
            change: dict[str, Any] = {over.name: number}  # a field that is an int
            point = predict(replayed, replace(terms, **change))
            against = reasons_of(point)
            if not against:
                curve[number] = point
        if not curve:
            return replace(made, reasons=against)
        known = replace(over, values=tuple(curve))
        return replace(made, range=known, curve=tuple(curve.values()))
    if not is_otherwise:
        return made
    tell("simulating what would be")
    prediction = predict(replayed, terms)
    against = reasons_of(prediction)
    if against:
        return replace(made, reasons=against)
    after = answers(workload, prediction.after, question, prediction.terms)
    return replace(made, prediction=prediction, after=after)


def _hog(workload: Workload, findings: Sequence[Finding]) -> Site | None:
    known = lines(workload)
    sites = (finding.site for finding in findings if finding.kind.is_released)
    return next(
        (s for s in sites if s is not None and places_at(known, f"{s.file}:{s.line}")), None
    )


def values_between(first: int, last: int, most: int = MOST_POINTS) -> tuple[int, ...]:
    """The numbers from one to the other, or some of them if they are many, with both ends."""
    if last - first < most:
        return tuple(range(first, last + 1))
    step = (last - first) / (most - 1)
    return tuple(dict.fromkeys(round(first + step * number) for number in range(most)))


MOST_CHECKOUTS = 10_000
"""Of a larger run, only a part around the finding's example is replayed."""

MOST_OPERATIONS = 200_000
"""Of a run with more operations, each of which is a step, only a part is replayed as well."""

_POINTS = 8


@dataclass(frozen=True, slots=True)
class TopFindingWhatIf:
    """The run, predicted as if the line of a ``finding`` released its connection.

    ``part`` is between which instants the requests came that were replayed, ``None`` if all were.
    ``curve`` is the run, predicted with the code unchanged and pools of other sizes. If there are
    ``reasons`` to predict nothing, there is neither a prediction nor a curve.
    """

    finding: Finding
    replayed: Replay
    prediction: Prediction | None
    part: tuple[float, float] | None
    reasons: tuple[Reason, ...] = ()
    curve: tuple[tuple[int, Prediction], ...] = ()


def top_finding_whatif(
    report: Report, readers: Sequence[ProcessReader], *, with_curve: bool = False
) -> TopFindingWhatIf | None:
    """The what-if of the report's first finding that costs time; ``None`` if none can be released.

    A curve over pool sizes takes several times as long. Raises :class:`poolhog.TraceError` if a
    process cannot be read.
    """
    finding = report.hog
    if finding is None or not finding.kind.is_released or finding.site is None:
        return None
    part = _part(report, finding, operation_count(readers))
    workload = read_workload(readers) if part is None else read_part(readers, *part)
    found = _predicted(report, finding, workload, part)
    if found is not None and found.prediction is not None and with_curve:
        return replace(found, curve=tuple(_curve(found.replayed)))
    return found


def _curve(replayed: Replay) -> Iterator[tuple[int, Prediction]]:
    """From half of the pool's size to four times as much."""
    sizes = {pool.size for pool in replayed.workload.pools if pool.size}
    if not sizes:
        return
    largest = max(sizes)
    for size in values_between(max(largest // 2, 1), largest * 4, _POINTS):
        point = predict(replayed, WhatIf(pool_size=size))
        if not reasons_of(point):
            yield size, point


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


def _predicted(
    report: Report, finding: Finding, workload: Workload, part: tuple[float, float] | None
) -> TopFindingWhatIf | None:
    site = finding.site
    places = places_at(lines(workload), f"{site.file}:{site.line}") if site is not None else None
    if not places:
        return None
    replayed = replay(workload)
    against = reasons(replayed, report.findings)
    prediction = None if against else predict(replayed, WhatIf(release=places))
    if prediction is not None:
        against = reasons_of(prediction)
        prediction = None if against else prediction
    return TopFindingWhatIf(finding, replayed, prediction, part, against)
