"""connection-churn: connections are opened all the time instead of being kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.thresholds import Threshold

if TYPE_CHECKING:
    from poolhog.analysis.findings.entry import Entry, PoolCounts, Totals
    from poolhog.model import Checkout

CHURN_SHARE = Threshold("churn_share", 0.2)
"""The part of the pool's checkouts that opened a connection."""

CHURN_CONNECTS = Threshold("churn_connects", 20)
"""Connections opened beyond the pool's size, in one process."""


@dataclass(frozen=True, slots=True)
class Churn:
    """How many connections a kind of pool lent, in all processes, and how many it opened."""

    pool: str
    granted: int
    opened: int


class ConnectionChurn(FindingKind[Churn]):
    """The line is where the costliest connection was asked for; the pool is to be changed."""

    name = "connection-churn"
    thresholds = (CHURN_SHARE, CHURN_CONNECTS)
    is_of_waits = True
    is_placeless = True

    def occurrence(self, checkout: Checkout, granted: float, pool: PoolCounts) -> Occurrence:
        """A connection that the pool opened for a checkout, which was then granted."""
        return Occurrence(
            line=NamedLine(checkout.site),
            spans=[(granted - checkout.connecting, granted)],
            key=pool.group,
        )

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether the pool of one process reaches both thresholds."""
        connects = easing * totals.thresholds[CHURN_CONNECTS]
        share = easing * totals.thresholds[CHURN_SHARE]
        return any(
            pool.beyond >= connects and pool.beyond >= share * pool.granted
            for pool in totals.pools
            if pool.group == entry.key
        )

    def evidence(self, entry: Entry, totals: Totals) -> Churn:
        """What the pools of all processes lent and opened."""
        pools = [pool for pool in totals.pools if pool.group == entry.key]
        granted, opened = sum(p.granted for p in pools), sum(p.opened for p in pools)
        return Churn(entry.pool.kind, granted, opened)


CONNECTION_CHURN = ConnectionChurn()
