"""The parts of a checkout's gaps, in which its owner was in one state at one place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.ledger import KINDS
from poolhog.analysis.spans import STATES, UNSAMPLED
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.accounting import State
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.spans import Cut
    from poolhog.model import Checkout, Operation, Sample, Site

_NEAR = 10
"""Operations around a gap that are looked at: more than a library's own between two others."""


class Gap(NamedTuple):
    """The time between two operations, in seconds on the run's clock."""

    started: float
    ended: float


class Piece(NamedTuple):
    """A piece of a ``gap``. Without a ``sample``, nothing is known about it; its state is ``None``.

    Instants are seconds on the run's clock.
    """

    state: State | None
    started: float
    ended: float
    sample: Sample | None
    gap: Gap

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.started

    @property
    def seen(self) -> Site | None:
        """Where the owner was, if it was seen; when it was ready, what ran instead."""
        return self.sample.site if self.sample is not None else None

    def cut(self, started: float, ended: float) -> Piece:
        """A piece of the piece."""
        return self._replace(started=started, ended=ended)


class Around(NamedTuple):
    """What a gap lies between; ``reference`` is the stack of what was asked for before it."""

    reference: Site | None
    before: Operation | None
    after: Operation | None


class Surroundings(NamedTuple):
    """By gap, the operations around it as indexes, negative where there is none nearby.

    ``reference`` is the last one before it that has a site, ``before`` and ``after`` are the ones
    next to it that a reader would know by name: not a BEGIN, nor what the pool does.
    """

    reference: Numbers
    before: Numbers
    after: Numbers


def piece_of(ledger: Ledger, found: Cut, span: int, checkout: Checkout) -> Piece:
    """The piece that a span of a gap is, of its checkout."""
    spans, gaps = found.spans, found.gaps
    state, sample, gap = int(spans.state[span]), int(spans.sample[span]), int(spans.gap[span])
    place = sample - int(np.searchsorted(found.samples.row, spans.row[span]))
    return Piece(
        None if state == UNSAMPLED else STATES[state],
        ledger.seconds(int(spans.started[span])),
        ledger.seconds(int(spans.ended[span])),
        checkout.samples[place] if sample >= 0 else None,
        Gap(ledger.seconds(int(gaps.started[gap])), ledger.seconds(int(gaps.ended[gap]))),
    )


def surroundings(found: Cut) -> Surroundings:
    """The operations around all gaps that were cut."""
    gaps, operations = found.gaps, found.operations
    begun = _rank(operations.row, operations.started, gaps.row, gaps.started, side="right")
    coming = _rank(operations.row, operations.started, gaps.row, gaps.ended, side="left")
    is_trip = ~_NO_TRIP[operations.kind]
    return Surroundings(
        _near(begun - 1, operations.row, gaps.row, operations.site > 0, step=-1),
        _near(begun - 1, operations.row, gaps.row, is_trip, step=-1),
        _near(coming, operations.row, gaps.row, is_trip, step=1),
    )


_NO_TRIP = np.isin(np.array(KINDS), (OperationKind.BEGIN, OperationKind.RESET))


def _rank(row: Numbers, value: Numbers, rows: Numbers, values: Numbers, *, side: str) -> Numbers:
    """How many of some entries, ordered by row and value, come before each of some others."""
    order = np.lexsort(
        (
            np.concatenate((np.ones(len(row)), np.full(len(rows), 2 if side == "right" else 0))),
            np.concatenate((value, values)),
            np.concatenate((row, rows)),
        )
    )
    is_entry = order < len(row)
    found = np.empty(len(order), np.int64)
    found[order] = np.cumsum(is_entry)
    return found[len(row) :]


def _near(at: Numbers, row: Numbers, rows: Numbers, wanted: Flags, *, step: int) -> Numbers:
    """The first wanted entry of the row from an index on, of those nearby."""
    found = np.full(len(at), -1)
    for _ in range(_NEAR):
        is_there = (found < 0) & (at >= 0) & (at < len(row))
        some = np.flatnonzero(is_there)
        some = some[(row[at[some]] == rows[some]) & wanted[at[some]]]
        found[some] = at[some]
        at = at + step
    return found


def around(checkout: Checkout, gap: Gap) -> Around:
    """What the checkout did before and after a gap."""
    operations = checkout.operations
    first = bisect_right(operations, gap.started, key=_STARTED)
    following = bisect_left(operations, gap.ended, key=_STARTED)
    before = operations[max(first - _NEAR, 0) : first][::-1]
    return Around(
        next((operation.site for operation in before if operation.site is not None), checkout.site),
        _round_trip(before),
        _round_trip(operations[following : following + _NEAR]),
    )


_STARTED = attrgetter("started")


def _round_trip(operations: Sequence[Operation]) -> Operation | None:
    """The first that a reader would know by name: not a BEGIN, nor what the pool does."""
    for operation in operations:
        if operation.kind not in (OperationKind.BEGIN, OperationKind.RESET):
            return operation
    return None
