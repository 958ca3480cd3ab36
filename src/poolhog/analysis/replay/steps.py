"""What a workload is made of: chains of steps, kept as numbers, as there may be millions.

A chain is what one request, or one owner without a request, did after it came: steps that take
some seconds, and steps that wait for something. How long it waited is no step: that is what a
simulation finds out.
"""

from __future__ import annotations

from array import array
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


LONGEST_RUN_S = 0.002
"""What lasts longer between a request's checkouts is taken for waiting, else for Python's."""

ENDINGS = frozenset([OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET])
"""Operations that end a transaction, or are the pool's reset."""

AWAY = 1
"""The ``what`` of a ``REST`` during which no connection is held."""


class StepKind(IntEnum):
    """What a step does, and what its ``seconds`` and its ``what`` mean.

    Those up to ``FINISH`` take time. ``RUN``: Python is executed, one owner of a process at a time.
    ``REST``: nothing is known but that it lasted, with a ``what`` if no connection was held.
    ``PARK``: a connection is held at the place ``what``. ``BUSY``: an operation; ``FINISH``: one
    that ends a transaction, or the pool's reset.

    The others take none. ``ASK``: for a connection of the pool ``what``; ``seconds`` go into
    getting it even when one is free. ``RETURN``: one to that pool. ``ANSWER``: the response was
    sent. ``SPAWN``: the chain ``what`` begins beside this one; ``JOIN``: this one goes on when that
    has ended. ``LIMIT``: the next asking gives up after ``seconds``, though the pool would wait
    longer. ``NEST``: it is for a connection beside those that are held, at the place ``what``.
    """

    END = 0
    RUN = 1
    REST = 2
    PARK = 3
    BUSY = 4
    FINISH = 5
    ASK = 6
    RETURN = 7
    ANSWER = 8
    SPAWN = 9
    JOIN = 10
    LIMIT = 11
    NEST = 12


class Step(NamedTuple):
    """One step; ``what`` is a number of a place, a pool or a chain, by its kind."""

    kind: StepKind
    seconds: float = 0.0
    what: int = 0


class Steps:
    """Steps of all chains, one after the other, in fifteen bytes each."""

    __slots__ = ("kinds", "seconds", "whats")

    def __init__(self) -> None:
        self.kinds = bytearray()
        self.seconds = array("d")
        self.whats = array("i")

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, kind: int, seconds: float = 0.0, what: int = 0) -> None:
        """Add a step."""
        self.kinds.append(kind)
        self.seconds.append(seconds)
        self.whats.append(what)

    def extend_columns(
        self, kinds: NDArray[np.int64], seconds: NDArray[np.float64], whats: NDArray[np.int64]
    ) -> None:
        """Add steps that are given as columns."""
        self.kinds.extend(kinds.astype(np.uint8).tobytes())
        self.seconds.frombytes(seconds.tobytes())
        self.whats.frombytes(whats.astype(np.int32).tobytes())

    def extend(self, steps: Iterable[Step]) -> None:
        """Add steps."""
        for kind, seconds, what in steps:
            self.add(kind, seconds, what)

    def since(self, first: int) -> Iterator[Step]:
        """The steps from this one to the end of its chain, which is among them."""
        for index in range(first, len(self.kinds)):
            kind = StepKind(self.kinds[index])
            yield Step(kind, self.seconds[index], self.whats[index])
            if kind is StepKind.END:
                return
