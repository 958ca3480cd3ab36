"""A process's ledger, and how the time of each of its checkouts is split."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.spans import Shares, cut, look, unlooked, worth_a_look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.report import Companion
    from poolhog.analysis.spans import Cut, Fractions, Split

_AT_ONCE = 50_000
"""Checkouts that are cut into spans at once."""


class Measured(NamedTuple):
    """A ledger, the split of its checkouts, and how gaps without a sample are shared, by site."""

    ledger: Ledger
    split: Split
    shares: Fractions


def measured(
    ledger: Ledger,
    wanted: Numbers,
    see: Callable[[Numbers, Cut, Split], None],
    companions: Sequence[Companion] = (),
) -> Measured:
    """Cut the rows that are worth a look, or are wanted, and show them to ``see``.

    ``companions`` are shown all rows, when the shares are known.
    """
    split, shares = unlooked(ledger), Shares(ledger)
    rows = np.union1d(worth_a_look(ledger), wanted)
    for part in _parts(rows):
        found = cut(ledger, part)
        look(ledger, split, found, part)
        shares.learn(ledger, found)
        see(part, found, split)
    measure = Measured(ledger, split, shares.of_sites)
    for part in _parts(np.arange(len(ledger))) if companions else ():
        found = cut(ledger, part)
        for companion in companions:
            companion.see(measure, part, found)
    return measure


def _parts(rows: Numbers) -> Iterator[Numbers]:
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]
