"""Where the time of a checkout goes: its wait, its use, its operations and its gaps.

Every interval is half open and in seconds on the run's clock. What is still open is counted up to
``until``, the last instant that the trace knows of.

Gaps are split into parked, running and ready by the samples that fell into them: each instant is
what the nearest sample says. A gap too short for a sample is split like its siblings (``Shares``).
A sample may also say that the database was waited for: what it tells about is busy.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Checkout, Operation, Sample, Site


class State(StrEnum):
    """What a request is doing about a connection, or a connection about its request."""

    WAITING = "waiting"
    BUSY = "busy"
    PARKED = "parked"
    RUNNING = "running"
    READY = "ready"
    NOT_HOLDING = "not holding"


GAPS = (State.PARKED, State.RUNNING, State.READY)
"""The states of a checkout's gaps: lent, and no operation is in flight."""


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


class Stretch(NamedTuple):
    """The part of a gap that is nearer to this sample than to any other."""

    sample: Sample
    started: float
    ended: float

    @property
    def state(self) -> State:
        """What the sample says about it."""
        return _STATES[self.sample.activity]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started


class Gap(NamedTuple):
    """The time between two operations, with its stretches if samples fell into it."""

    started: float
    ended: float
    stretches: tuple[Stretch, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started


class Account(NamedTuple):
    """The seconds of a checkout, by what they were spent on; a tuple, as there may be millions."""

    queueing: float
    connecting: float
    pinging: float
    busy: float
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
        return self.busy + self.gap


def total(accounts: Iterable[Account]) -> Account:
    """The sum of some accounts."""
    return Account(*map(math.fsum, zip(NOTHING, *accounts, strict=True)))


NOTHING = Account(*[0.0] * len(Account._fields))


class Told(NamedTuple):
    """The seconds of a checkout as far as it tells itself.

    ``untold`` are those of gaps that no sample fell into.
    """

    queueing: float
    connecting: float
    pinging: float
    busy: float
    parked: float
    running: float
    ready: float
    untold: float

    def shared(self, share: Share) -> Account:
        """With the untold seconds split like this."""
        return Account(
            *self[:4],
            self.parked + self.untold * share.parked,
            self.running + self.untold * share.running,
            self.ready + self.untold * share.ready,
        )


class Share(NamedTuple):
    """How a gap without a sample is split; the three add up to 1."""

    parked: float
    running: float
    ready: float


class Shares:
    """How the gaps without a sample are split: like those with one, of the same site.

    A site's samples are those of all checkouts that were asked for there. Gaps that are hardly
    longer than the sampling interval are the better siblings, because the long ones may be of
    another kind (a call that is usually answered from a cache): if there are any, only these
    count. What no sample tells about is the execution of Python, hence running.

    Shares of some checkouts learn from others that are added.
    """

    def __init__(self, checkouts: Iterable[Checkout], until: float) -> None:
        self._short: dict[Site | None, dict[State, float]] = {}
        self._every: dict[Site | None, dict[State, float]] = {}
        self._shares: dict[Site | None, Share] = {}
        for checkout in checkouts:
            if checkout.samples:
                self.add(checkout, told_gaps(checkout, until))

    def add(self, checkout: Checkout, gaps: Iterable[Gap]) -> None:
        """Learn from the gaps of one more checkout."""
        site = checkout.site
        limit = _SHORT_INTERVALS * checkout.pool.process.sampling_interval
        for gap in gaps:
            tables = (self._short, self._every) if gap.duration <= limit else (self._every,)
            for stretch in gap.stretches:
                if stretch.state not in GAPS:
                    continue
                for table in tables:
                    seconds = table.get(site)
                    if seconds is None:
                        seconds = table[site] = dict.fromkeys(GAPS, 0.0)
                    seconds[stretch.state] += stretch.duration
        self._shares.pop(site, None)

    @classmethod
    def known(cls, shares: Mapping[Site | None, Share]) -> Shares:
        """Those that are known already, by site."""
        found = cls((), 0.0)
        found._shares = dict(shares)
        return found

    def of(self, checkout: Checkout) -> Share:
        """How a gap of this checkout is split."""
        return self.at(checkout.site)

    def at(self, site: Site | None) -> Share:
        """How a gap is split of a checkout that was asked for there."""
        found = self._shares.get(site)
        if found is None:
            seconds = self._short.get(site) or self._every.get(site)
            if seconds is None:
                return _ALL_RUNNING
            found = self._shares[site] = _share(seconds)
        return found


_SHORT_INTERVALS = 2
_ALL_RUNNING = Share(0.0, 1.0, 0.0)
_STATES = {
    Activity.PARKED: State.PARKED,
    Activity.RUNNING: State.RUNNING,
    Activity.READY: State.READY,
    Activity.BUSY: State.BUSY,
}
NO_SHARES = Shares((), 0.0)
"""For a checkout that is looked at alone."""


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


def intervals(checkout: Checkout, until: float, shares: Shares = NO_SHARES) -> tuple[Interval, ...]:
    """The checkout's states from ``asked`` to its end, in order, without holes or overlaps."""
    found: list[Interval] = []
    for interval in _states(checkout, until, shares):
        # What is seen to be busy may follow an operation.
        if found and found[-1].state is interval.state:
            found[-1] = Interval(interval.state, found[-1].started, interval.ended)
        else:
            found.append(interval)
    return tuple(found)


def _states(checkout: Checkout, until: float, shares: Shares) -> Iterator[Interval]:
    at = end_of_wait(checkout, until)
    if at > checkout.asked:
        yield Interval(State.WAITING, checkout.asked, at)
    for gap in gaps(checkout, until):
        if gap[0] > at:
            yield Interval(State.BUSY, at, gap[0])
        yield from _split(checkout, gap, shares)
        at = gap[1]
    end = end_of(checkout, until)
    if end > at:
        yield Interval(State.BUSY, at, end)


def gaps(checkout: Checkout, until: float) -> Iterator[tuple[float, float]]:
    """Start and end of each gap, in order; none is empty."""
    if checkout.granted is None:
        return
    end = end_of(checkout, until)
    at = checkout.granted
    for operation in checkout.operations:
        started, ended = operation.started, operation.ended
        if ended is None or ended > end:
            ended = end
        if ended <= at or ended <= started:
            continue  # it took no time, such as a BEGIN that nothing was sent for
        if started > at:
            yield at, started
        at = ended
    if end > at:
        yield at, end


def told_gaps(checkout: Checkout, until: float) -> tuple[Gap, ...]:
    """The gaps, in order, each with what samples tell of it."""
    samples = checkout.samples
    if not samples:
        return tuple(Gap(*gap) for gap in gaps(checkout, until))
    first, last = samples[0].started, samples[-1].started
    return tuple(
        Gap(*gap, tuple(_stretches(gap, checkout)) if gap[0] <= last and first < gap[1] else ())
        for gap in gaps(checkout, until)
    )


def shared(gap: tuple[float, float], share: Share) -> Iterator[Interval]:
    """A gap without a sample, from its start to its end, split like this."""
    at, end = gap
    present = [(state, part) for state, part in zip(GAPS, share, strict=True) if part]
    for state, part in present[:-1]:
        change = min(at + part * (end - gap[0]), end)
        if change > at:
            yield Interval(state, at, change)
            at = change
    if end > at:
        yield Interval(present[-1][0], at, end)


def stretches(checkout: Checkout, until: float) -> Iterator[Stretch]:
    """The gaps in parts, each with the sample that tells about it; those without are left out."""
    if checkout.samples:
        for gap in told_gaps(checkout, until):
            yield from gap.stretches


def account(checkout: Checkout, until: float, shares: Shares = NO_SHARES) -> Account:
    """The checkout's seconds by what they were spent on."""
    return told(checkout, until).shared(shares.of(checkout))


def told(checkout: Checkout, until: float, gaps: Sequence[Gap] | None = None) -> Told:
    """The checkout's seconds by what they were spent on, as far as it tells itself.

    ``gaps`` are its ``told_gaps``, if these are known already.
    """
    granted = end_of_wait(checkout, until)
    use = end_of(checkout, until) - granted
    is_over = checkout.returned is not None or checkout.gave_up is not None
    if is_over:  # the recorder added these up
        connecting, pinging = checkout.connecting, checkout.pinging
    else:
        connecting = _spent(checkout, OperationKind.CONNECT, granted)
        pinging = _spent(checkout, OperationKind.PING, granted)
    if is_over and not checkout.samples:  # so its operations stay packed
        busy = min(checkout.busy, use)
        of_gaps = 0.0, 0.0, 0.0, use - busy
    else:
        of_gaps = _of_gaps(gaps if gaps is not None else told_gaps(checkout, until))
        busy = max(use - sum(of_gaps), 0.0)
    queueing = granted - checkout.asked - connecting - pinging
    return Told(queueing, connecting, pinging, busy, *of_gaps)


def _of_gaps(gaps: Iterable[Gap]) -> tuple[float, float, float, float]:
    """The seconds of the gaps that samples call parked, running and ready, and of the others."""
    seconds = dict.fromkeys(GAPS, 0.0)
    untold = 0.0
    for gap in gaps:
        for stretch in gap.stretches:
            if stretch.state in seconds:
                seconds[stretch.state] += stretch.duration
        if not gap.stretches:
            untold += gap.duration
    parked, running, ready = seconds.values()
    return parked, running, ready, untold


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
    between = tuple(gaps(checkout, until))
    return sum(
        ended - started
        for transaction in transactions(checkout, until)
        for first in (_first_operation_end(checkout, transaction),)
        for started, ended in between
        if started >= first and ended <= transaction.ended
    )


def _first_operation_end(checkout: Checkout, transaction: Transaction) -> float:
    """The end of the first round trip in the transaction; its own end if it made none."""
    for operation in checkout.operations:
        if (
            operation.kind is not OperationKind.BEGIN or operation.statement is not None
        ) and operation.started >= transaction.started:
            return operation.ended if operation.ended is not None else transaction.ended
    return transaction.ended


def _split(checkout: Checkout, gap: tuple[float, float], shares: Shares) -> Iterator[Interval]:
    """A gap as its samples tell it, or else as its siblings' do."""
    at, end = gap
    state: State | None = None
    for stretch in _stretches(gap, checkout):
        if state is not None and stretch.state is not state:
            yield Interval(state, at, stretch.started)
            at = stretch.started
        state = stretch.state
    if state is not None:
        yield Interval(state, at, end)
        return
    yield from shared(gap, shares.of(checkout))


def _stretches(gap: tuple[float, float], checkout: Checkout) -> Iterator[Stretch]:
    """The parts of a gap, of which none is empty, or nothing if it has no sample."""
    samples, began = checkout.samples, checkout.pool.process.began
    at, end = gap
    # A sample never reaches from one gap into another.
    first = bisect_left(samples, at, key=_STARTED)
    last = bisect_left(samples, end, key=_STARTED)
    for index in range(first, last):
        sample = samples[index]
        change = end
        if index + 1 < last:
            following = samples[index + 1].started
            seen = sample.ended if sample.ended is not None else following
            change = min(_middle(seen, following, began), end)
        if change > at:
            yield Stretch(sample, at, change)
            at = change


_STARTED = attrgetter("started")


def _middle(one: float, other: float, began: float) -> float:
    """In whole microseconds since the process began, half to even: where spans change as well."""
    middle = (round((one - began) * 1e6) + round((other - began) * 1e6)) / 2
    return began + round(middle) / 1e6


def _share(seconds: Mapping[State, float]) -> Share:
    whole = sum(seconds.values())
    return Share(*(seconds[state] / whole for state in GAPS))


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
