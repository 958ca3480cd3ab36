"""Answers about a pool that need no simulation: formulas, with their assumptions and sources.

Rates are per second, durations seconds.
"""

from __future__ import annotations

import math

MOST_CONNECTIONS = 100_000
"""Beyond this no smallest pool is looked for."""


def erlang_b(servers: int, offered: float) -> float:
    """The share of arrivals that find all servers taken, where these go away.

    ``offered`` is the arrival rate times the mean use. By 1/B(n) = 1 + n/a · 1/B(n-1), which is
    stable (Jagerman, "Some properties of the Erlang loss function", 1974).
    """
    inverse = 1.0
    for number in range(1, servers + 1):
        inverse = 1.0 + inverse * number / offered if offered else math.inf
    return 1.0 / inverse


def erlang_c(servers: int, offered: float) -> float:
    """The share of arrivals that have to wait for a server: 1 if there is more work than servers.

    C = c·B / (c - a·(1 - B)) (Erlang, "Solution of some problems in the theory of probabilities",
    1917). Arrivals are random (Poisson) and uses exponential, for any number of servers.
    """
    if offered >= servers:
        return 1.0
    return _delayed(erlang_b(servers, offered), servers, offered)


def waits_longer(servers: int, rate: float, use: float, seconds: float) -> float:
    """The share of arrivals that wait longer: P(W > t) = C·exp(-(c/use - rate)·t).

    First come, first served, with the assumptions of ``erlang_c``.
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


def ceiling(connections: int, use: float) -> float:
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
