"""never-returned: nobody gave a connection back, or only the garbage collector did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.circumstances import Style, style_of
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind, Severity
from poolhog.analysis.findings.lines import NamedLine, is_elsewhere, outermost_line
from poolhog.analysis.findings.meaning import is_at_rest
from poolhog.model import Activity, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.finding import Claimed
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.thresholds import Thresholds


class Fate(NamedTuple):
    """What became of a connection: the garbage collector found it, or it is still out.

    It ``is_shared`` if two tasks used it at once, which makes closing it fail. ``job`` is the
    function that asked for it and returned, if its thread was seen at rest. ``style`` is how it was
    taken.
    """

    is_collected: bool
    is_shared: bool = False
    job: str | None = None
    style: Style | None = None


@dataclass(frozen=True, slots=True)
class NotReturned:
    """What became of the connections, and for how many seconds each fate wasted them."""

    fates: Mapping[Fate, float]


_LEAST_S = 0.05
"""For so long at least a thread is at rest if it keeps a connection that comes back later."""


class NeverReturned(GapKind[NotReturned]):
    """The line is where the connection was asked for. One occurrence is enough."""

    name = "never-returned"
    severity = Severity.LOST
    needs_sample = False

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether it was after the last use, and the owner had answered or was not there."""
        if piece.activity is Activity.IDLE and piece.seconds >= _LEAST_S:
            return True
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
        fate = _fate(lifetime)
        if piece.activity is Activity.IDLE and fate.job is None:
            return fate._replace(job=_job(lifetime))
        return fate

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
    is_over = seen is not None and (
        seen.activity is Activity.IDLE or is_at_rest(seen, checkout.site)
    )
    style, _ = style_of(checkout, None, lifetime.end)
    return Fate(
        checkout.outcome is Outcome.COLLECTED,
        bool(checkout.sharings),
        _job(lifetime) if checkout.request is None and is_over else None,
        style,
    )


def _job(lifetime: Lifetime) -> str | None:
    asked = outermost_line(lifetime.checkout.site)
    return asked.name if asked is not None else None
