"""parked-checkout: a connection is held while its owner waits for something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.circumstances import Circumstances, circumstances
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


class ParkedGap(NamedTuple):
    """A parked gap: what it lies between, what was awaited in it, and how the code held on."""

    between: Between
    circumstances: Circumstances


@dataclass(frozen=True, slots=True)
class ParkedGaps:
    """How long it was parked in one checkout, and how many seconds between which operations.

    ``circumstances`` are the seconds by what was awaited, and how the connection was held.
    """

    spread: Spread
    between: Mapping[Between, float]
    circumstances: Mapping[Circumstances, float] = field(default_factory=dict)


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

    def note(self, piece: Piece, lifetime: Lifetime) -> ParkedGap:
        """The operations around the gap, and what was awaited."""
        _, before, after = lifetime.around(piece)
        between = Between(
            Asked.of(before) if before is not None else None,
            Asked.of(after) if after is not None else None,
            piece.activity is Activity.COMPUTING,
        )
        return ParkedGap(between, circumstances(piece, lifetime, self.line(piece, lifetime)))

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether its longest stretch and its share reach the thresholds."""
        is_long = entry.longest >= easing * totals.thresholds[PARKED_S]
        return is_long and super().matters(entry, totals, easing)

    def evidence(self, entry: Entry, totals: Totals) -> ParkedGaps:
        """How long, between which operations, and what was awaited."""
        between: dict[Between, float] = {}
        found: dict[Circumstances, float] = {}
        for gap, seconds in entry.noted(ParkedGap).items():
            between[gap.between] = between.get(gap.between, 0.0) + seconds
            found[gap.circumstances] = found.get(gap.circumstances, 0.0) + seconds
        return ParkedGaps(entry.spread, between, found)


PARKED_CHECKOUT = ParkedCheckout()
