"""Gaps of checkouts as findings: each instant of a gap counts for one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis import findings
from poolhog.analysis.accounting import State
from poolhog.analysis.findings.finding import Claimed, GapKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.findings.meaning import Lifetime
from poolhog.analysis.findings.pieces import pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.accounting import Gap, Shares
    from poolhog.analysis.findings.meaning import Nested
    from poolhog.analysis.findings.pieces import Piece
    from poolhog.analysis.findings.tally import FindingTally
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Site

    Kinds = tuple[GapKind[Any], ...]
    Put = Callable[[State | None, Site | None, float, float], None]


def gap_kinds() -> Kinds:
    """The kinds that an instant of a gap can count for, in their order."""
    return tuple(kind for kind in findings.KINDS if isinstance(kind, GapKind))


def meaning_of(piece: Piece, lifetime: Lifetime, kinds: Kinds) -> GapKind[Any] | None:
    """The first kind that claims a piece of a gap; ``None``: it is no waste."""
    for kind in kinds:
        if kind.claims(piece, lifetime):
            return kind
    return None


def _put_nowhere(state: State | None, line: Site | None, started: float, ended: float) -> None:
    """Nobody wants to know."""


class Holding:
    """Looks at one checkout after the other, and adds to a tally what it held without using.

    ``unseen`` gathers the parked seconds of gaps that were not looked at, by where the connection
    was asked for, and ``untold`` the seconds of gaps that no sample fell into: the parked part of
    these, which is known in the end, is unseen as well.
    """

    def __init__(self, thresholds: Thresholds, tally: FindingTally) -> None:
        self.unseen: dict[Site | None, float] = {}
        self.untold: dict[Site | None, float] = {}
        self._thresholds = thresholds
        self._tally = tally
        self._kinds = gap_kinds()

    def look(
        self,
        checkout: Checkout,
        until: float,
        gaps: Sequence[Gap],
        nested: Sequence[Nested] = (),
        put: Put = _put_nowhere,
    ) -> None:
        """Take in a checkout, with its gaps, and the others that its owner had meanwhile.

        ``put`` learns of all of the gaps except what is busy: in which state, and at which line.
        """
        lifetime = Lifetime(checkout, until, nested)
        if lifetime.is_plain:
            unseen = [gap for gap in gaps if not gap.stretches]
            self.miss(checkout.site, untold=sum(gap.duration for gap in unseen))
            for gap in unseen:
                put(None, checkout.site, gap.started, gap.ended)
            gaps = [gap for gap in gaps if gap.stretches]
        claimed: dict[GapKind[Any], list[Claimed]] = {}
        for piece in lifetime.cut(pieces(gaps)):
            if piece.state is not State.BUSY:
                line = self._claim(piece, lifetime, claimed)
                put(piece.state, line.site, piece.started, piece.ended)
        for kind in self._kinds:
            found = kind.occurrences(claimed.get(kind, ()), lifetime, self._thresholds)
            for occurrence in found:
                self._tally.add(kind, checkout, occurrence)

    def miss(self, asked_at: Site | None, *, parked: float = 0.0, untold: float = 0.0) -> None:
        """Count gaps that were parked, or that no sample fell into, and that no kind claimed."""
        if parked:
            self.unseen[asked_at] = self.unseen.get(asked_at, 0.0) + parked
        if untold:
            self.untold[asked_at] = self.untold.get(asked_at, 0.0) + untold

    def settle(self, shares: Shares) -> None:
        """Split the seconds without a sample, after all checkouts of a process were looked at."""
        for site, seconds in self.untold.items():
            self.miss(site, parked=seconds * shares.at(site).parked)
        self.untold.clear()

    def _claim(
        self, piece: Piece, lifetime: Lifetime, claimed: dict[GapKind[Any], list[Claimed]]
    ) -> NamedLine:
        """Let a kind claim the piece; the line that is answerable for it."""
        asked_at = lifetime.checkout.site
        kind = meaning_of(piece, lifetime, self._kinds)
        if kind is None:
            return NamedLine(asked_at)
        if kind.needs_sample and piece.sample is None:
            self.miss(asked_at, untold=piece.seconds)
            return NamedLine(asked_at)
        line = kind.line(piece, lifetime)
        claimed.setdefault(kind, []).append(Claimed(piece, line))
        return line
