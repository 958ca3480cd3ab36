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
        Gap(*gap, tuple(_stretches(gap, samples)) if gap[0] <= last and first < gap[1] else ())
        for gap in gaps(checkout, until)
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


def _stretches(gap: tuple[float, float], samples: Sequence[Sample]) -> Iterator[Stretch]:
    """The parts of a gap, of which none is empty, or nothing if it has no sample."""
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
            change = min((seen + following) / 2, end)
        if change > at:
            yield Stretch(sample, at, change)
            at = change


_STARTED = attrgetter("started")


def _share(seconds: Mapping[State, float]) -> Share:
    whole = sum(seconds.values())
    return Share(*(seconds[state] / whole for state in GAPS))


def _ends_transaction(operation: Operation) -> bool:
    return operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)
