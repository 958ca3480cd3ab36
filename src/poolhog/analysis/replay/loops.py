"""Loops of workers: threads and tasks of which each begins its next work when one has ended.

A pool of threads, and tasks behind a semaphore, work off what there is: if the work takes half as
long, twice as much is begun. It looks so in a trace: work begins just after other work of the same
route has ended, and nearly as many are under way as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.replay.workload import Loop
from poolhog.analysis.throughput import follows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.replay.workload import Groups


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
