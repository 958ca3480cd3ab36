"""The large tables of a process's file as arrays, one for each column.

Columns of small numbers are of 32 bits: whoever adds two of them makes one of 64 bits before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from poolhog.trace.packed import Numbers


@dataclass(frozen=True, slots=True)
class Checkouts:
    """The columns of ``packed_checkouts``, in order of their ids, as they are stored.

    ``asked`` counts from the beginning of the process, ``granted``, ``gave_up`` and ``returned``
    from ``asked``; what has not happened is ``NULL``.
    """

    id: Numbers
    pool_id: Numbers
    request_id: Numbers
    connection: Numbers
    site_id: Numbers
    outcome: Numbers
    asked: Numbers
    granted: Numbers
    gave_up: Numbers
    returned: Numbers
    connecting: Numbers
    pinging: Numbers
    busy: Numbers


@dataclass(frozen=True, slots=True)
class Requests:
    """The columns of ``packed_requests``, in order of their ids, as they are stored."""

    id: Numbers
    kind: Numbers
    method: Numbers
    route: Numbers
    status: Numbers
    error: Numbers
    started: Numbers
    responding: Numbers
    responded: Numbers
    ended: Numbers


@dataclass(frozen=True, slots=True)
class Samples:
    """The columns of ``packed_samples``, in order of their ids, as they are stored."""

    id: Numbers
    checkout_id: Numbers
    activity: Numbers
    site_id: Numbers
    started: Numbers
    ended: Numbers


@dataclass(frozen=True, slots=True)
class LockWaits:
    """The columns of ``packed_lock_waits``, in order of their ids, as they are stored."""

    id: Numbers
    checkout_id: Numbers
    blocker_id: Numbers
    session: Numbers
    started: Numbers
    ended: Numbers


class Sent(NamedTuple):
    """The operations of all checkouts as far as they are kept: what was sent.

    ``checkout`` is the id of each one's checkout, ``kind`` and ``statement`` are numbers of texts.
    """

    checkout: Numbers
    kind: Numbers
    statement: Numbers


class Columns(NamedTuple):
    """All large tables of one file, and the sum of their rows' checksums.

    ``failed`` are the ids of checkouts with an operation that an exception ended, one for each.
    """

    checkouts: Checkouts
    requests: Requests
    samples: Samples
    lock_waits: LockWaits
    sent: Sent
    failed: Numbers
    checksum: int = 0


class Operations(NamedTuple):
    """Operations of some checkouts, in order: ``checkout`` is the id of each one's checkout.

    ``since`` counts from the asking of the checkout; ``duration`` is ``NULL`` of one in flight.
    ``kind``, ``statement``, ``error`` and ``cause`` are numbers of texts.
    """

    checkout: Numbers
    kind: Numbers
    since: Numbers
    duration: Numbers
    site: Numbers
    statement: Numbers
    error: Numbers
    cause: Numbers
