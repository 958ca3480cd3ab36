"""Checkouts by whose chain they are part of: a request's, or an owner's that has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import NEVER
from poolhog.analysis.spans import running_maximum

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Flags, Ledger, Numbers

MOST_OF_OWNER = 1_000
"""Checkouts of an owner without a request that are one chain; the next ones are another."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The checkouts of each request, and of each owner without one, by their first asking.

    ``number`` is the group of each of ``rows``, which begin at ``first``. Of each group are
    whether it ``is_request``, its instants, and whether its checkouts overlap or it is not whole,
    so that it is looked at as objects. What has not come is ``NEVER``.
    """

    rows: Numbers
    number: Numbers
    first: Numbers
    is_request: Flags
    is_whole: Flags
    is_single: Flags
    started: Numbers
    answered: Numbers
    ended: Numbers
    over: Numbers

    def __len__(self) -> int:
        return len(self.first)

    def rows_of(self, group: int) -> Numbers:
        """The rows of a group."""
        return self.rows[self.first[group] : self.end_of(group)]

    def end_of(self, group: int) -> int:
        """The index behind its last row."""
        following = group + 1
        return int(self.first[following]) if following < len(self.first) else len(self.rows)


def grouped(ledger: Ledger, rows: Numbers) -> Groups:
    """The groups of some rows, at least one."""
    asker = ledger.asker[rows]
    order = np.argsort(asker, kind="stable")
    rows, asker = rows[order], asker[order]
    requests = ledger.requests
    is_first = np.append([True], asker[1:] != asker[:-1])
    place = np.arange(len(rows))
    place -= np.maximum.accumulate(np.where(is_first, place, 0))
    is_first |= (asker >= len(requests.number)) & (place % MOST_OF_OWNER == 0)
    rank = np.empty(int(is_first.sum()), np.int64)
    goes_on = _goes_on(ledger, rows, np.flatnonzero(is_first), asker[is_first])
    rank[np.lexsort((rows[is_first], goes_on))] = np.arange(len(rank))
    number = rank[np.cumsum(is_first) - 1]
    order = np.argsort(number, kind="stable")
    rows, number, asker = rows[order], number[order], asker[order]
    first = np.searchsorted(number, np.arange(len(rank)))
    asker = asker[first]
    over = np.maximum.reduceat(ledger.over[rows], first)
    asked = ledger.asked[rows[first]]
    is_request = asker < len(requests.number)
    of_request = asker[is_request]
    started, answered, ended = asked.copy(), over.copy(), over.copy()
    started[is_request] = np.minimum(requests.started[of_request], asked[is_request])
    ended[is_request] = requests.ended[of_request]
    responded = requests.responded[of_request]
    answered[is_request] = np.where(responded < NEVER, responded, requests.ended[of_request])
    before = np.append([0], running_maximum(number, ledger.over[rows])[:-1])
    overlaps = ledger.asked[rows] < before
    overlaps[first] = False
    is_open = ~ledger.is_closed[rows]
    is_single = ~np.logical_or.reduceat(overlaps | is_open, first) & (ended < NEVER)
    lent = ledger.is_granted[rows] & ledger.is_returned[rows]
    is_whole = ~is_request | np.logical_and.reduceat(lent, first) & (ended < NEVER)
    return Groups(
        rows, number, first, is_request, is_whole, is_single, started, answered, ended, over
    )


def _goes_on(ledger: Ledger, rows: Numbers, first: Numbers, asker: Numbers) -> Flags:
    """Which groups were not over when a connection was asked for last.

    They come behind the others: those of them that did not end go on as the latest that did.
    """
    over = np.maximum.reduceat(ledger.over[rows], first)
    is_request = asker < len(ledger.requests.number)
    ended = np.full(len(first), NEVER)
    ended[is_request] = ledger.requests.ended[asker[is_request]]
    found: Flags = np.maximum(over, ended) >= ledger.asked[rows].max()
    return found
