"""thread-starved: the owner of a connection waits for a thread, as all of them are in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.parked_checkout import PARKED_S
from poolhog.model import Activity

if TYPE_CHECKING:
    from poolhog.analysis.findings.entry import Entry, Spread, Totals
    from poolhog.analysis.findings.meaning import Lifetime, Piece


@dataclass(frozen=True, slots=True)
class NoThread:
    """How long it waited in one checkout, and how many waited for the same pool meanwhile."""

    spread: Spread
    waiting: int


class ThreadStarved(GapKind[NoThread]):
    """Matters like what is parked: if one stretch was long, and all are a part of the use."""

    name = "thread-starved"
    is_hog = True

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the owner waited for a thread."""
        return piece.activity is Activity.QUEUED

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether its longest stretch and its share reach the thresholds."""
        is_long = entry.longest >= easing * totals.thresholds[PARKED_S]
        return is_long and super().matters(entry, totals, easing)

    def evidence(self, entry: Entry, totals: Totals) -> NoThread:
        """How long, and who waited for the pool in the middle of the longest wait."""
        middle = (entry.example.started + entry.example.ended) / 2
        return NoThread(entry.spread, totals.waiting_at(entry.pool.id, middle))


THREAD_STARVED = ThreadStarved()
