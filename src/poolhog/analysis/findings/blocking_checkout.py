"""blocking-checkout: a connection is waited for on the event loop's thread, which stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.findings.starved_loop import STARVED_S

if TYPE_CHECKING:
    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.model import Checkout


@dataclass(frozen=True, slots=True)
class BlockingWaits:
    """The longest wait, and the pool's class."""

    longest: float
    pool: str


class BlockingCheckout(FindingKind[BlockingWaits]):
    """Matters if one wait was as long as a call that blocks the loop. Its line asked for it."""

    name = "blocking-checkout"
    is_of_waits = True

    def occurrence(self, checkout: Checkout, left: float) -> Occurrence:
        """A wait of a task, until ``left``, that the event loop could not go on in."""
        return Occurrence(NamedLine(checkout.site), [(checkout.asked, left)])

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether the longest wait reaches the threshold."""
        return entry.longest >= easing * totals.thresholds[STARVED_S]

    def evidence(self, entry: Entry, totals: Totals) -> BlockingWaits:
        """The longest wait."""
        return BlockingWaits(entry.longest, entry.pool.kind)


BLOCKING_CHECKOUT = BlockingCheckout()
