"""What is lent of one pool, while its checkouts come by in the order of their asking.

A checkout can only be judged when everybody who asked during it has come by: its owner may have
asked for another connection meanwhile, and whoever timed out wants to know who held one.
"""

from __future__ import annotations

import functools
import heapq
import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.accounting import Gap
    from poolhog.model import Checkout, Operation, Sample, Site

    Spell = tuple[float, float, Checkout | int]
    """When a checkout was over, when it was granted, and the checkout, or its number."""

MOST_INNER = 1_000
"""Checkouts that are compared with one that their owner held: a connection for LISTEN, which is
never given back, must not collect all others of its owner."""

_LEAST_KEPT = 1_000

_MOST_READ = 1_000
"""Checkouts that are remembered once they were read."""


class Lent:
    """A checkout that is judged once it is over; ``inner`` are those of its owner during it.

    ``gaps`` are its own, if they are known. It ``is_counted`` if it was taken for one in which
    nothing is to be found, before another beside it was seen.
    """

    __slots__ = ("checkout", "end", "gaps", "inner", "is_counted")

    def __init__(self, checkout: Checkout, gaps: Sequence[Gap] | None, *, is_counted: bool) -> None:
        self.checkout = checkout
        self.gaps = gaps
        self.is_counted = is_counted
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
    dictionary. It knows the last of each asker (a request, or an owner without one) in ``_last``,
    and those that were open when another was asked for in ``_before``. ``judge`` is called with
    each of the watched ones once it is over, in the order of their ends.
    """

    def __init__(
        self, began: float, judge: Callable[[Lent], None], read: Callable[[int], Checkout]
    ) -> None:
        self._began = began
        self._judge = judge
        self._read = functools.lru_cache(_MOST_READ)(read)
        self._last: dict[str, Spell] = {}
        self._before: dict[str, list[Spell]] = {}
        self._most = _LEAST_KEPT
        self._watched: dict[str, Lent] = {}
        self._ends: list[tuple[float, str]] = []
        self._judged_until = math.inf

    def take(self, checkout: Checkout) -> None:
        """The next checkout; those that its asker holds learn of it."""
        request, granted = checkout.request, checkout.granted
        self.add(
            request.id if request is not None else checkout.owner,
            self._ticks(checkout.asked),
            self._ticks(granted if granted is not None else math.inf),
            self._ticks(_end(checkout)),
            checkout,
        )

    def add(
        self, asker: str, asked: float, granted: float, end: float, checkout: Checkout | int
    ) -> None:
        """The same, if only its number is known; it is read if need be.

        Instants are in microseconds since the process began, infinite if they did not come.
        """
        if self._judged_until <= asked:
            self._judge_until(asked)
        last = self._last.get(asker)
        if last is None:
            if len(self._last) >= self._most:
                self._forget(asked)
        elif last[0] > asked or asker in self._before:
            self._add_beside(asker, last, asked, checkout)
        self._last[asker] = end, granted, checkout

    def watch(self, checkout: Checkout, gaps: Sequence[Gap] | None = None) -> None:
        """Have this one judged once all is known that happened during it."""
        self._watch(checkout, gaps, is_counted=False)

    def _watch(
        self, checkout: Checkout, gaps: Sequence[Gap] | None = None, *, is_counted: bool
    ) -> Lent:
        lent = self._watched.get(checkout.id)
        if lent is None:
            lent = self._watched[checkout.id] = Lent(checkout, gaps, is_counted=is_counted)
            heapq.heappush(self._ends, (self._ticks(lent.end), checkout.id))
            self._judged_until = self._ends[0][0]
        return lent

    def end(self) -> None:
        """There are no others: have all judged that are watched."""
        self._judge_until(math.inf)

    def at(self, instant: float) -> list[Checkout]:
        """Who had a connection at an instant of the run not before the last asking."""
        ticks = self._ticks(instant)
        return [
            self._known(spell[2])
            for spell in chain(self._last.values(), *self._before.values())
            if spell[1] <= ticks < spell[0]
        ]

    def _judge_until(self, instant: float) -> None:
        """Those that were over by then."""
        while self._ends and self._ends[0][0] <= instant:
            lent = self._watched.pop(heapq.heappop(self._ends)[1])
            self._judged_until = self._ends[0][0] if self._ends else math.inf
            self._judge(lent)

    def _add_beside(self, asker: str, last: Spell, asked: float, checkout: Checkout | int) -> None:
        still = [spell for spell in (*self._before.pop(asker, ()), last) if spell[0] > asked]
        if still:
            self._before[asker] = still
        holding = [spell for spell in still if spell[1] <= asked]
        for spell in holding:
            inner = self._watch(self._known(spell[2]), is_counted=True).inner
            if len(inner) < MOST_INNER:
                inner.append(Inner(self._known(checkout), len(holding) + 1))

    def _ticks(self, instant: float) -> float:
        """An instant of the run in the microseconds that were recorded, for these are exact."""
        since = (instant - self._began) * 1e6
        return round(since) if since < math.inf else since

    def _known(self, checkout: Checkout | int) -> Checkout:
        return self._read(checkout) if isinstance(checkout, int) else checkout

    def _forget(self, instant: float) -> None:
        """Those that were over by then; seldom enough to cost each checkout next to nothing."""
        self._last = {asker: last for asker, last in self._last.items() if last[0] > instant}
        self._most = 2 * len(self._last) + _LEAST_KEPT
        self._before = {
            asker: kept
            for asker, some in self._before.items()
            if (kept := [other for other in some if other[0] > instant])
        }


def _end(checkout: Checkout) -> float:
    end = checkout.returned if checkout.returned is not None else checkout.gave_up
    return end if end is not None else math.inf


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
    parked = [
        sample
        for sample in seen
        if sample.activity is Activity.PARKED and (sample.ended is None or sample.ended > started)
    ]
    # While those that it awaits run, or are ready, it is as well.
    return bool(parked) and all(_awaits_tasks(sample.site) for sample in parked)


def _begun(facts: Sequence[Operation] | Sequence[Sample], instant: float) -> int:
    """How many had begun before."""
    return bisect_left(facts, instant, key=attrgetter("started"))


_WAITS_FOR_TASKS = frozenset(
    ["wait", "_wait", "wait_for", "TaskGroup.__aexit__", "TaskGroup._aexit"]
)


def _awaits_tasks(site: Site | None) -> bool:
    """Whether the innermost frame awaits tasks: those of ``gather`` are awaited by its caller."""
    return site is not None and (site.is_application or site.function in _WAITS_FOR_TASKS)
