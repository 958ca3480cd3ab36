"""The gaps of a checkout, in pieces in which its owner was in one state at one place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.accounting import Gap, State
    from poolhog.model import Checkout, Operation, Sample, Site

_NEAR = 10
"""Operations around a gap that are looked at: more than a library's own between two others."""


class Piece(NamedTuple):
    """A piece of a ``gap``. Without a ``sample``, nothing is known about it; its state is ``None``.

    A tuple, as there may be millions.
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


def pieces(gaps: Iterable[Gap]) -> Iterator[Piece]:
    """All of a checkout's gaps, in order; what is not known of one is a piece as well."""
    for gap in gaps:
        if not gap.stretches:
            yield Piece(None, gap.started, gap.ended, None, gap)
        for stretch in gap.stretches:
            yield Piece(stretch.state, stretch.started, stretch.ended, stretch.sample, gap)


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
