"""Who had the connections of a pool when a wait timed out, and what each was doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.findings.names import abbreviated, place, route_of
from poolhog.analysis.findings.where import departure
from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from poolhog.model import Checkout, Operation, Sample, Site


def holder(checkout: Checkout, instant: float) -> str:
    """A checkout that was lent at an instant: its route, and what it did then, where."""
    return f"{route_of(checkout)}, {_doing(checkout, instant)}"


def _doing(checkout: Checkout, instant: float) -> str:
    before: Site | None = checkout.site
    for operation in checkout.operations:
        if operation.started > instant:
            break
        if operation.ended is None or operation.ended > instant:
            return _busy(operation)
        before = operation.site or before
    sample = _nearest(checkout, instant)
    if sample is None:
        return f"between two operations, asked for at {place(checkout.site)}"
    asked_for = f"asked for at {place(checkout.site)}"
    if sample.site is None:
        is_gone = sample.activity is Activity.PARKED
        return f"{'left behind' if is_gone else sample.activity}, {asked_for}"
    site = departure(sample.site, before).site
    return f"{sample.activity} at {place(site)}" if site is not None else asked_for


def _busy(operation: Operation) -> str:
    if operation.kind is OperationKind.STATEMENT and operation.statement:
        at = f" ({place(operation.site)})" if operation.site is not None else ""
        return f"busy with `{abbreviated(operation.statement)}`{at}"
    return f"busy with {operation.kind.value.upper()}"


def _nearest(checkout: Checkout, instant: float) -> Sample | None:
    """The last sample before, or the first after: of the gap that the instant lies in."""
    ends = [o.ended for o in checkout.operations if o.ended is not None and o.ended <= instant]
    starts = [o.started for o in checkout.operations if o.started > instant]
    first, last = max(ends, default=0.0), min(starts, default=float("inf"))
    inside = [s for s in checkout.samples if first <= s.started < last]
    before = [s for s in inside if s.started <= instant]
    return before[-1] if before else (inside[0] if inside else None)
