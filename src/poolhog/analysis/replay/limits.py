"""What was seen in a process that its replay does not know: a hang, a limit of threads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import NEVER

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Ledger, Numbers

_LEAST_HANG_US = 1_000_000
"""A pool that did nothing for less than this does not hang."""

_LEAST_DELAY_US = 50_000
"""From a request's start to its first asking: less is no wait for a thread."""

_NEARLY_ALL = 0.9
_SOME = 0.02

_WORKER = re.compile(r"(AnyIO worker thread|asyncio_\d+|ThreadPoolExecutor-.*)( \(\d+\))?")
"""Names of the threads that work for tasks: anyio's, and those of ``asyncio.to_thread``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What limited a run besides its pools, 0 if it was not seen.

    ``hanging`` is for how many seconds nothing happened in a pool at the end, though requests
    waited for it. ``threads`` waited for a pool at once while requests waited for a thread.
    ``unknown`` checkouts timed out, and none on the same line got a connection. ``ready`` are the
    seconds for which owners of connections could go on and did not. ``locks`` are the seconds of
    waiting for locks that last as long as they did, ``guessed`` those that are only inferred.
    """

    hanging: float = 0.0
    threads: int = 0
    unknown: int = 0
    ready: float = 0.0
    locks: float = 0.0
    guessed: float = 0.0


def hanging(ledger: Ledger) -> float:
    """For how many seconds a pool has lent and got nothing though someone waits for it.

    A pool that lends for long does nothing for long, too: a hang lasts longer than any use that is
    over.
    """
    longest = 0.0
    is_waiting = ~ledger.is_granted & ~ledger.is_closed
    for pool in np.unique(ledger.pool[is_waiting]).tolist():
        own = ledger.pool == pool
        lent, back = own & ledger.is_granted, own & ledger.is_closed
        latest = max(
            int(ledger.left[lent].max(initial=0)),
            int(ledger.over[back].max(initial=0)),
            int(ledger.asked[own & is_waiting].min()),
        )
        closed = lent & back
        use = int((ledger.over - ledger.left)[closed].max(initial=0))
        if ledger.until - latest > max(_LEAST_HANG_US, use):
            longest = max(longest, (ledger.until - latest) / 1e6)
    return longest


def waiting_threads(ledger: Ledger) -> int:
    """How many threads waited for a pool at once, if requests waited for one of these; else 0.

    Whoever waits for a thread has not asked for a connection yet. So it is seen in requests that
    first asked late, when as many threads as ever had waited meanwhile.
    """
    is_late = (ledger.left - ledger.asked > 0) & (ledger.request >= 0)
    waited = np.flatnonzero(is_late)
    owners = ledger.facts.owners(ledger.number[waited].tolist()) if len(waited) else {}
    names = [owners[number] for number in ledger.number[waited].tolist()]
    rows = waited[[_WORKER.fullmatch(name) is not None for name in names]] if names else waited
    if len(rows) < 2:
        return 0
    instants, number = _at_once(ledger.asked[rows], ledger.left[rows])
    most = int(number.max())
    is_full = number >= _NEARLY_ALL * most
    full = np.append(0.0, np.cumsum(np.where(is_full[:-1], np.diff(instants), 0)))
    first = _first_rows(ledger)
    asked = ledger.asked[first]
    started = ledger.requests.started[ledger.request[first]]
    inside = np.interp(asked, instants, full) - np.interp(started, instants, full)
    is_delayed = (inside > _LEAST_DELAY_US) & (inside > (asked - started) / 2)
    is_limited = is_delayed.sum() >= max(2, _SOME * len(first))
    return most if most > 1 and is_limited else 0


def _first_rows(ledger: Ledger) -> Numbers:
    """The first row of each request that has one; rows are in the order of asking."""
    of_request = np.flatnonzero(ledger.request >= 0)
    _, first = np.unique(ledger.request[of_request], return_index=True)
    return of_request[first]


def _at_once(started: Numbers, ended: Numbers) -> tuple[Numbers, Numbers]:
    """The instants at which one of some intervals begins or ends, and how many there are then."""
    ended = np.minimum(ended, NEVER)
    instants = np.concatenate((ended, started))
    order = np.argsort(instants, kind="stable")
    change = np.where(order < len(ended), -1, 1)
    return instants[order], np.cumsum(change)
