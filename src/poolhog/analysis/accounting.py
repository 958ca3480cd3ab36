"""Where the time of a checkout goes: its wait, its use, its operations and its gaps.

Every interval is half open and in seconds on the run's clock. What is still open is counted up to
``until``, the last instant that the trace knows of.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.model import Checkout, Operation


class State(StrEnum):
    """What a request is doing about a connection, or a connection about its request."""

    WAITING = "waiting"
    BUSY = "busy"
    GAP = "gap"
    NOT_HOLDING = "not holding"


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of one state."""

    state: State
    started: float
    ended: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Account:
    """The seconds of a checkout, by what they were spent on."""

    queueing: float
    connecting: float
    pinging: float
    busy: float
    gap: float

    @property
    def wait(self) -> float:
        """From asking for the connection to getting it, or giving up."""
        return self.queueing + self.connecting + self.pinging

    @property
    def use(self) -> float:
        """From getting the connection to giving it back."""
        return self.busy + self.gap


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
    for end in (checkout.granted, checkout.gave_up):
        if end is not None:
            return end
    return max(until, checkout.asked)


def end_of(checkout: Checkout, until: float) -> float:
    """When the checkout was over, or ``until`` if it is waiting or open."""
    if checkout.granted is None:
        return end_of_wait(checkout, until)
    return checkout.returned if checkout.returned is not None else max(until, checkout.granted)


def intervals(checkout: Checkout, until: float) -> tuple[Interval, ...]:
    """The checkout's states from ``asked`` to its end, in order, without holes or overlaps."""
    found = []
    granted = end_of_wait(checkout, until)
    if granted > checkout.asked:
        found.append(Interval(State.WAITING, checkout.asked, granted))
    if checkout.granted is None:
        return tuple(found)
    end = end_of(checkout, until)
    at = granted
    for started, ended in _merged(_clipped(checkout.operations, granted, end)):
        if started > at:
            found.append(Interval(State.GAP, at, started))
        found.append(Interval(State.BUSY, started, ended))
        at = ended
    if end > at:
        found.append(Interval(State.GAP, at, end))
    return tuple(found)


def account(checkout: Checkout, until: float) -> Account:
    """The checkout's seconds by what they were spent on."""
    granted = end_of_wait(checkout, until)
    connecting = _spent(checkout, OperationKind.CONNECT, granted)
    pinging = _spent(checkout, OperationKind.PING, granted)
    states = intervals(checkout, until)
    return Account(
        queueing=granted - checkout.asked - connecting - pinging,
        connecting=connecting,
        pinging=pinging,
        busy=sum(i.duration for i in states if i.state is State.BUSY),
        gap=sum(i.duration for i in states if i.state is State.GAP),
    )


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


def idle_in_transaction(checkout: Checkout, until: float) -> float:
    """Seconds in which a transaction was open on the server and no operation was in flight.

    BEGIN travels with the first statement, so a transaction counts from that statement's end, as
    PostgreSQL's ``idle_in_transaction_time`` does.
    """
    return sum(
        interval.duration
        for transaction in transactions(checkout, until)
        for interval in intervals(checkout, until)
        if interval.state is State.GAP
        and interval.started >= _first_operation_end(checkout, transaction)
        and interval.ended <= transaction.ended
    )


def _first_operation_end(checkout: Checkout, transaction: Transaction) -> float:
    """The end of the first round trip in the transaction; its own end if it made none."""
    for operation in checkout.operations:
        if (
            operation.kind is not OperationKind.BEGIN or operation.statement is not None
        ) and operation.started >= transaction.started:
            return operation.ended if operation.ended is not None else transaction.ended
    return transaction.ended


def _ends_transaction(operation: Operation) -> bool:
    return operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)


def _spent(checkout: Checkout, kind: OperationKind, granted: float) -> float:
    """Seconds of operations of this kind within the wait; they follow one another."""
    return sum(
        min(operation.ended if operation.ended is not None else granted, granted)
        - operation.started
        for operation in checkout.operations
        if operation.kind is kind and operation.started < granted
    )


def _clipped(
    operations: Iterable[Operation], started: float, ended: float
) -> Iterator[tuple[float, float]]:
    """Start and end of each operation, cut to the interval; those outside are left out."""
    for operation in operations:
        first = max(operation.started, started)
        last = min(operation.ended if operation.ended is not None else ended, ended)
        if last > first:
            yield first, last


def _merged(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The union of the spans, which are in order of their start."""
    current: tuple[float, float] | None = None
    for started, ended in spans:
        if current is None:
            current = started, ended
        elif started <= current[1]:
            current = current[0], max(current[1], ended)
        else:
            yield current
            current = started, ended
    if current is not None:
        yield current
