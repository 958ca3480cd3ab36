"""What is kept of checkouts to report them: their seconds added up, their waits, their instants.

Instants are in microseconds since the process began, as they were recorded: of two intervals that
meet, none overlaps the other by a rounding error.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from itertools import chain, islice
from operator import sub
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poolhog.analysis.accounting import Account, Told, end_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.analysis.accounting import Share
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Process

Number = TypeVar("Number", int, float)


class Cell:
    """The checkouts of one pool and route that were asked for at one site."""

    __slots__ = ("_outcomes", "_told", "asked", "ended", "granted", "refused", "returned")

    def __init__(self) -> None:
        self._told = array("d")
        self._outcomes: Counter[Outcome] = Counter()
        # Of those that got a connection, and of those that got none, yet or at all.
        self.asked = array("q")
        self.granted = array("q")
        self.returned = array("q")
        self.refused = array("q")
        self.ended = array("q")

    def add(self, checkout: Checkout, told: Told, process: Process) -> None:
        """Add a checkout, and how it spent its seconds."""
        self._told.extend(told)
        self._outcomes[checkout.outcome] += 1
        asked = since(process, checkout.asked)
        end = since(process, end_of(checkout, process.written))
        if checkout.granted is None:
            self.refused.append(asked)
            self.ended.append(end)
        else:
            self.asked.append(asked)
            self.granted.append(since(process, checkout.granted))
            self.returned.append(end)

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Add quiet checkouts, and how they spent their seconds."""
        self._told.extend(told)
        self._outcomes[Outcome.RETURNED] += len(quiet)
        self.asked.extend(quiet.asked)
        self.granted.extend(quiet.granted)
        self.returned.extend(quiet.returned)

    def counted(self, share: Share) -> Counted:
        """What they come to, if what they do not tell is split so."""
        columns = len(Told._fields)
        told = Told(*(math.fsum(self._told[column::columns]) for column in range(columns)))
        lent, refused = map(sub, self.granted, self.asked), map(sub, self.ended, self.refused)
        return Counted(told.shared(share), sorted(chain(lent, refused)), self._outcomes)


class Counted(NamedTuple):
    """What some checkouts come to: seconds, microseconds that they waited, sorted, and ends."""

    spent: Account
    waits: Sequence[int]
    outcomes: Counter[Outcome]


def joined(parts: Sequence[Counted]) -> Counted:
    """What they come to together."""
    return Counted(
        total(part.spent for part in parts),
        sorted(chain.from_iterable(part.waits for part in parts)),
        sum((part.outcomes for part in parts), Counter()),
    )


def total(accounts: Iterable[Account]) -> Account:
    """Their sum."""
    return Account(*map(math.fsum, zip(NOTHING, *accounts, strict=True)))


NOTHING = Account(*[0.0] * len(Account._fields))


def percentile(values: Sequence[Number], share: float) -> Number:
    """Of sorted values, the smallest that so large a share of them does not exceed."""
    return values[max(math.ceil(share * len(values)) - 1, 0)]


def peak_of(starts: Sequence[int], ends: Sequence[int]) -> int:
    """How many half-open intervals cover one instant at the most; both are sorted."""
    peak = 0
    for ended, end in enumerate(ends):
        # When this many are over, that many have begun.
        while ended + peak < len(starts) and starts[ended + peak] < end:
            peak += 1
    return peak


def time_of(number: int, starts: Sequence[int], ends: Sequence[int]) -> int:
    """How long so many half-open intervals or more cover the instant; both are sorted.

    From one end to the next the count only grows. It reaches ``number`` with the start that
    follows after so many less one, counted from as many starts as there were ends.
    """
    before = chain(starts[:1], ends)
    reached = islice(starts, number - 1, None)
    return sum(
        end - max(last, start)
        for end, last, start in zip(ends, before, reached, strict=False)
        if last < end and start < end
    )


def since(process: Process, instant: float) -> int:
    """Microseconds from the process's beginning to an instant of the run's clock."""
    return in_microseconds(instant - process.began)


def in_microseconds(seconds: float) -> int:
    """The same duration as it was recorded."""
    return round(seconds * 1e6)
