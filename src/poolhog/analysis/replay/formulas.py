"""Answers that need no simulation: formulas, with their assumptions and sources.

Rates are per second, durations seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.replay.prediction import answers_of, capacity_of
from poolhog.analysis.replay.steps import StepKind
from poolhog.analysis.replay.whatif import AS_IT_WAS

if TYPE_CHECKING:
    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.analysis.replay.workload import Workload

MOST_CONNECTIONS = 100_000
"""Beyond this no smallest pool is looked for."""

SHARE = 0.95
"""The share of checkouts that is to wait no longer than the target."""


@dataclass(frozen=True, slots=True)
class FormulaTarget:
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
    workload: Workload, performance: Performance, question: FormulaTarget, terms: WhatIf = AS_IT_WAS
) -> Answers:
    """The answers for a workload that came to this under these terms."""
    connections = capacity_of(workload, terms)
    each = performance.checkouts_each
    ceiling = None
    if connections is not None and performance.mean_use:
        ceiling = most_checkouts(connections, performance.mean_use)
    depth = _depth(workload.steps)
    concurrent = terms.users or _concurrent(workload)
    return Answers(
        connections=connections,
        checkouts_per_s=performance.checkouts_per_s,
        mean_use=performance.mean_use,
        ceiling=ceiling,
        ceiling_requests=ceiling / each if ceiling is not None and each else None,
        wait=question.wait,
        smallest=smallest_pool(
            performance.checkouts_per_s, performance.mean_use, question.wait, SHARE
        ),
        depth=depth,
        concurrent=concurrent,
        floor=deadlock_floor(concurrent, depth) if depth > 1 else None,
        total=None if connections is None else connections_in_total(connections, 1, question.hosts),
        hosts=question.hosts,
        max_connections=question.max_connections,
    )


def _depth(steps: Steps) -> int:
    """The most connections of one pool that a chain held or awaited at once."""
    asked = steps.kinds.translate(None, delete=_NOT_ASKING)
    if bytes([StepKind.ASK, StepKind.ASK]) not in asked:
        return 1  # as nearly always
    depth = 0
    held: dict[int, int] = {}
    otherwise: dict[int, dict[int, int]] = {}
    latest = 0
    for index, what in enumerate(steps.whats):
        kind = steps.kinds[index]
        if index in otherwise:
            held = otherwise.pop(index)
        if kind == StepKind.ASK:
            latest = what
            held[what] = held.get(what, 0) + 1
            depth = max(depth, held[what])
        elif kind == StepKind.RETURN:
            held[what] = held.get(what, 1) - 1
        elif kind == StepKind.MISS:
            held[latest] -= 1
        elif kind == StepKind.ELSE:
            otherwise[index + what] = dict(held)
        elif kind == StepKind.END:
            held.clear()
    return depth


_ASKING = StepKind.ASK, StepKind.RETURN, StepKind.MISS, StepKind.END
_NOT_ASKING = bytes(kind for kind in StepKind if kind not in _ASKING)


def _concurrent(workload: Workload) -> int:
    """The most requests at once."""
    return int(answers_of(workload).under_way()[1].max(initial=0))


def erlang_b(servers: int, offered: float) -> float:
    """The share of arrivals that find all servers taken, where these go away.

    ``offered`` is the arrival rate times the mean use. By 1/B(n) = 1 + n/a · 1/B(n-1), which is
    stable (Jagerman, "Some properties of the Erlang loss function", 1974).
    """
    inverse = 1.0
    for number in range(1, servers + 1):
        inverse = 1.0 + inverse * number / offered if offered else math.inf
    return 1.0 / inverse


def waits_longer(servers: int, rate: float, use: float, seconds: float) -> float:
    """The share of arrivals that wait longer: P(W > t) = C·exp(-(c/use - rate)·t).

    First come, first served: C is Erlang's probability of waiting at all ("Solution of some
    problems in the theory of probabilities", 1917). Arrivals are Poisson, uses exponential.
    """
    if rate * use >= servers:
        return 1.0
    return _longer(erlang_b(servers, rate * use), servers, rate, use, seconds)


def _longer(lost: float, servers: int, rate: float, use: float, seconds: float) -> float:
    return _delayed(lost, servers, rate * use) * math.exp(-(servers / use - rate) * seconds)


def _delayed(lost: float, servers: int, offered: float) -> float:
    """Erlang C of Erlang B."""
    return servers * lost / (servers - offered * (1.0 - lost))


def smallest_pool(rate: float, use: float, wait: float, share: float = 0.95) -> int | None:
    """The fewest connections with which so large a share of checkouts waits no longer.

    ``None`` if more than ``MOST_CONNECTIONS`` would be needed.
    """
    if rate <= 0 or use <= 0:
        return 1
    offered = rate * use
    inverse = 1.0
    for servers in range(1, MOST_CONNECTIONS + 1):
        inverse = 1.0 + inverse * servers / offered
        if servers > offered and _longer(1.0 / inverse, servers, rate, use, wait) <= 1.0 - share:
            return servers
    return None


def most_checkouts(connections: int, use: float) -> float:
    """The most checkouts per second that a pool can serve: connections divided by the mean use."""
    return connections / use if use > 0 else math.inf


def deadlock_floor(requests: int, connections_each: int) -> int:
    """The fewest connections with which so many requests cannot wait for each other for ever.

    Each needs so many connections at once: requests x (each - 1) + 1, as HikariCP's page "About
    Pool Sizing" has it.
    """
    return requests * (connections_each - 1) + 1


def connections_in_total(connections: int, workers: int, hosts: int) -> int:
    """How many connections the server may be asked for: each worker of each host has a pool."""
    return connections * workers * hosts
