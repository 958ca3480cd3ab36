"""nested-checkout: an owner that holds a connection waits for another one of the same pool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.meaning import NamedLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.finding import Claimed
    from poolhog.analysis.findings.meaning import Lifetime
    from poolhog.analysis.findings.pieces import Piece
    from poolhog.analysis.thresholds import Thresholds


class Depth(NamedTuple):
    """How many connections an owner had at once."""

    connections: int


@dataclass(frozen=True, slots=True)
class NestedCheckouts:
    """The most connections that an owner had at once, and how many the pool has if it is limited.

    ``deadlock_from`` is the least number of concurrent requests that can block each other,
    ``None`` without a limit.
    """

    depth: int
    capacity: int | None
    deadlock_from: int | None


class NestedCheckout(GapKind[NestedCheckouts]):
    """The line is where the other connection was asked for. One occurrence is enough."""

    name = "nested-checkout"
    is_released = True
    needs_sample = False

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the owner was parked while it asked for and had another connection."""
        return piece.state is not State.RUNNING and lifetime.nested_at(piece.started) is not None

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """Where the other one was asked for, if a sample shows that the owner was parked then."""
        nested = lifetime.nested_at(piece.started) if piece.sample is not None else None
        asked_at = NamedLine(lifetime.checkout.site)
        return nested.line if nested is not None and nested.line.site is not None else asked_at

    def replayed_line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """Where the owner was parked, which may be at a statement on the other connection."""
        return lifetime.line_behind_middleware(piece)

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """Each of the other checkouts, also if no sample was taken meanwhile."""
        seen = [piece for piece, _ in claimed if piece.sample is not None]
        for one in lifetime.nested:
            spans = [
                (piece.started, piece.ended)
                for piece in seen
                if lifetime.nested_at(piece.started) is one
            ]
            notes = (Depth(one.depth),)
            if spans:
                yield Occurrence(one.line, spans, notes)
            else:
                yield Occurrence(one.line, [(one.started, one.ended)], notes, weight=0.0)

    def evidence(self, entry: Entry, totals: Totals) -> NestedCheckouts:
        """How deep, in a pool of which size."""
        depth = max(depth.connections for depth in entry.noted(Depth))
        capacity = entry.pool.capacity
        stuck = deadlock_from(capacity, depth) if capacity is not None else None
        return NestedCheckouts(depth, capacity, stuck)


NESTED_CHECKOUT = NestedCheckout()


def deadlock_from(capacity: int, depth: int) -> int:
    """The least number of concurrent requests that can wait for each other for ever.

    Each needs ``depth`` connections at once. They are stuck when all connections are held by
    requests that have at most ``depth - 1`` and ask for one more: n * (depth - 1) >= capacity.
    HikariCP's "About Pool Sizing" says the same the other way round: no deadlock from a pool of
    n * (depth - 1) + 1 on.
    """
    return math.ceil(capacity / (depth - 1))
