"""Loops of workers: threads and tasks of which each begins its next work when one has ended.

A pool of threads, and tasks behind a semaphore, work off what there is: if the work takes half as
long, twice as much is begun. It looks so in a trace: work begins just after other work of the same
route has ended, and nearly as many are under way as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.replay.workload import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.replay.workload import Groups

LEAST_PAUSE_US = 5_000

PAUSE = 0.1
"""Within this time of an end, or this part of what work takes, begins what follows from it."""

APART = 0.5
"""The part of the mean time between ends that what follows may take at most."""

_NEARLY_ALL = 0.8
_MOSTLY = 0.75
_LEAST = 3


def loops_of(ledger: Ledger, groups: Groups, numbers: Numbers) -> Iterator[Loop]:
    """The loops among groups without a request; ``numbers`` are those of their chains."""
    others = np.flatnonzero(~groups.is_request)
    route = ledger.route[groups.rows[groups.first[others]]]
    for one in np.unique(route).tolist():
        own = others[route == one]
        own = own[np.argsort(groups.started[own], kind="stable")]
        found = follows(groups.started[own], groups.ended[own])
        if found is not None:
            is_next, pauses = found
            members, queue = numbers[own].tolist(), numbers[own[is_next]].tolist()
            yield Loop(tuple(members), tuple(queue), tuple((pauses / 1e6).tolist()))


def follows(started: Numbers, ended: Numbers) -> tuple[Flags, Numbers] | None:
    """Which work followed from the end of other work, and after which pauses; in order.

    ``started`` is in order, ``ended`` belongs to it. ``None`` if work was not begun so.
    """
    number = len(started)
    ends = np.sort(ended)
    # An end comes before a start at the same instant: whoever ends may begin the next.
    under_way = np.arange(1, number + 1) - np.searchsorted(ends, started, "right")
    most = int(under_way.max(initial=0))
    if number - most < _LEAST:
        return None
    longest = max(LEAST_PAUSE_US, PAUSE * float(np.median(ended - started)))
    # Where ends are that close, one of them is just before any start.
    longest = min(longest, APART * float(ends[-1] - ends[0]) / number)
    is_next, pauses = np.zeros(number, bool), []
    free: list[int] = []
    at = 0
    for index, began in enumerate(started.tolist()):
        while at < number and ends[at] <= began:
            free.append(int(ends[at]))
            at += 1
        while free and free[0] < began - longest:
            del free[0]
        if free:
            is_next[index] = True
            pauses.append(began - free.pop(0))
    later = np.arange(number) >= most
    if is_next.sum() < max(_LEAST, _NEARLY_ALL * (number - most)):
        return None
    if under_way[later].mean() < _MOSTLY * most:
        return None
    return is_next, np.array(pauses, np.int64)
