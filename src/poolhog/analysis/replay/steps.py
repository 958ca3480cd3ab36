"""What a workload is made of: chains of steps, kept as numbers, as there may be millions.

A chain is what one request, or one owner without a request, did after it came: steps that take
some seconds, and steps that wait for something. How long it waited is no step: that is what a
simulation finds out.

Many chains are written at once, as arrays. A chain is given as atoms: instants at which its state
changes, or at which it does something that takes no time (a mark). A state lasts up to the next
atom.
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

    from poolhog.analysis.ledger import Flags, Numbers

    Instants = NDArray[np.float64]

LONGEST_RUN_S = 0.002
"""What lasts longer between a request's checkouts is taken for waiting, else for Python's."""

ENDINGS = frozenset([OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET])
"""Operations that end a transaction, or are the pool's reset."""

AWAY = 1
"""The ``what`` of a ``REST`` during which no connection is held."""

READY = 2
"""The ``what`` of a ``REST`` during which the owner of a connection could go on and did not."""


class StepKind(IntEnum):
    """What a step does, and what its ``seconds`` and its ``what`` mean.

    Those up to ``FINISH`` take time. ``RUN``: Python is executed, one owner of a process at a time.
    ``REST``: nothing is known but that it lasted, with a ``what`` if no connection was held, or if
    its owner waited for the event loop or the interpreter.
    ``PARK``: a connection is held at the place ``what``. ``BUSY``: an operation; ``FINISH``: one
    that ends a transaction, or the pool's reset.

    The others take none. ``ASK``: for a connection of the pool ``what``; ``seconds`` go into
    getting it even when one is free. ``RETURN``: one to that pool. ``ANSWER``: the response was
    sent. ``SPAWN``: the chain ``what`` begins beside this one; ``JOIN``: this one goes on when that
    has ended. ``LIMIT``: the next asking gives up after ``seconds``, though the pool would wait
    longer. ``NEST``: it is for a connection beside those that are held, at the place ``what``.

    ``MISS``: the asking before this one was given up after ``seconds``; ``what`` is how. Chains
    that are complete have none, but ``TIMEOUT``: the next asking times out after ``seconds``,
    though the pool would wait longer. ``ELSE``: if it is given up, its chain goes on ``what`` steps
    after this one. ``STOP``: the end of what follows an asking that got its connection.

    ``LOCK``: the database's lock ``what`` is taken, or waited for; ``UNLOCK``: given back.
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
    MISS = 13
    TIMEOUT = 14
    ELSE = 15
    STOP = 16
    LOCK = 17
    UNLOCK = 18


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


NO_STEP = 255
"""Stands for no mark, and for a state that is no step: a wait lasts as long as it is made to."""

OUTSIDE = 254
"""The state in which no connection is held or waited for."""


class Atoms(NamedTuple):
    """Atoms of chains, one chain after the other, each in the order of its instants.

    ``at`` is microseconds; ``mark`` and ``state`` are kinds of steps, with their ``what``;
    ``seconds`` are the mark's. Those of a chain end with the mark ``END``.
    """

    at: Instants
    mark: Numbers
    seconds: Instants
    mark_what: Numbers
    state: Numbers
    state_what: Numbers

    @classmethod
    def empty(cls, number: int) -> Atoms:
        """Atoms at which nothing happens."""
        return cls(
            np.zeros(number),
            np.full(number, NO_STEP, np.int64),
            np.zeros(number),
            np.zeros(number, np.int64),
            np.full(number, NO_STEP, np.int64),
            np.zeros(number, np.int64),
        )

    def put(
        self,
        where: Numbers,
        at: Numbers | Instants,
        *,
        mark: int | Numbers = NO_STEP,
        seconds: float | Instants = 0.0,
        mark_what: int | Numbers = 0,
        state: int | Numbers = NO_STEP,
        state_what: int | Numbers = 0,
    ) -> None:
        """Write the atoms at some places."""
        values = at, mark, seconds, mark_what, state, state_what
        for column, value in zip(self, values, strict=True):
            column[where] = value

    def answered(self, first: Numbers, answered: Numbers) -> Atoms:
        """With the answers of the chains, whose first atoms are at ``first``.

        An answer comes before what is asked for at the same instant, and after what is returned.
        """
        chain = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(self.at))))
        limit = answered[chain]
        comes_first: Flags = self.at < limit
        comes_first |= (self.state == OUTSIDE) & (self.at == limit)
        indexes = np.arange(len(self.at))
        places = np.where(comes_first & (self.mark != StepKind.END), len(self.at), indexes)
        where = np.minimum.reduceat(places, first)
        before = where - 1
        values = (
            np.maximum(answered, self.at[before]),
            StepKind.ANSWER,
            0.0,
            0,
            self.state[before],
            self.state_what[before],
        )
        columns = zip(self, values, strict=True)
        return Atoms(*(np.insert(column, where, value) for column, value in columns))


class StepColumns(NamedTuple):
    """Steps as columns; ``first`` is where the steps of each atom begin."""

    kinds: Numbers
    seconds: Instants
    whats: Numbers
    first: Numbers


def steps_of(atoms: Atoms) -> StepColumns:
    """The steps that the atoms mean: of each its mark, then its state as long as it lasts."""
    lasted = np.append(np.diff(atoms.at), 0.0) / 1e6
    state, what = atoms.state, atoms.state_what
    is_outside = state == OUTSIDE
    is_long = lasted > LONGEST_RUN_S
    state = np.where(is_outside, np.where(is_long, StepKind.REST, StepKind.RUN), state)
    what = np.where(is_outside, np.where(is_long, AWAY, 0), what)
    state = np.where((lasted > 0) & (atoms.mark != StepKind.END), state, NO_STEP)
    kinds = np.stack((atoms.mark, state), axis=1).ravel()
    is_step = kinds != NO_STEP
    first = (np.cumsum(is_step) - is_step)[::2]
    seconds = np.stack((atoms.seconds, lasted), axis=1).ravel()
    whats = np.stack((atoms.mark_what, what), axis=1).ravel()
    return StepColumns(kinds[is_step], seconds[is_step], whats[is_step], first)


def ready_seconds(steps: Steps) -> float:
    """The seconds for which owners of connections could go on and did not."""
    kinds, whats = np.frombuffer(steps.kinds, np.uint8), np.frombuffer(steps.whats, np.int32)
    isready_seconds = (kinds == StepKind.REST) & (whats == READY)
    return float(np.frombuffer(steps.seconds, np.float64)[isready_seconds].sum())
