"""What the time of checkouts is spent on: states, sums of seconds, ends, and transactions.

Instants are seconds on the run's clock. What is still open is counted up to ``until``, the last
instant that is known of its process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.model import Checkout, Operation


class State(StrEnum):
    """What a request is doing about a connection, or a connection about its request."""

    WAITING = "waiting"
    BUSY = "busy"
    BLOCKED = "blocked"
    PARKED = "parked"
    RUNNING = "running"
    READY = "ready"
    NOT_HOLDING = "not holding"


STATE_OF = {
    Activity.PARKED: State.PARKED,
    Activity.RUNNING: State.RUNNING,
    Activity.READY: State.READY,
    Activity.BUSY: State.BUSY,
    Activity.BLOCKING: State.RUNNING,
    Activity.COMPUTING: State.PARKED,
    Activity.QUEUED: State.PARKED,
    Activity.IDLE: State.PARKED,
}
"""The state of a checkout whose owner was seen doing something."""

GAPS = (State.PARKED, State.RUNNING, State.READY)
"""The states of a checkout's gaps: lent, and no operation is in flight."""


class Account(NamedTuple):
    """The seconds of a checkout, by what they were spent on; a tuple, as there may be millions."""

    queueing: float
    connecting: float
    pinging: float
    busy: float
    blocked: float
    parked: float
    running: float
    ready: float

    @property
    def wait(self) -> float:
        """From asking for the connection to getting it, or giving up."""
        return self.queueing + self.connecting + self.pinging

    @property
    def gap(self) -> float:
        """Lent, and no operation in flight."""
        return self.parked + self.running + self.ready

    @property
    def use(self) -> float:
        """From getting the connection to giving it back."""
        return self.busy + self.blocked + self.gap


def total(accounts: Iterable[Account]) -> Account:
    """The sum of some accounts."""
    return Account(*map(math.fsum, zip(NOTHING, *accounts, strict=True)))


NOTHING = Account(*[0.0] * len(Account._fields))


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as the application sees it: from BEGIN to the end of COMMIT or ROLLBACK.

    ``ended_with`` is ``None`` while it is open, or when the connection was lost.
    """

    started: float
    ended: float
    ended_with: OperationKind | None


def end_of_wait(checkout: Checkout, until: float) -> float:
    """When the wait ended with a connection or without one, or ``until`` if it goes on."""
    if checkout.granted is not None:
        return checkout.granted
    return checkout.gave_up if checkout.gave_up is not None else max(until, checkout.asked)


def end_of(checkout: Checkout, until: float) -> float:
    """When the checkout was over, or ``until`` if it is waiting or open."""
    if checkout.granted is None:
        return end_of_wait(checkout, until)
    return checkout.returned if checkout.returned is not None else max(until, checkout.granted)


def returned_after(checkout: Checkout, responding: float | None) -> bool:
    """Whether the response was on its way before the connection came back."""
    return responding is None or checkout.returned is None or checkout.returned > responding


def transactions(checkout: Checkout, until: float) -> tuple[Transaction, ...]:
    """The checkout's transactions, in order.

    A driver in autocommit has none: each of its statements is a transaction of the server's.
    """
    found = []
    began: float | None = None
    for operation in checkout.operations:
        if operation.kind is OperationKind.BEGIN:
            # A second BEGIN within a transaction is a warning of the server's, not another.
            if began is None and operation.error is None:
                began = operation.started
        elif began is not None and _ends_transaction(operation):
            if operation.ended is None:
                break
            committed = operation.kind is OperationKind.COMMIT and operation.error is None
            ended_with = OperationKind.COMMIT if committed else OperationKind.ROLLBACK
            found.append(Transaction(began, operation.ended, ended_with))
            began = None
    if began is not None:
        found.append(Transaction(began, end_of(checkout, until), None))
    return tuple(found)


def _ends_transaction(operation: Operation) -> bool:
    return operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)
