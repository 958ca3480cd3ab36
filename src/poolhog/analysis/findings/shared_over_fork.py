"""shared-over-fork: a connection is used in a process that was forked after it was opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind, Severity
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.ledger import Codes
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.model import Checkout

MOST_SHARED = 2_000
"""Checkouts of inherited connections that are looked at in one process."""


class Inherited(NamedTuple):
    """A connection of a parent process, and the process that used it as well."""

    parent_pid: int
    pid: int
    connection: int


@dataclass(frozen=True, slots=True)
class SharedConnections:
    """How many connections were used in how many processes besides the one that opened them."""

    connections: int
    processes: int


class SharedOverFork(FindingKind[SharedConnections]):
    """The line is where the child asked for the connection. One occurrence is enough."""

    name = "shared-over-fork"
    severity = Severity.FAILURE

    def occurrences(self, ledger: Ledger) -> Iterator[tuple[Checkout, Occurrence]]:
        """The first checkouts of a process with a connection that its parent opened."""
        rows = _shared(ledger)[:MOST_SHARED]
        for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True):
            process = checkout.pool.process
            note = Inherited(process.parent_pid, process.pid, checkout.connection or 0)
            line = NamedLine(checkout.site or checkout.pool.made_at)
            spans = [(checkout.asked, ledger.seconds(int(ledger.over[row])))]
            yield checkout, Occurrence(line, spans, (note,), weight=1.0)

    def evidence(self, entry: Entry, totals: Totals) -> SharedConnections:
        """How many connections, in how many processes."""
        found = entry.noted(Inherited)
        return SharedConnections(
            connections=len({(one.parent_pid, one.connection) for one in found}),
            processes=len({one.pid for one in found}),
        )


SHARED_OVER_FORK = SharedOverFork()


def _shared(ledger: Ledger) -> Numbers:
    """The rows that were lent an inherited connection which was not opened anew before."""
    found = [np.array([], np.int64)]
    for number, pool in enumerate(ledger.pools):
        if not pool.inherited:
            continue
        is_old = (ledger.connection > 0) & (ledger.connection <= pool.inherited)
        is_old &= (ledger.pool == number) & ledger.is_granted
        opened = np.unique(ledger.rows_that_sent((OperationKind.CONNECT,), None))
        opened = opened[is_old[opened]]
        # A place of the pool whose connection was replaced is the child's own from then on.
        places, first = np.unique(ledger.connection[opened], return_index=True)
        replaced = Codes(places, len(ledger), opened[first])
        rows = np.flatnonzero(is_old)
        found.append(rows[rows < replaced.of(ledger.connection[rows])])
    return np.sort(np.concatenate(found))
