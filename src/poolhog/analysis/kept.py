"""Connections that are kept on purpose, for as long as their process lives: no hogs.

One that waits for notifications, is a replication stream, or holds the advisory lock of a leader
cannot be given back. Neither can one that a service takes at its start and keeps to its end. All
of them belong to no request, and lasted for most of the process's life. What only idles, however
long, may as well be a hog: a connection without such a statement needs to outlast all requests,
without a transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import end_of, transactions
from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.ledger import NEVER
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolhog.analysis.blame.blaming import LineKey
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.model import Checkout, Site


class Purpose(StrEnum):
    """What a connection is kept for."""

    LISTEN = "LISTEN"
    REPLICATION = "replication"
    LOCK = "advisory lock"
    SERVICE = "service"


MOST_OF_LIFE = 0.5
"""The least part of its process's life that one lasts which is not kept to the end."""

END_OF_LIFE = 0.1
"""The last part of a life: what is returned then, or not at all, was kept to the end."""

WHOLE_LIFE = 0.8
"""The least part of a life for what idles: the lock of a leader, and a service's own connection."""

MOST_BUSY = 0.1
"""The part of its time that such a connection may be busy, or in a transaction."""

_SIGNS = {
    Purpose.LISTEN: re.compile(r"\s*LISTEN\b", re.IGNORECASE),
    Purpose.REPLICATION: re.compile(r"\s*START_REPLICATION\b", re.IGNORECASE),
    Purpose.LOCK: re.compile(r"\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(", re.IGNORECASE),
}
_UNLOCKS = re.compile(r"\bpg_advisory_unlock\w*\s*\(", re.IGNORECASE)
_STATEMENT = (OperationKind.STATEMENT,)


@dataclass(frozen=True, slots=True)
class KeptConnections:
    """Connections that one line keeps for one purpose, and for how many seconds in all.

    ``busy`` are the seconds of them in which an operation was in flight.
    """

    purpose: Purpose
    site: Site | None
    connections: int
    seconds: float
    busy: float = 0.0


def kept_rows(ledger: Ledger) -> Mapping[int, Purpose]:
    """The rows of connections that are kept on purpose.

    Those that leave no connection of their pool to others are not among them: they are in the way.
    """
    if not len(ledger):
        return {}
    began = int(ledger.asked.min())
    life = max(ledger.until - began, 1)
    use = ledger.over - ledger.left
    is_last = ~ledger.is_closed | (ledger.over >= ledger.until - END_OF_LIFE * life)
    is_lasting = (use >= MOST_OF_LIFE * life) | (is_last & (use >= END_OF_LIFE * life))
    rows = np.flatnonzero(ledger.is_granted & (ledger.request < 0) & is_lasting)
    signs = {purpose: _rows_that_sent(ledger, purpose) for purpose in _SIGNS} if len(rows) else {}
    is_whole = is_last & (use >= WHOLE_LIFE * life)
    found: dict[int, Purpose] = {}
    for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True):
        if row in signs[Purpose.LISTEN]:
            found[row] = Purpose.LISTEN
        elif row in signs[Purpose.REPLICATION]:
            found[row] = Purpose.REPLICATION
        elif not is_whole[row] or not _is_idle(ledger, row, checkout):
            continue
        elif row in signs[Purpose.LOCK]:
            if _has_company(ledger, row) and _keeps_lock(ledger, checkout):
                found[row] = Purpose.LOCK
        elif _outlasts_requests(ledger, row) and _is_out_of_transactions(ledger, checkout):
            found[row] = Purpose.SERVICE
    return _without_full_pools(ledger, found)


def _rows_that_sent(ledger: Ledger, purpose: Purpose) -> frozenset[int]:
    sign = _SIGNS[purpose]
    texts = [number for number, text in ledger.facts.statements.items() if sign.search(text)]
    return frozenset(ledger.rows_that_sent(_STATEMENT, np.array(texts, np.int64)).tolist())


def _is_idle(ledger: Ledger, row: int, checkout: Checkout) -> bool:
    """Whether it hardly did anything; what is in flight at the end counts as well."""
    use = int(ledger.over[row] - ledger.left[row]) / 1e6
    last = checkout.operations[-1] if checkout.operations else None
    in_flight = last is not None and last.ended is None
    going_on = ledger.process.written - last.started if last is not None and in_flight else 0.0
    return checkout.busy + going_on <= MOST_BUSY * use


def _has_company(ledger: Ledger, row: int) -> bool:
    """Whether others of the process used connections: a job alone is no leader of anything."""
    return bool((ledger.asker != ledger.asker[row]).any())


def _keeps_lock(ledger: Ledger, checkout: Checkout) -> bool:
    """Whether the lock was held nearly all the time, and not for one job after another."""
    locked: float | None = None
    held = 0.0
    end = end_of(checkout, ledger.process.written)
    for operation in checkout.operations:
        if operation.kind is not OperationKind.STATEMENT:
            continue
        if _UNLOCKS.search(operation.statement or "") and locked is not None:
            held = max(held, operation.started - locked)
            locked = None
        elif _SIGNS[Purpose.LOCK].search(operation.statement or ""):
            # A candidate asks for the lock again and again, until it gets it.
            locked = operation.started if locked is None else locked
    if locked is not None:
        held = max(held, end - locked)
    return held >= WHOLE_LIFE * (end - (checkout.granted or checkout.asked))


def _outlasts_requests(ledger: Ledger, row: int) -> bool:
    """Whether it was there before the first request began, and until the last one was over."""
    requests = ledger.requests
    if not len(requests.started):
        return False
    ended = np.where(requests.ended < NEVER, requests.ended, requests.started).max()
    is_there_after = not ledger.is_closed[row] or ledger.over[row] >= ended
    return bool(ledger.left[row] <= requests.started.min() and is_there_after)


def _is_out_of_transactions(ledger: Ledger, checkout: Checkout) -> bool:
    until = ledger.process.written
    spent = sum(one.ended - one.started for one in transactions(checkout, until))
    return spent <= MOST_BUSY * (end_of(checkout, until) - (checkout.granted or checkout.asked))


def _without_full_pools(ledger: Ledger, found: Mapping[int, Purpose]) -> Mapping[int, Purpose]:
    """Only those whose pool has a connection left for the others that asked for one."""
    rows = np.array(list(found), np.int64)
    full = [
        number
        for number, pool in enumerate(ledger.pools)
        if pool.capacity is not None
        and (ledger.pool[rows] == number).sum() >= pool.capacity
        and (ledger.pool == number).sum() > (ledger.pool[rows] == number).sum()
    ]
    return {row: purpose for row, purpose in found.items() if ledger.pool[row] not in full}


class KeptTally:
    """Adds up the kept connections of a run, by line and purpose."""

    def __init__(self) -> None:
        self._found: dict[tuple[Purpose, LineKey | None], KeptConnections] = {}

    def add(self, ledger: Ledger, kept: Mapping[int, Purpose], busy: Numbers) -> None:
        """Add those of a process; ``busy`` has the microseconds of all its rows."""
        for row, purpose in kept.items():
            site = ledger.sites[int(ledger.site[row])]
            key = purpose, line_of(site)
            one = self._found.setdefault(key, KeptConnections(purpose, site, 0, 0.0))
            seconds = one.seconds + int(ledger.over[row] - ledger.left[row]) / 1e6
            in_flight = one.busy + int(busy[row]) / 1e6
            number = one.connections + 1
            self._found[key] = replace(one, connections=number, seconds=seconds, busy=in_flight)

    def __iter__(self) -> Iterator[KeptConnections]:
        return iter(sorted(self._found.values(), key=lambda one: (-one.seconds, one.purpose)))
