"""The tally: what was found of each kind at each line, and the findings that it comes to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolhog.analysis import findings
from poolhog.analysis.findings.entry import Entry, Occurrence, Origin
from poolhog.analysis.findings.finding import Finding, GapKind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from poolhog.analysis.findings.entry import Batch, Totals
    from poolhog.analysis.findings.finding import AnyKind
    from poolhog.model import Checkout, Site

    Place = tuple[str, int, str]

NEAR = 0.5
"""The part of the thresholds from which on something is nearly a finding."""


class FindingTally:
    """All entries, by kind and line."""

    def __init__(self) -> None:
        self._entries: dict[tuple[AnyKind, Place], Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, kind: AnyKind, checkout: Checkout, occurrence: Occurrence) -> None:
        """Add what was found of a kind in a checkout."""
        self._entry(kind, checkout, occurrence).add(checkout, occurrence)

    def add_batch(self, kind: AnyKind, batch: Batch) -> None:
        """Add what was found of a kind in many checkouts at one site."""
        longest = Occurrence(batch.line, [batch.example])
        self._entry(kind, batch.checkout, longest).add_batch(batch)

    def _entry(self, kind: AnyKind, checkout: Checkout, occurrence: Occurrence) -> Entry:
        place = kind, _place(occurrence.line.site, occurrence.key)
        entry = self._entries.get(place)
        if entry is None:
            example = occurrence.example_of(checkout)
            entry = Entry(occurrence.key, checkout.pool, occurrence.line, example)
            self._entries[place] = entry
        return entry

    def findings(self, totals: Totals) -> tuple[Finding, ...]:
        """The findings, the worst first: see :class:`Severity`."""
        self._estimate(totals)
        return _ordered(
            _finding(kind, entry, totals)
            for (kind, _), entry in self._entries.items()
            if kind.matters(entry, totals)
        )

    def near_findings(self, totals: Totals) -> tuple[Finding, ...]:
        """What is no finding, and would be one if some thresholds were half as high."""
        self._estimate(totals)
        return _ordered(
            _finding(kind, entry, totals)
            for (kind, _), entry in self._entries.items()
            if not kind.matters(entry, totals) and kind.matters(entry, totals, NEAR)
        )

    def _estimate(self, totals: Totals) -> None:
        """Split the unseen parked seconds like the seen ones after the same line.

        If none was seen there, like those of the connections that were asked for at the same place.
        """
        parked = [
            entry
            for (kind, _), entry in self._entries.items()
            if isinstance(kind, GapKind) and kind.is_estimated
        ]
        seen: dict[Origin, float] = {}
        for entry in parked:
            entry.estimated = 0.0
            for origin, seconds in entry.origins.items():
                for one in {origin, Origin(origin.asked_at, None)}:
                    seen[one] = seen.get(one, 0.0) + seconds
        unseen: dict[Origin, float] = {}
        for origin, seconds in totals.unseen.items():
            known = origin if seen.get(origin) else Origin(origin.asked_at, None)
            unseen[known] = unseen.get(known, 0.0) + seconds
        for entry in parked:
            for origin, seconds in entry.origins.items():
                for one in {origin, Origin(origin.asked_at, None)}:
                    if seconds > 0:
                        entry.estimated += seconds / seen[one] * unseen.get(one, 0.0)


def _place(site: Site | None, key: str | None) -> Place:
    if key is not None:
        return key, 0, ""
    return (site.file, site.line, site.function) if site is not None else ("", 0, "")


def _ordered(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The costliest first; but what is a reason comes before what follows from it at its line."""
    ordered = sorted(found, key=rank_of)
    reasons = [f for f in ordered if f.kind is findings.NESTED_CHECKOUT]
    for reason in reasons:
        follows = (
            place
            for place, one in enumerate(ordered)
            if one.kind is findings.BLOCKS_OTHERS
            and _place(one.site, None) == _place(reason.site, None)
        )
        first, at = next(follows, len(ordered)), ordered.index(reason)
        if first < at:
            ordered.insert(first, ordered.pop(at))
    return tuple(ordered)


def rank_of(finding: Finding) -> tuple[int, int, float, float, int, int, Place]:
    """The worst first, by its severity; then what made others wait longest, then what wasted most.

    What is no matter of time is ordered by kind before that, so that a cause comes before its
    effect. Waiting that hardly anybody would notice does not count.
    """
    known = findings.KINDS
    kind = known.index(finding.kind) if finding.kind in known else len(known)
    severity = finding.severity
    at_start, made_wait, wasted, checkouts = cost_of(finding)
    first = at_start if severity >= Severity.TIME else kind
    return severity, first, made_wait, wasted, checkouts, kind, _place(finding.site, None)


def cost_of(finding: Finding) -> tuple[int, float, float, int]:
    """What costs most comes first; start-up code, for which no request waits, comes last."""
    at_start = int(finding.is_at_start)
    return at_start, -round(finding.made_wait, 1), -finding.seconds, -finding.checkouts


def _finding(kind: AnyKind, entry: Entry, totals: Totals) -> Finding:
    whole = totals.use + entry.whole if kind.is_of_waits else totals.use
    return Finding(
        kind=kind,
        site=entry.line.site,
        routes=_ranked(entry.routes),
        checkouts=entry.checkouts,
        seconds=entry.whole,
        share=entry.whole / whole if whole else 0.0,
        made_wait=math.fsum(entry.made_wait.values()),
        waiters=_ranked(entry.made_wait),
        evidence=kind.evidence(entry, totals),
        awaiting=entry.line.awaiting,
        example=entry.example,
        occurrences=entry.occurrences,
        estimated=entry.estimated,
        is_at_start=bool(entry.routes) and totals.starting.issuperset(entry.routes),
    )


def _ranked(weights: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(sorted(weights, key=lambda name: (-weights[name], name)))
