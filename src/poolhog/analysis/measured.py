"""A process's ledger, and how the time of each of its checkouts is split."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from poolhog.analysis.accounting import Account, total
from poolhog.analysis.ledger import OUTCOMES
from poolhog.analysis.shares import Shares
from poolhog.analysis.spans import cut, look, unlooked, worth_a_look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.spans import Cut, Fractions, Split
    from poolhog.model import Outcome

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


@dataclass(frozen=True, slots=True)
class WaitTimes:
    """How long checkouts waited: the median, the 95th percentile (nearest rank), the longest."""

    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0


class Sums(NamedTuple):
    """What some checkouts come to: seconds, microseconds that they waited, sorted, and outcomes."""

    spent: Account
    waits: Numbers
    outcomes: Mapping[Outcome, int]

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Sums:
        """Those of several parts together."""
        return cls(
            total(part.spent for part in parts),
            np.sort(np.concatenate([part.waits for part in parts])),
            sum((Counter(part.outcomes) for part in parts), Counter()),
        )


def sums_of(found: Measured, rows: Numbers) -> Sums:
    """What some rows come to; gaps without a sample are split by their sites' shares."""
    ledger, split, shares = found
    whole = [float(column[rows].sum()) for column in split]
    unsampled = split.unsampled[rows]
    parts = (float((unsampled * shares[ledger.site[rows], place]).sum()) for place in range(3))
    gaps = (own + part for own, part in zip(whole[5:8], parts, strict=True))
    counts = np.bincount(ledger.outcome[rows], minlength=len(OUTCOMES)).tolist()
    return Sums(
        Account(*(microseconds / 1e6 for microseconds in (*whole[:5], *gaps))),
        np.sort(ledger.left[rows] - ledger.asked[rows]),
        {outcome: count for outcome, count in zip(OUTCOMES, counts, strict=True) if count},
    )


def accounts_of(found: Measured, rows: Numbers) -> Iterator[Account]:
    """What each of some rows comes to; gaps without a sample are split by their sites' shares."""
    ledger, split, shares = found
    parts = split.unsampled[rows, None] * shares[ledger.site[rows]]
    columns = [column[rows] / 1e6 for column in split[:8]]
    for place in range(3):
        columns[5 + place] += parts[:, place] / 1e6
    return map(Account._make, zip(*(column.tolist() for column in columns), strict=True))


def waits_of(waits: Numbers) -> WaitTimes:
    """Of all who asked, also those who gave up or still wait; sorted microseconds."""
    if not len(waits):
        return WaitTimes()
    return WaitTimes(
        percentile(waits, 0.50) / 1e6, percentile(waits, 0.95) / 1e6, int(waits[-1]) / 1e6
    )


def percentile(values: Sequence[float] | NDArray[np.generic], share: float) -> float:
    """The smallest sorted value that so large a share does not exceed (nearest rank)."""
    return float(values[max(math.ceil(share * len(values)) - 1, 0)])


def out_of_pool(found: Measured, rows: Numbers) -> Numbers:
    """When each of some checkouts took a connection out of its pool, to have it opened or pinged.

    One that never did is over then.
    """
    ledger, split = found.ledger, found.split
    waited = ledger.left[rows] - ledger.asked[rows]
    preparing = np.minimum(split.connecting[rows] + split.pinging[rows], waited)
    began: Numbers = ledger.left[rows] - preparing
    return began


def peak_of(starts: Numbers, ends: Numbers) -> int:
    """The most half-open intervals that cover one instant; both are sorted."""
    over = np.searchsorted(ends, starts, side="right")
    return int((np.arange(1, len(starts) + 1) - over).max(initial=0))


def time_of(number: int, starts: Numbers, ends: Numbers) -> int:
    """The time in which at least so many half-open intervals cover the instant; both are sorted.

    From one end to the next the count only grows. It reaches ``number`` with the start that
    follows after so many less one, counted from as many starts as there were ends.
    """
    reached = starts[number - 1 :]
    last = np.concatenate((starts[:1], ends))[: len(reached)]
    return int(np.maximum(ends[: len(reached)] - np.maximum(last, reached), 0).sum())
