"""held-after-response: a connection is held after the last byte of the response was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.lines import NamedLine, departure
from poolhog.analysis.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.analysis.findings.entry import Entry, Spread, Totals
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.model import Checkout, Site

AFTER_RESPONSE_S = Threshold("after_response_s", 0.05)
"""Held after the response in one checkout."""

BACKGROUND = "background"
"""The stage of a request in which its background tasks run."""


class Kept(NamedTuple):
    """Why a connection was held: the dependency that kept it, background tasks; if known."""

    dependency: str | None
    in_background: bool
    asked_at: Site | None


@dataclass(frozen=True, slots=True)
class AfterResponse:
    """How long it was held after the response in one checkout, and how many seconds for what.

    ``dependency`` is the name of the one that is defined at the finding's line, if it is one.
    """

    spread: Spread
    kept: Mapping[Kept, float]
    dependency: str | None


class HeldAfterResponse(GapKind[AfterResponse]):
    """The line is where the dependency is defined that gave the connection back, if one did."""

    name = "held-after-response"
    thresholds = (AFTER_RESPONSE_S,)
    is_hog = True
    is_released = True
    least = AFTER_RESPONSE_S
    needs_sample = False

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the response had been sent: whatever the owner did, it was not for that."""
        return lifetime.has_responded(piece.started)

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """The dependency, or else what ran after the response."""
        dependency = dependency_of(lifetime.checkout)
        if dependency is None:
            return lifetime.line_behind_middleware(piece)
        found = departure(piece.seen, lifetime.around(piece).reference)
        below = found.awaiting if found.site is None else (found.site, *found.awaiting)
        return NamedLine(dependency, below, is_dependency=True)

    def note(self, piece: Piece, lifetime: Lifetime) -> Kept:
        """What kept the connection."""
        checkout = lifetime.checkout
        dependency = dependency_of(checkout)
        name = dependency.name if dependency is not None else None
        return Kept(name, _is_in_background(checkout, piece), checkout.site)

    def evidence(self, entry: Entry, totals: Totals) -> AfterResponse:
        """How long, and for what."""
        line = entry.line
        dependency = line.site.name if line.is_dependency and line.site is not None else None
        return AfterResponse(entry.spread, entry.noted(Kept), dependency)


HELD_AFTER_RESPONSE = HeldAfterResponse()


def dependency_of(checkout: Checkout) -> Site | None:
    """Where the dependency is defined that gave the connection back when it was closed."""
    returned = checkout.returned
    if returned is None or checkout.request is None:
        return None
    for stage in checkout.request.stages:
        over = stage.ended if stage.ended is not None else returned
        if stage.site is not None and stage.started <= returned <= over:
            return stage.site
    return None


def _is_in_background(checkout: Checkout, piece: Piece) -> bool:
    return checkout.request is not None and any(
        stage.name == BACKGROUND
        and stage.started < piece.ended
        and (stage.ended is None or stage.ended > piece.started)
        for stage in checkout.request.stages
    )
