"""nested-checkout: an owner that holds a connection waits for another one of the same pool."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind, Severity
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.ledger import NEVER
from poolhog.analysis.spans import running_maximum
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.finding import Claimed
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Operation, Sample, Site


class Depth(NamedTuple):
    """How many connections an owner had at once; ``is_stuck``: it never got the last of them."""

    connections: int
    is_stuck: bool = False


@dataclass(frozen=True, slots=True)
class NestedCheckouts:
    """The most connections that an owner had at once, and how many the pool has if it is limited.

    ``deadlock_from`` is the least number of concurrent requests that can block each other,
    ``None`` without a limit. ``is_stuck`` tells that some waited for their second one in vain.
    """

    depth: int
    capacity: int | None
    deadlock_from: int | None
    is_stuck: bool = False


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
            notes = (Depth(one.depth, one.is_stuck),)
            if spans:
                yield Occurrence(one.line, spans, notes)
            else:
                yield Occurrence(one.line, [(one.started, one.ended)], notes, weight=0.0)

    def evidence(self, entry: Entry, totals: Totals) -> NestedCheckouts:
        """How deep, in a pool of which size."""
        depths = entry.noted(Depth)
        depth = max(depth.connections for depth in depths)
        capacity = entry.pool.capacity
        stuck = deadlock_from(capacity, depth) if capacity is not None else None
        return NestedCheckouts(depth, capacity, stuck, any(depth.is_stuck for depth in depths))

    def severity_of(self, evidence: NestedCheckouts) -> Severity:
        """A deadlock if some waited in vain, and otherwise a matter of time."""
        return Severity.DEADLOCK if evidence.is_stuck else self.severity


NESTED_CHECKOUT = NestedCheckout()


def deadlock_from(capacity: int, depth: int) -> int:
    """The least number of concurrent requests that can wait for each other for ever.

    Each needs ``depth`` connections at once. They are stuck when all connections are held by
    requests that have at most ``depth - 1`` and ask for one more: n * (depth - 1) >= capacity.
    HikariCP's "About Pool Sizing" says the same the other way round: no deadlock from a pool of
    n * (depth - 1) + 1 on.
    """
    return math.ceil(capacity / (depth - 1))


MOST_INNER = 1_000
"""Checkouts compared with one that their asker held: a connection for LISTEN, which is never given
back, must not collect all others of its owner."""


class Inner(NamedTuple):
    """The row of a checkout that was asked for while its asker held others: it had ``depth``."""

    row: int
    depth: int


def overlaps(ledger: Ledger) -> Mapping[int, Sequence[Inner]]:
    """By the row of the one that was held, those that its asker asked for meanwhile."""
    end = np.where(ledger.is_closed, ledger.over, NEVER)
    order = np.lexsort((ledger.asker, ledger.pool))
    group = ledger.pool[order] * (int(ledger.asker.max(initial=0)) + 1) + ledger.asker[order]
    latest = running_maximum(group, end[order])
    is_beside = (group[1:] == group[:-1]) & (latest[:-1] > ledger.asked[order][1:])
    found: dict[int, list[Inner]] = {}
    for one in np.unique(group[1:][is_beside]).tolist():
        first, last = np.searchsorted(group, (one, one + 1))
        held: list[int] = []
        for row in order[first:last].tolist():
            asked = ledger.asked[row]
            held = [other for other in held if end[other] > asked]
            holding = [r for r in held if ledger.is_granted[r] and ledger.left[r] <= asked]
            for outer in holding:
                inner = found.setdefault(outer, [])
                if len(inner) < MOST_INNER:
                    inner.append(Inner(row, len(holding) + 1))
            held.append(row)
    return found


def is_nested(outer: Checkout, inner: Checkout, until: float) -> bool:
    """Whether an owner that holds one connection cannot go on before it gets another.

    The same owner in the same request cannot. Siblings that run at the same time in one request
    can, so of two owners the outer one must be seen waiting for the other; and of work without a
    request only a name is known, which in older traces may be that of several threads. While an
    operation was in flight on the first connection, whoever asked for the second was another.
    """
    if _is_in_flight(outer.operations, inner.asked):
        return False
    if outer.request is not None and outer.owner == inner.owner:
        return True
    started, ended = inner.asked, min(end_or(inner, until), until)
    if end_or(outer, until) < ended:
        return False
    if _begun(outer.operations, started) < _begun(outer.operations, ended):
        return False
    if outer.owner == inner.owner:
        return True
    first = max(_begun(outer.samples, started) - 1, 0)
    seen = outer.samples[first : _begun(outer.samples, ended)]
    parked = [
        sample
        for sample in seen
        if sample.activity is Activity.PARKED and (sample.ended is None or sample.ended > started)
    ]
    # While those that it awaits run, or are ready, it is as well.
    return bool(parked) and all(_awaits_tasks(sample.site) for sample in parked)


def end_or(checkout: Checkout, until: float) -> float:
    """When the checkout was over, or another instant if it is not."""
    end = checkout.returned if checkout.returned is not None else checkout.gave_up
    return end if end is not None else until


def _begun(facts: Sequence[Operation] | Sequence[Sample], instant: float) -> int:
    """The number of facts that had begun before an instant."""
    return bisect_left(facts, instant, key=attrgetter("started"))


def _is_in_flight(operations: Sequence[Operation], instant: float) -> bool:
    """Whether an operation had begun before an instant, and ended after it."""
    begun = bisect_left(operations, instant, key=attrgetter("started"))
    if not begun:
        return False
    ended = operations[begun - 1].ended
    return ended is None or ended > instant


_GROUPS = frozenset(["TaskGroup.__aexit__", "TaskGroup._aexit"])
_WAITS = frozenset(["wait", "_wait", "wait_for"])


def _awaits_tasks(site: Site | None) -> bool:
    """Whether the innermost frame awaits tasks: those of ``gather`` are awaited by its caller.

    A library that calls ``wait_for``, as psycopg does, waits for a task of its own.
    """
    if site is None:
        return False
    outer = next((frame for frame in site.stack if frame.function not in _WAITS), site)
    return site.function in _GROUPS or outer.is_application
