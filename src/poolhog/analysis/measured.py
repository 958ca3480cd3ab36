"""A process's ledger, and how the time of each of its checkouts is split."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from poolhog.analysis.spans import Shares, cut, look, unlooked, worth_a_look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.spans import Cut, Fractions, Split

_AT_ONCE = 50_000
"""Checkouts that are cut into spans at once."""


@runtime_checkable
class Viewer(Protocol):
    """Whoever wants to see all checkouts of a process, cut into spans."""

    def see(self, found: Measured, rows: Numbers, parts: Cut) -> None:
        """Look at some rows of the process; all of them come by, part by part."""


class Measured(NamedTuple):
    """A ledger, the split of its checkouts, and how gaps without a sample are shared, by site."""

    ledger: Ledger
    split: Split
    shares: Fractions


def measured(
    ledger: Ledger,
    wanted: Numbers | None = None,
    see: Callable[[Numbers, Cut, Split], None] | None = None,
    viewers: Sequence[Viewer] = (),
) -> Measured:
    """Cut the rows that are worth a look, or are wanted, and show them to ``see``, if there is one.

    ``viewers`` are shown all rows, when the shares are known.
    """
    split, shares = unlooked(ledger), Shares(ledger)
    rows = worth_a_look(ledger)
    if wanted is not None:
        rows = np.union1d(rows, wanted)
    for part in parts_of(rows):
        found = cut(ledger, part)
        look(ledger, split, found, part)
        shares.learn(ledger, found)
        if see is not None:
            see(part, found, split)
    measure = Measured(ledger, split, shares.of_sites)
    for part in parts_of(np.arange(len(ledger))) if viewers else ():
        found = cut(ledger, part)
        for viewer in viewers:
            viewer.see(measure, part, found)
    return measure


def parts_of(rows: Numbers) -> Iterator[Numbers]:
    """Some rows, in parts that are cut at once."""
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]
