"""Checkouts in the order of their grants, and of each connection one after the other.

They are pushed in the order of their asking, and no more are kept back than wait at once.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.model import Checkout


class Grants:
    """Hands checkouts out in the order of their grants; those without a connection never."""

    def __init__(self) -> None:
        self._granted: list[tuple[float, int, Checkout]] = []
        self._number = 0

    def push(self, checkout: Checkout, before: float = math.inf) -> Iterator[Checkout]:
        """Add one that may have been granted before then; those that come first now."""
        while self._granted and self._granted[0][0] <= checkout.asked:
            yield heappop(self._granted)[2]
        if checkout.granted is not None and checkout.granted < before:
            self._number += 1
            heappush(self._granted, (checkout.granted, self._number, checkout))

    def rest(self) -> Iterator[Checkout]:
        """All that were kept back."""
        while self._granted:
            yield heappop(self._granted)[2]


class Use(NamedTuple):
    """A checkout on its connection, up to its return or the next use of the connection."""

    checkout: Checkout
    started: float
    ended: float


class Uses:
    """The uses of a process's connections: those of one follow one another, in order.

    A connection is lent once at a time. The next checkout may be stamped a moment before the last
    one's return, when the return is what woke it: then the earlier use ends there.
    """

    def __init__(self) -> None:
        self._grants = Grants()
        self._last: dict[tuple[str, int | None], Use] = {}

    def push(self, checkout: Checkout) -> Iterator[Use]:
        """Add a checkout; the uses of which the end is known now."""
        for granted in self._grants.push(checkout):
            yield from self._follow(granted)

    def rest(self) -> Iterator[Use]:
        """All that were kept back."""
        for granted in self._grants.rest():
            yield from self._follow(granted)
        yield from self._last.values()
        self._last.clear()

    def _follow(self, checkout: Checkout) -> Iterator[Use]:
        connection = checkout.pool.id, checkout.connection
        started = checkout.granted if checkout.granted is not None else checkout.asked
        last = self._last.get(connection)
        if last is not None:
            yield last._replace(ended=min(last.ended, started))
        ended = end_of(checkout, checkout.pool.process.written)
        self._last[connection] = Use(checkout, started, ended)
