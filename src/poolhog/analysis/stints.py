"""What a connection was used for, stint by stint: in which state, and where in the code."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State, end_of, shared, told_gaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.accounting import Gap, Share, Shares
    from poolhog.model import Checkout, Operation, Site


class Stint(NamedTuple):
    """A part of a checkout's use, in one state; a busy one is one operation.

    ``site`` is where the operation was asked for, or where the owner was seen: what ran instead of
    one that was ready. Where nobody looked, it is where the connection was asked for.
    """

    state: State
    started: float
    ended: float
    site: Site | None
    operation: Operation | None = None

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.started


def stints(checkout: Checkout, until: float, shares: Shares) -> list[Stint]:
    """The checkout's use from its grant to its end, in order, without holes or overlaps.

    What took no time is left out. States are those of ``accounting``, and so are their sums.
    """
    if checkout.granted is None:
        return []
    share = shares.of(checkout)
    found = [
        stint for gap in told_gaps(checkout, until) for stint in _in_gap(gap, share, checkout.site)
    ]
    found += _busy(checkout, checkout.granted, end_of(checkout, until))
    found.sort(key=_STARTED)
    return found


_STARTED = attrgetter("started")


def _busy(checkout: Checkout, granted: float, end: float) -> Iterator[Stint]:
    at = granted
    for operation in checkout.operations:
        ended = end if operation.ended is None else min(operation.ended, end)
        if ended <= at or ended <= operation.started:
            continue
        site = operation.site if operation.site is not None else checkout.site
        yield Stint(State.BUSY, max(operation.started, at), ended, site, operation)
        at = ended


def _in_gap(gap: Gap, share: Share, asked_at: Site | None) -> Iterator[Stint]:
    """Stretches that follow one another in one state at one place are one stint."""
    if not gap.stretches:
        for part in shared((gap.started, gap.ended), share):
            yield Stint(part.state, part.started, part.ended, asked_at)
        return
    last: Stint | None = None
    for stretch in gap.stretches:
        site = stretch.sample.site if stretch.sample.site is not None else asked_at
        if last is not None and (last.state, last.site) == (stretch.state, site):
            last = last._replace(ended=stretch.ended)
            continue
        if last is not None:
            yield last
        last = Stint(stretch.state, stretch.started, stretch.ended, site)
    if last is not None:
        yield last
