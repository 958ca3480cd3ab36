"""Writes the steps of many chains at once, as arrays.

A chain is given as atoms: instants at which its state changes, or at which it does something that
takes no time (a mark). A state lasts up to the next atom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.replay.steps import AWAY, LONGEST_RUN_S, StepKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Flags, Numbers

    Instants = NDArray[np.float64]

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
        places = np.where(comes_first & (self.mark != StepKind.END), len(self.at), _indexes(self))
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


def _indexes(atoms: Atoms) -> Numbers:
    return np.arange(len(atoms.at))


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
