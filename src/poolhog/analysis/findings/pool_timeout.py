"""pool-timeout: a wait for a connection ended without one, as the pool's timeout was over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind, Severity
from poolhog.analysis.findings.lines import NamedLine, departure
from poolhog.analysis.findings.parked_checkout import Asked
from poolhog.analysis.owners import route_of
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.model import Checkout, Sample, Site


class Holder(NamedTuple):
    """Who had a connection when a wait timed out: its route, and what it did then.

    It had an operation in flight (``busy_with``), or was seen in a gap, at a line of the
    application (``at``), outside of the application (``is_outside``), or nowhere: one that is
    parked nowhere is gone. Without an ``activity``, no sample was taken in the gap. ``asked_at`` is
    where it asked for its connection, if no more is known of it.
    """

    route: str
    busy_with: Asked | None = None
    activity: Activity | None = None
    at: Site | None = None
    asked_at: Site | None = None
    is_outside: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether it had left its connection behind."""
        is_parked = self.activity is Activity.PARKED and self.at is None and not self.is_outside
        return is_parked or self.activity is Activity.IDLE


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The longest wait, and how often who had one of the connections."""

    longest: float
    holders: Mapping[Holder, float]


class PoolTimeout(FindingKind[TimedOut]):
    """The line is where the request waited that got no connection. One occurrence is enough."""

    name = "pool-timeout"
    severity = Severity.TIMEOUT

    def occurrence(
        self, checkout: Checkout, gave_up: float, holding: Iterable[Checkout]
    ) -> Occurrence:
        """A wait that ended without a connection, while others were ``holding`` them."""
        return Occurrence(
            line=NamedLine(checkout.site),
            spans=[(checkout.asked, gave_up)],
            notes=tuple(holder(other, gave_up) for other in holding),
            weight=gave_up - checkout.asked,
        )

    def evidence(self, entry: Entry, totals: Totals) -> TimedOut:
        """How long it waited, and for whom."""
        return TimedOut(entry.longest, entry.noted(Holder))


POOL_TIMEOUT = PoolTimeout()


def holder(checkout: Checkout, instant: float) -> Holder:
    """What a checkout that was lent at an instant did then."""
    route, asked_at = route_of(checkout), checkout.site
    before: Site | None = checkout.site
    for operation in checkout.operations:
        if operation.started > instant:
            break
        if operation.ended is None or operation.ended > instant:
            return Holder(route, busy_with=Asked.of(operation))
        before = operation.site or before
    sample = _nearest(checkout, instant)
    if sample is None:
        return Holder(route, asked_at=asked_at)
    if sample.site is None:
        return Holder(route, activity=sample.activity, asked_at=asked_at)
    site = departure(sample.site, before).site
    if site is None:
        return Holder(route, activity=sample.activity, asked_at=asked_at, is_outside=True)
    return Holder(route, activity=sample.activity, at=site)


def _nearest(checkout: Checkout, instant: float) -> Sample | None:
    """The last sample before, or the first after: of the gap that the instant lies in."""
    ends = [o.ended for o in checkout.operations if o.ended is not None and o.ended <= instant]
    starts = [o.started for o in checkout.operations if o.started > instant]
    first, last = max(ends, default=0.0), min(starts, default=float("inf"))
    inside = [s for s in checkout.samples if first <= s.started < last]
    before = [s for s in inside if s.started <= instant]
    return before[-1] if before else (inside[0] if inside else None)
