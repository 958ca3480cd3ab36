"""Answers that need no simulation: what formulas say of a workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis import queueing
from poolhog.analysis.replay.prediction import capacity_of, requests_of
from poolhog.analysis.replay.steps import Kind
from poolhog.analysis.replay.terms import AS_IT_WAS

if TYPE_CHECKING:
    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.terms import WhatIf
    from poolhog.analysis.replay.workload import Workload

SHARE = 0.95
"""The share of checkouts that is to wait no longer than the target."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the formulas are asked.

    ``wait`` is how long 95 % of checkouts may wait, in seconds; ``max_connections`` what the server
    allows to so many ``hosts``.
    """

    wait: float = 0.05
    hosts: int = 1
    max_connections: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What formulas say of a run, recorded or predicted.

    ``ceiling`` is the most checkouts per second that ``connections`` of a ``mean_use`` can serve,
    ``ceiling_requests`` the requests that these are, both ``None`` for pools without a limit.
    ``smallest`` is the fewest connections with which 95 % of checkouts wait no longer than
    ``wait``. ``depth`` is how many connections one request held or awaited at once at the most,
    ``concurrent`` how many requests there were at once, and ``floor`` the fewest connections with
    which these cannot wait for each other (``None``: no request needs two). ``total`` is what the
    server may be asked for by all workers of all hosts.
    """

    connections: int | None
    checkouts_per_s: float
    mean_use: float
    ceiling: float | None
    ceiling_requests: float | None
    wait: float
    smallest: int | None
    depth: int
    concurrent: int
    floor: int | None
    total: int | None
    hosts: int
    max_connections: int | None


def answers(
    workload: Workload, performance: Performance, question: Question, terms: WhatIf = AS_IT_WAS
) -> Answers:
    """The answers for a workload that came to this under these terms."""
    connections = capacity_of(workload, terms)
    each = performance.checkouts_each
    ceiling = None
    if connections is not None and performance.mean_use:
        ceiling = queueing.ceiling(connections, performance.mean_use)
    depth = _depth(workload.steps)
    concurrent = terms.users or _concurrent(workload)
    return Answers(
        connections=connections,
        checkouts_per_s=performance.checkouts_per_s,
        mean_use=performance.mean_use,
        ceiling=ceiling,
        ceiling_requests=ceiling / each if ceiling is not None and each else None,
        wait=question.wait,
        smallest=queueing.smallest_pool(
            performance.checkouts_per_s, performance.mean_use, question.wait, SHARE
        ),
        depth=depth,
        concurrent=concurrent,
        floor=queueing.deadlock_floor(concurrent, depth) if depth > 1 else None,
        total=None
        if connections is None
        else queueing.connections_in_total(connections, 1, question.hosts),
        hosts=question.hosts,
        max_connections=question.max_connections,
    )


def _depth(steps: Steps) -> int:
    """The most connections of one pool that a chain held or awaited at once."""
    asked = steps.kinds.translate(None, delete=_NOT_ASKING)
    if bytes([Kind.ASK, Kind.ASK]) not in asked:
        return 1  # as nearly always
    depth = 0
    held: dict[int, int] = {}
    for kind, what in zip(steps.kinds, steps.whats, strict=True):
        if kind == Kind.ASK:
            held[what] = held.get(what, 0) + 1
            depth = max(depth, held[what])
        elif kind == Kind.RETURN:
            held[what] = held.get(what, 1) - 1
        elif kind == Kind.END:
            held.clear()
    return depth


_NOT_ASKING = bytes(kind for kind in Kind if kind not in (Kind.ASK, Kind.RETURN, Kind.END))


def _concurrent(workload: Workload) -> int:
    """The most requests at once."""
    changes = [(at, 1) for at in requests_of(workload)]
    changes += [(at, -1) for at in workload.recorded.answered]
    under_way = most = 0
    for _, change in sorted(changes):
        under_way += change
        most = max(most, under_way)
    return most
