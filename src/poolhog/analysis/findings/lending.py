"""What is lent of one pool, while its checkouts come by in the order of their asking.

A checkout can only be judged when everybody who asked during it has come by: its owner may have
asked for another connection meanwhile, and whoever timed out wants to know who held one.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.model import Checkout, Operation, Sample, Site

MOST_INNER = 1_000
"""Checkouts that are compared with one that their owner held: a connection for LISTEN, which is
never given back, must not collect all others of its owner."""

_LEAST_KEPT = 1_000


class Lent:
    """A checkout that is judged once it is over; ``inner`` are those of its owner during it."""

    __slots__ = ("checkout", "end", "inner")

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self.end = _end(checkout)
        self.inner: list[Inner] = []


@dataclass(frozen=True, slots=True)
class Inner:
    """A checkout that was asked for while its owner held others; it was the ``depth``-th."""

    checkout: Checkout
    depth: int

    @property
    def end(self) -> float:
        """When it was over, infinite if it is not."""
        return _end(self.checkout)


class Lending:
    """The checkouts of one pool that are not over at the point that has been reached.

    Most are neither watched nor have others beside them: for these it costs a look into a
    dictionary. It knows the last of each owner in ``_last``, and those that were open when another
    was asked for in ``_before``.
    """

    def __init__(self) -> None:
        self.judged_until = math.inf
        self._last: dict[str, tuple[float, Checkout]] = {}
        self._before: dict[str, list[tuple[float, Checkout]]] = {}
        self._most = _LEAST_KEPT
        self._watched: dict[str, Lent] = {}
        self._ends: list[tuple[float, str]] = []

    def add(self, checkout: Checkout) -> None:
        """The next checkout; those that its owner holds learn of it."""
        request = checkout.request
        key = request.id if request is not None else checkout.owner
        last = self._last.get(key)
        if last is None:
            if len(self._last) >= self._most:
                self._forget(checkout.asked)
        elif last[0] > checkout.asked or key in self._before:
            self._add_beside(key, last, checkout)
        self._last[key] = _end(checkout), checkout

    def watch(self, checkout: Checkout) -> Lent:
        """Hand this one out once all is known that happened during it."""
        lent = self._watched.get(checkout.id)
        if lent is None:
            lent = self._watched[checkout.id] = Lent(checkout)
            heapq.heappush(self._ends, (lent.end, checkout.id))
            self.judged_until = self._ends[0][0]
        return lent

    def over(self, instant: float) -> Iterator[Lent]:
        """The watched ones that were over by then, in the order of their ends."""
        while self._ends and self._ends[0][0] <= instant:
            lent = self._watched.pop(heapq.heappop(self._ends)[1])
            self.judged_until = self._ends[0][0] if self._ends else math.inf
            yield lent

    def at(self, instant: float) -> list[Checkout]:
        """Who had a connection at an instant not before the last asking."""
        return [
            checkout
            for some in (self._last.values(), *self._before.values())
            for end, checkout in some
            if end > instant and _is_granted(checkout, instant)
        ]

    def _add_beside(self, key: str, last: tuple[float, Checkout], checkout: Checkout) -> None:
        asked = checkout.asked
        still = [other for other in (*self._before.pop(key, ()), last) if other[0] > asked]
        if still:
            self._before[key] = still
        holding = [other for _, other in still if _is_granted(other, asked)]
        for outer in holding:
            inner = self.watch(outer).inner
            if len(inner) < MOST_INNER:
                inner.append(Inner(checkout, len(holding) + 1))

    def _forget(self, instant: float) -> None:
        """Those that were over by then; seldom enough to cost each checkout next to nothing."""
        self._last = {key: last for key, last in self._last.items() if last[0] > instant}
        self._most = 2 * len(self._last) + _LEAST_KEPT
        self._before = {
            key: kept
            for key, some in self._before.items()
            if (kept := [other for other in some if other[0] > instant])
        }


def _end(checkout: Checkout) -> float:
    end = checkout.returned if checkout.returned is not None else checkout.gave_up
    return end if end is not None else math.inf


def _is_granted(checkout: Checkout, instant: float) -> bool:
    return checkout.granted is not None and checkout.granted <= instant


def is_nested(outer: Checkout, inner: Inner, until: float) -> bool:
    """Whether an owner that holds one connection cannot go on before it gets another.

    The same owner in the same request cannot. Siblings that run at the same time in one request
    can, so of two owners the outer one must be seen waiting for the other; and of work without a
    request only a name is known, which may be that of several threads.
    """
    other = inner.checkout
    if outer.request is not None and outer.owner == other.owner:
        return True
    started, ended = other.asked, min(inner.end, until)
    if (outer.returned if outer.returned is not None else until) < ended:
        return False
    if _begun(outer.operations, started) < _begun(outer.operations, ended):
        return False
    if outer.owner == other.owner:
        return True
    first = max(_begun(outer.samples, started) - 1, 0)
    seen = outer.samples[first : _begun(outer.samples, ended)]
    seen = [sample for sample in seen if sample.ended is None or sample.ended > started]
    return bool(seen) and all(
        sample.activity is Activity.PARKED and _awaits_tasks(sample.site) for sample in seen
    )


def _begun(facts: Sequence[Operation] | Sequence[Sample], instant: float) -> int:
    """How many had begun before."""
    return bisect_left(facts, instant, key=attrgetter("started"))


_WAITS_FOR_TASKS = frozenset(
    ["wait", "_wait", "wait_for", "TaskGroup.__aexit__", "TaskGroup._aexit"]
)


def _awaits_tasks(site: Site | None) -> bool:
    """Whether the innermost frame awaits tasks: those of ``gather`` are awaited by its caller."""
    return site is not None and (site.is_application or site.function in _WAITS_FOR_TASKS)
