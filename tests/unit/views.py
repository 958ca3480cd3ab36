"""Checkouts made by hand as views take them: with their spans, or as the rows of ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import transactions
from poolhog.analysis.measured import measured
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.occupancy import Occupancy, occupancy_of
from poolhog.analysis.shown import Shown, joined, shown_of
from poolhog.analysis.timeline import Timeline, build_timeline
from poolhog.model import OperationKind, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from poolhog.analysis.accounting import Account, Transaction
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


def spent_by(checkout: Checkout) -> Account:
    """The seconds of a checkout by what they were spent on, with no other to split its gaps by."""
    return with_spans(checkout)[0].spent


def gaps_of(checkout: Checkout) -> list[tuple[float, float]]:
    """Start and end of each time in which it was lent, and no operation was in flight."""
    (one,) = with_spans(checkout)
    of_gaps = (span for span in one.spans if span.is_of_gap)
    return [(gap.started, gap.ended) for gap in joined(of_gaps, lambda _: None)]


def idle_in_transaction(checkout: Checkout) -> float:
    """Seconds in which a transaction was open on the server and no operation was in flight.

    BEGIN travels with the first statement, so a transaction counts from that statement's end, as
    PostgreSQL's ``idle_in_transaction_time`` does.
    """
    between = gaps_of(checkout)
    return sum(
        ended - started
        for transaction in transactions(checkout, checkout.pool.process.written)
        for first in (_first_answer(checkout, transaction),)
        for started, ended in between
        if started >= first - _TICK and ended <= transaction.ended + _TICK
    )


_TICK = 0.5e-6
"""Half of what the clock of a trace tells apart."""


def _first_answer(checkout: Checkout, transaction: Transaction) -> float:
    """The end of the first round trip in the transaction; its own end if it made none."""
    for operation in checkout.operations:
        if (
            operation.kind is not OperationKind.BEGIN or operation.statement is not None
        ) and operation.started >= transaction.started:
            return operation.ended if operation.ended is not None else transaction.ended
    return transaction.ended


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
