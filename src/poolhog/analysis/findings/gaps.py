"""Gaps of checkouts as findings: each instant of a gap counts for one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis import findings
from poolhog.analysis.accounting import State
from poolhog.analysis.findings.finding import Claimed, GapKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.findings.meaning import Lifetime
    from poolhog.analysis.findings.pieces import Piece
    from poolhog.analysis.findings.tally import FindingTally
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Site

    Kinds = tuple[GapKind[Any], ...]


def gap_kinds() -> Kinds:
    """The kinds that an instant of a gap can count for, in their order."""
    return tuple(kind for kind in findings.KINDS if isinstance(kind, GapKind))


def meaning_of(piece: Piece, lifetime: Lifetime, kinds: Kinds) -> GapKind[Any] | None:
    """The first kind that claims a piece of a gap; ``None``: it is no waste."""
    for kind in kinds:
        if kind.claims(piece, lifetime):
            return kind
    return None


def look(
    lifetime: Lifetime,
    pieces: Iterable[Piece],
    kinds: Kinds,
    thresholds: Thresholds,
    tally: FindingTally,
) -> Iterator[tuple[Piece, Site | None, bool]]:
    """Add the gaps of one checkout, in pieces, to a tally.

    Each piece comes back with the line that is answerable for it, and whether it was seen: if not,
    it has no sample, and may have been parked.
    """
    claimed: dict[GapKind[Any], list[Claimed]] = {}
    asked_at = lifetime.checkout.site
    for piece in lifetime.cut(pieces):
        if piece.state is State.BUSY:
            continue
        kind = meaning_of(piece, lifetime, kinds)
        is_seen = kind is None or piece.sample is not None or not kind.needs_sample
        if kind is None or not is_seen:
            yield piece, asked_at, is_seen
            continue
        line = kind.line(piece, lifetime)
        claimed.setdefault(kind, []).append(Claimed(piece, line))
        yield piece, line.site, True
    for kind in kinds:
        for occurrence in kind.occurrences(claimed.get(kind, ()), lifetime, thresholds):
            tally.add(kind, lifetime.checkout, occurrence)
