"""never-returned: nobody gave a connection back, or only the garbage collector did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.circumstances import Style, style_of
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.meaning import NamedLine, is_at_rest, is_elsewhere
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.finding import Claimed
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.thresholds import Thresholds


class Fate(NamedTuple):
    """What became of a connection: the garbage collector found it, or it is still out.

    It ``is_shared`` if two tasks used it at once, which makes closing it fail, and ``is_in_thread``
    if its job left it in a thread that waits for the next one. ``style`` is how it was taken.
    """

    is_collected: bool
    is_shared: bool = False
    is_in_thread: bool = False
    style: Style | None = None


@dataclass(frozen=True, slots=True)
class NotReturned:
    """What became of the connections, and for how many seconds each fate wasted them."""

    fates: Mapping[Fate, float]


class NeverReturned(GapKind[NotReturned]):
    """The line is where the connection was asked for. One occurrence is enough."""

    name = "never-returned"
    needs_sample = False

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether it was after the last use, and the owner had answered or was not there."""
        if lifetime.lost_from is None or piece.started < lifetime.lost_from:
            return False
        if lifetime.has_responded(piece.started) or piece.seen is None:
            return True
        return is_elsewhere(piece.seen, lifetime.checkout.site)

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """Where the connection was asked for."""
        return NamedLine(lifetime.checkout.site)

    def note(self, piece: Piece, lifetime: Lifetime) -> Fate:
        """What became of the connection."""
        return _fate(lifetime)

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """One that is not given back counts, also if nothing was wasted."""
        if lifetime.lost_from is not None and not claimed:
            unused = lifetime.lost_from, lifetime.end
            line = NamedLine(lifetime.checkout.site)
            yield Occurrence(line, [unused], (_fate(lifetime),), weight=0.0)
        yield from super().occurrences(claimed, lifetime, thresholds)

    def evidence(self, entry: Entry, totals: Totals) -> NotReturned:
        """What became of the connections."""
        return NotReturned(entry.noted(Fate))


NEVER_RETURNED = NeverReturned()


def _fate(lifetime: Lifetime) -> Fate:
    checkout = lifetime.checkout
    seen = checkout.samples[-1] if checkout.samples else None
    style, _ = style_of(checkout, None, lifetime.end)
    return Fate(
        checkout.outcome is Outcome.COLLECTED,
        bool(checkout.sharings),
        checkout.request is None and seen is not None and is_at_rest(seen, checkout.site),
        style,
    )
