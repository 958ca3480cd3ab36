"""Checkouts made by hand as views take them: with their spans, or as the rows of ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.measured import measured
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.occupancy import Occupancy, occupancy_of
from poolhog.analysis.shown import Shown, shown_of
from poolhog.analysis.timeline import Timeline, build_timeline
from poolhog.model import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from poolhog.model import Checkout, Pool, Request


def _whole_trace(checkouts: Iterable[Checkout]) -> Trace:
    """A trace of these checkouts, and of nothing else."""
    every = tuple(checkouts)
    pools = {checkout.pool.id: checkout.pool for checkout in every}
    processes = {id(pool.process): pool.process for pool in pools.values()}
    requests = {c.request.id: c.request for c in every if c.request is not None}
    until = max((process.written for process in processes.values()), default=0.0)
    return Trace(
        tuple(processes.values()), tuple(pools.values()), tuple(requests.values()), every, until
    )


def with_spans(*checkouts: Checkout) -> list[Shown]:
    """The checkouts with their spans, in the order that they are given in."""
    found = shown_of(_whole_trace(checkouts))
    return [found[checkout.id] for checkout in checkouts]


def timeline_of(
    checkouts: Iterable[Checkout],
    requests: Iterable[Request],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    labels: Callable[[Request | None, str], str] | None = None,
) -> Timeline:
    """The timeline of some checkouts."""
    return build_timeline(
        with_spans(*checkouts), requests, pools, started=started, ended=ended, labels=labels
    )


def occupancy_in(
    checkouts: Sequence[Checkout],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    bins: int,
) -> Occupancy:
    """The occupancy by some checkouts, with gaps split by the samples of all of them."""
    ledgers = [(measured(one), np.arange(len(one))) for one in ledgers_of(_whole_trace(checkouts))]
    return occupancy_of(ledgers, pools, started=started, ended=ended, bins=bins)
