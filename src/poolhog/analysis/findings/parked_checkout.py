"""parked-checkout: a connection is held while its owner waits for something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.thresholds import Threshold
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.analysis.findings.entry import Entry, Spread, Totals
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.model import Operation, OperationKind, Site

PARKED_S = Threshold("parked_s", 0.05)
"""The longest stretch at the line in one checkout."""


class Asked(NamedTuple):
    """An operation, as evidence: its kind, its statement, and the line that asked for it."""

    kind: OperationKind
    statement: str | None
    site: Site | None

    @classmethod
    def of(cls, operation: Operation) -> Asked:
        """The evidence of an operation."""
        return cls(operation.kind, operation.statement, operation.site)


class Between(NamedTuple):
    """The operations around a gap; ``None``: the checkout began, or ended, with the gap.

    If it ``is_computing``, a thread that the owner awaited computed.
    """

    before: Asked | None
    after: Asked | None
    is_computing: bool = False


@dataclass(frozen=True, slots=True)
class ParkedGaps:
    """How long it was parked in one checkout, and how many seconds between which operations."""

    spread: Spread
    between: Mapping[Between, float]


class ParkedCheckout(GapKind[ParkedGaps]):
    """Matters if one stretch was long, and all of them are a part of the use of the run."""

    name = "parked-checkout"
    thresholds = (PARKED_S,)
    is_hog = True
    is_released = True
    is_estimated = True

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the owner was parked, whenever that was."""
        return piece.state is not State.RUNNING

    def note(self, piece: Piece, lifetime: Lifetime) -> Between:
        """The operations around the gap."""
        _, before, after = lifetime.around(piece)
        return Between(
            Asked.of(before) if before is not None else None,
            Asked.of(after) if after is not None else None,
            piece.activity is Activity.COMPUTING,
        )

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether its longest stretch and its share reach the thresholds."""
        is_long = entry.longest >= easing * totals.thresholds[PARKED_S]
        return is_long and super().matters(entry, totals, easing)

    def evidence(self, entry: Entry, totals: Totals) -> ParkedGaps:
        """How long, and between which operations."""
        return ParkedGaps(entry.spread, entry.noted(Between))


PARKED_CHECKOUT = ParkedCheckout()
