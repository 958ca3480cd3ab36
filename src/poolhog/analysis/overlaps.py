"""Checkouts that were asked for while their asker held another connection of the pool."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.ledger import NEVER
from poolhog.analysis.spans import running_maximum
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.analysis.ledger import Ledger
    from poolhog.model import Checkout, Operation, Sample, Site

MOST_INNER = 1_000
"""Checkouts compared with one that their asker held: a connection for LISTEN, which is never given
back, must not collect all others of its owner."""


class Inner(NamedTuple):
    """The row of a checkout that was asked for while its asker held others: it had ``depth``."""

    row: int
    depth: int


def overlaps(ledger: Ledger) -> Mapping[int, Sequence[Inner]]:
    """By the row of the one that was held, those that its asker asked for meanwhile."""
    end = np.where(ledger.is_closed, ledger.over, NEVER)
    order = np.lexsort((ledger.asker, ledger.pool))
    group = ledger.pool[order] * (int(ledger.asker.max(initial=0)) + 1) + ledger.asker[order]
    latest = running_maximum(group, end[order])
    is_beside = (group[1:] == group[:-1]) & (latest[:-1] > ledger.asked[order][1:])
    found: dict[int, list[Inner]] = {}
    for one in np.unique(group[1:][is_beside]).tolist():
        first, last = np.searchsorted(group, (one, one + 1))
        held: list[int] = []
        for row in order[first:last].tolist():
            asked = ledger.asked[row]
            held = [other for other in held if end[other] > asked]
            holding = [r for r in held if ledger.is_granted[r] and ledger.left[r] <= asked]
            for outer in holding:
                inner = found.setdefault(outer, [])
                if len(inner) < MOST_INNER:
                    inner.append(Inner(row, len(holding) + 1))
            held.append(row)
    return found


def is_nested(outer: Checkout, inner: Checkout, until: float) -> bool:
    """Whether an owner that holds one connection cannot go on before it gets another.

    The same owner in the same request cannot. Siblings that run at the same time in one request
    can, so of two owners the outer one must be seen waiting for the other; and of work without a
    request only a name is known, which may be that of several threads.
    """
    if outer.request is not None and outer.owner == inner.owner:
        return True
    started, ended = inner.asked, min(end_or(inner, until), until)
    if end_or(outer, until) < ended:
        return False
    if _begun(outer.operations, started) < _begun(outer.operations, ended):
        return False
    if outer.owner == inner.owner:
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


def end_or(checkout: Checkout, until: float) -> float:
    """When the checkout was over, or another instant if it is not."""
    end = checkout.returned if checkout.returned is not None else checkout.gave_up
    return end if end is not None else until


def _begun(facts: Sequence[Operation] | Sequence[Sample], instant: float) -> int:
    """The number of facts that had begun before an instant."""
    return bisect_left(facts, instant, key=attrgetter("started"))


_WAITS_FOR_TASKS = frozenset(
    ["wait", "_wait", "wait_for", "TaskGroup.__aexit__", "TaskGroup._aexit"]
)


def _awaits_tasks(site: Site | None) -> bool:
    """Whether the innermost frame awaits tasks: those of ``gather`` are awaited by its caller."""
    return site is not None and (site.is_application or site.function in _WAITS_FOR_TASKS)
