"""What the tally comes to: the findings that matter, in words and in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.findings.finding import Finding, FindingKind
from poolhog.analysis.findings.wording import advice, detail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.analysis.findings.churn import Churning
    from poolhog.analysis.findings.tally import Entry, Tally
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Site

_HOGS = frozenset(
    [
        *(FindingKind.PARKED_CHECKOUT, FindingKind.HELD_AFTER_RESPONSE),
        *(FindingKind.HELD_WHILE_STREAMING, FindingKind.STARVED_LOOP),
    ]
)
"""Kinds that matter by the time they waste; one of the others is enough to tell of it."""


@dataclass(slots=True)
class Run:
    """All that was gathered of a run. ``use`` is the seconds in which a connection was lent."""

    thresholds: Thresholds
    tally: Tally
    use: float = 0.0
    unseen: Mapping[Site | None, float] = field(default_factory=dict)
    churning: Sequence[Churning] = ()


def conclude(run: Run) -> tuple[Finding, ...]:
    """The findings, the one that wastes the most connection-seconds first."""
    _estimate(run)
    return _ordered(_finding(run, entry) for entry in run.tally if _matters(run, entry))


def conclude_faint(run: Run) -> tuple[Finding, ...]:
    """What is not among the findings, and would be if some thresholds were half as high."""
    _estimate(run)
    return _ordered(
        _finding(run, entry)
        for entry in run.tally
        if not _matters(run, entry) and _matters(run, entry, easing=0.5)
    )


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (-f.seconds, -f.made_wait, -f.checkouts)))


def _finding(run: Run, entry: Entry) -> Finding:
    return Finding(
        kind=entry.kind,
        site=entry.where.site,
        routes=_ranked(entry.routes),
        checkouts=entry.checkouts,
        seconds=entry.whole,
        share=_share(run, entry),
        made_wait=math.fsum(entry.made_wait.values()),
        waiters=_ranked(entry.made_wait),
        detail=detail(entry, run.churning),
        advice=advice(entry),
        awaiting=entry.where.awaiting,
        example=entry.example,
        occurrences=entry.occurrences,
    )


def _share(run: Run, entry: Entry) -> float:
    """Of all use; the opening of connections comes before that, and is added to it."""
    is_use = entry.kind is not FindingKind.CONNECTION_CHURN
    whole = run.use if is_use else run.use + entry.whole
    return entry.whole / whole if whole else 0.0


def _matters(run: Run, entry: Entry, *, easing: float = 1.0) -> bool:
    """Whether it reaches the thresholds for all that was seen of it, or such a part of them."""
    thresholds = run.thresholds
    if entry.kind is FindingKind.CONNECTION_CHURN:
        return any(
            churning.beyond >= easing * thresholds.churn_connects
            and churning.beyond >= easing * thresholds.churn_share * churning.granted
            for churning in run.churning
            if churning.group == entry.group
        )
    if entry.kind is FindingKind.PARKED_CHECKOUT and entry.longest < easing * thresholds.parked_s:
        return False
    if entry.kind in _HOGS:
        return entry.whole >= easing * thresholds.least_share * run.use
    return True


def _estimate(run: Run) -> None:
    """Parked seconds that no sample told about: like the seen ones asked for at the same place."""
    parked = [entry for entry in run.tally if entry.kind is FindingKind.PARKED_CHECKOUT]
    seen: dict[Site | None, float] = {}
    for entry in parked:
        for site, seconds in entry.asked_at.items():
            seen[site] = seen.get(site, 0.0) + seconds
    for entry in parked:
        entry.estimated = sum(
            seconds / seen[site] * run.unseen.get(site, 0.0)
            for site, seconds in entry.asked_at.items()
            if seconds > 0
        )


def _ranked(weights: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(sorted(weights, key=lambda name: (-weights[name], name)))
