"""The facts of a ledger from a trace in memory, as a process's file would hand them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import Ledger
from poolhog.model import SharingKind
from poolhog.texts import visible
from poolhog.trace.packed import NULL
from poolhog.trace.tables import (
    Checkouts,
    Columns,
    LockWaits,
    Operations,
    Requests,
    Samples,
    Sent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.ledger import Numbers
    from poolhog.model import Checkout, Operation, Pool, Process, Request, Site, Trace

    Row = Sequence[int]


def ledgers_of(trace: Trace) -> Iterator[Ledger]:
    """A ledger for each process of a trace, in their order."""
    for process in trace.processes:
        yield Ledger(MemoryFacts(trace, process))


class MemoryFacts:
    """The facts of one ``process`` of a trace.

    A checkout's number is its place among those of the process, a request's and a pool's theirs.
    Instants become whole microseconds since the process began, as a file has them.
    """

    def __init__(self, trace: Trace, process: Process) -> None:
        self.process = process
        own_pools = [pool for pool in trace.pools if pool.process is process]
        self.pools: Mapping[int, Pool] = dict(enumerate(own_pools))
        self._checkouts = [c for c in trace.checkouts if c.pool.process is process]
        known = {request.id: request for request in trace.requests if request.process is process}
        for checkout in self._checkouts:
            if checkout.request is not None:
                known.setdefault(checkout.request.id, checkout.request)
        self._requests = list(known.values())
        self._numbers: dict[str, int] = {}
        self._site_numbers: dict[Site | None, int] = {None: NULL}
        self._operations = sent = Operations(*_columns(self._operation_rows(), 8))
        self._columns = Columns(
            Checkouts(*_columns(self._checkout_rows(known, own_pools), 13)),
            Requests(*_columns(map(self._request, range(len(known)), self._requests), 10)),
            Samples(*_columns(self._sample_rows(), 6)),
            LockWaits(*_columns(self._lock_wait_rows(), 6)),
            Sent(sent.checkout, sent.kind, sent.statement),
            sent.checkout[sent.error != NULL],
        )
        self.statements: Mapping[int, str] = {n: text for text, n in self._numbers.items()}
        self.texts: Mapping[int, str] = {n: visible(t) for n, t in self.statements.items()}
        self.sites: Mapping[int | None, Site] = {
            number: site for site, number in self._site_numbers.items() if site is not None
        }

    def columns(self) -> Columns:
        """Its checkouts, requests and samples."""
        return self._columns

    def paths(self) -> Mapping[int, str]:
        """The paths of requests without a route, by the requests' numbers."""
        return {n: request.path for n, request in enumerate(self._requests) if not request.route}

    def owners(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """The owners of the checkouts with these numbers."""
        return {number: self._checkouts[number].owner for number in numbers}

    def operations(self, numbers: Iterable[int]) -> Iterator[Operations]:
        """The operations of the checkouts with these numbers, in one part."""
        chosen = np.isin(self._operations.checkout, np.fromiter(numbers, np.int64))
        if chosen.any():
            yield Operations(*(column[chosen] for column in self._operations))

    def numbered(self, numbers: Iterable[int]) -> Iterator[Checkout]:
        """The checkouts with these numbers, in the order of their asking."""
        asked = self._columns.checkouts.asked
        for number in sorted(numbers, key=lambda number: (asked[number], number)):
            yield self._checkouts[number]

    def _text(self, text: str | None) -> int:
        return NULL if text is None else self._numbers.setdefault(text, len(self._numbers))

    def _site(self, site: Site | None) -> int:
        return self._site_numbers.setdefault(site, len(self._site_numbers))

    def _at(self, instant: float) -> int:
        return round((instant - self.process.began) * 1e6)

    def _since(self, started: float, instant: float | None) -> int:
        return NULL if instant is None else self._at(instant) - self._at(started)

    def _checkout_rows(
        self, requests: Mapping[str, Request], pools: Sequence[Pool]
    ) -> Iterator[Row]:
        pool_numbers = {pool.id: number for number, pool in enumerate(pools)}
        request_numbers = {key: number for number, key in enumerate(requests)}
        for number, checkout in enumerate(self._checkouts):
            asked, request = checkout.asked, checkout.request
            yield (
                number,
                pool_numbers[checkout.pool.id],
                NULL if request is None else request_numbers[request.id],
                NULL if checkout.connection is None else checkout.connection,
                self._site(checkout.site),
                self._text(checkout.outcome),
                self._at(asked),
                self._since(asked, checkout.granted),
                self._since(asked, checkout.gave_up),
                self._since(asked, checkout.returned),
                *(round(s * 1e6) for s in (checkout.connecting, checkout.pinging, checkout.busy)),
            )

    def _request(self, number: int, request: Request) -> Row:
        started = request.started
        return (
            number,
            self._text(request.kind),
            self._text(request.method),
            self._text(request.route),
            NULL if request.status is None else request.status,
            self._text(request.error),
            self._at(started),
            self._since(started, request.responding),
            self._since(started, request.responded),
            self._since(started, request.ended),
        )

    def _sample_rows(self) -> Iterator[Row]:
        number = 0
        for place, checkout in enumerate(self._checkouts):
            for sample in checkout.samples:
                activity, site = self._text(sample.activity), self._site(sample.site)
                ended = self._since(sample.started, sample.ended)
                yield number, place, activity, site, self._at(sample.started), ended
                number += 1
            for sharing in checkout.sharings:
                kind, site = self._text(SharingKind.SHARED), self._site(sharing.site)
                yield number, place, kind, site, self._at(sharing.at), 0
                number += 1

    def _lock_wait_rows(self) -> Iterator[Row]:
        places = {checkout.id: place for place, checkout in enumerate(self._checkouts)}
        number = 0
        for place, checkout in enumerate(self._checkouts):
            for wait in checkout.lock_waits:
                blocker = NULL if wait.blocker is None else places.get(wait.blocker, NULL)
                ended = self._since(wait.started, wait.ended)
                session = self._text(wait.session)
                yield number, place, blocker, session, self._at(wait.started), ended
                number += 1

    def _operation_rows(self) -> Iterator[Row]:
        for place, checkout in enumerate(self._checkouts):
            for operation in checkout.operations:
                yield place, *self._operation(operation, checkout.asked)

    def _operation(self, operation: Operation, asked: float) -> Row:
        return (
            self._text(operation.kind),
            self._since(asked, operation.started),
            self._since(operation.started, operation.ended),
            self._site(operation.site),
            self._text(operation.statement),
            self._text(operation.error),
            self._text(operation.cause),
        )


def _columns(rows: Iterable[Row], width: int) -> Iterator[Numbers]:
    """The columns of some rows, which may be none."""
    return iter(np.array(list(rows), np.int64).reshape(-1, width).T.copy())
