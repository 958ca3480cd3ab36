"""How the connections of a process stand at an instant: who holds what, and who waits for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import GAPS, STATE_OF, State, transactions
from poolhog.analysis.liveness import LATE_S, Liveness, liveness_of, written_age
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.model import Checkout, Operation, OperationKind, Pool, Process, Sample, Site, Trace


class Held(NamedTuple):
    """A connection that is lent, and what its owner does; a tuple, as there may be thousands.

    ``state`` has been so for ``state_seconds``; it is ``None`` if no sample tells yet, or none is
    taken. ``site`` is where the owner is: of a busy one where it asked for the operation, of one
    that is ready what runs instead. ``last`` is the operation in flight, or else the last one,
    which was over ``idle_seconds`` ago; ``statement`` is the latest SQL. ``in_transaction`` says
    that one was begun and is not over. ``blocker`` holds the lock that a blocked one waits for, if
    the server was asked: a checkout's id, or a description of a session that was not recorded. It
    ``is_lost`` if its owner is gone, or is a thread that has nothing to do any more.
    """

    checkout: Checkout
    seconds: float
    state: State | None
    state_seconds: float
    site: Site | None
    last: Operation | None
    idle_seconds: float
    statement: str | None
    in_transaction: bool
    blocker: str | None = None
    is_lost: bool = False


class Waiting(NamedTuple):
    """A request that waits for a connection; ``operation`` is a connect or ping in flight."""

    checkout: Checkout
    seconds: float
    operation: OperationKind | None


@dataclass(frozen=True, slots=True)
class PoolDump:
    """A pool's connections that are lent, and who waits for one; the longest first."""

    pool: Pool
    held: tuple[Held, ...]
    waiting: tuple[Waiting, ...]

    @property
    def out(self) -> int:
        """How many connections are lent, or being opened or pinged for somebody."""
        return len(self.held) + sum(one.operation is not None for one in self.waiting)

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections are out."""
        return self.pool.capacity is not None and self.out >= self.pool.capacity


@dataclass(frozen=True, slots=True)
class ProcessDump:
    """A process at the last instant that its file tells of.

    ``age`` is how many seconds ago that was, of one that still runs; ``None`` if it has ended.
    ``idle`` are the pools that have lent nothing, and that nobody waits for.
    """

    process: Process
    liveness: Liveness
    pools: tuple[PoolDump, ...]
    age: float | None = None
    idle: tuple[Pool, ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether the process runs, and may have lent and taken back connections since."""
        return self.age is not None and self.age > LATE_S

    @property
    def is_minimum(self) -> bool:
        """Whether more may be lent, or may have been when it died, than is known."""
        return self.liveness is Liveness.DEAD or self.is_late or self.process.is_cut_off


def process_dump(
    trace: Trace, liveness: Liveness, age: float | None = None, memory: Memory | None = None
) -> ProcessDump:
    """What a process was doing when ``trace``, its part of a trace, was last written.

    That was ``age`` seconds ago, if the process still runs. The ``memory`` is of earlier dumps.
    """
    (process,) = trace.processes
    standings = memory or Memory()
    by_pool: dict[str, list[Checkout]] = {pool.id: [] for pool in trace.pools}
    for checkout in trace.checkouts:
        by_pool[checkout.pool.id].append(checkout)
    pools = tuple(
        _pool_dump(pool, by_pool[pool.id], trace.until, standings)
        for pool in trace.pools
        if by_pool[pool.id]
    )
    # An engine that was disposed of goes on with a new pool: the old one is among these.
    idle = tuple(pool for pool in trace.pools if not by_pool[pool.id])
    return ProcessDump(process, liveness, pools, age, idle)


def dump_now(trace: Trace, memory: Memory | None = None) -> ProcessDump:
    """What the process of a part of a trace is doing now, or did when it last wrote."""
    (process,) = trace.processes
    life = liveness_of(process)
    return process_dump(trace, life, None if life.is_over else written_age(process), memory)


class Memory:
    """How open checkouts stood in an earlier dump: those that did not change stand so still."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Checkout, _Standing]] = {}

    def standing(self, checkout: Checkout) -> _Standing:
        """How a checkout stands, whenever that is asked."""
        known = self._known.get(checkout.id)
        if known is not None and known[0] is checkout:
            return known[1]
        standing = _standing(checkout)
        self._known[checkout.id] = checkout, standing
        return standing

    def keep(self, checkouts: Iterable[Checkout]) -> None:
        """Forget all others."""
        wanted = {checkout.id for checkout in checkouts}
        self._known = {key: known for key, known in self._known.items() if key in wanted}


class _Standing(NamedTuple):
    """What a dump says of a lent connection, but for how long it has been so.

    ``idle_since`` is ``None`` while an operation is in flight.
    """

    state: State | None
    since: float
    site: Site | None
    last: Operation | None
    idle_since: float | None
    statement: str | None
    in_transaction: bool
    blocker: str | None
    is_lost: bool


def _pool_dump(pool: Pool, checkouts: Iterable[Checkout], until: float, memory: Memory) -> PoolDump:
    held, waiting = [], []
    for checkout in checkouts:
        if checkout.granted is None:
            waiting.append(_waiting(checkout, until))
        else:
            held.append(_held(checkout, checkout.granted, until, memory.standing(checkout)))
    longest = attrgetter("seconds")
    return PoolDump(
        pool,
        tuple(sorted(held, key=longest, reverse=True)),
        tuple(sorted(waiting, key=longest, reverse=True)),
    )


def _waiting(checkout: Checkout, until: float) -> Waiting:
    last = checkout.operations[-1] if checkout.operations else None
    in_flight = last.kind if last is not None and last.ended is None else None
    return Waiting(checkout, max(until - checkout.asked, 0.0), in_flight)


def _held(checkout: Checkout, granted: float, until: float, standing: _Standing) -> Held:
    idle_since = standing.idle_since
    return Held(
        checkout=checkout,
        seconds=max(until - granted, 0.0),
        state=standing.state,
        state_seconds=max(until - standing.since, 0.0),
        site=standing.site,
        last=standing.last,
        idle_seconds=0.0 if idle_since is None else max(until - idle_since, 0.0),
        statement=standing.statement,
        in_transaction=standing.in_transaction,
        blocker=standing.blocker,
        is_lost=standing.is_lost,
    )


def _standing(checkout: Checkout) -> _Standing:
    granted = checkout.granted or 0.0
    used = [operation for operation in checkout.operations if operation.started >= granted]
    last = used[-1] if used else None
    begun = transactions(checkout, math.inf)
    state, since, site = _doing(checkout, last, granted)
    blocker = None
    wait = checkout.lock_waits[-1] if checkout.lock_waits else None
    if state is State.BUSY and wait is not None and wait.ended is None:
        state, since, blocker = State.BLOCKED, wait.started, wait.blocker or wait.session
    return _Standing(
        *(state, since, site, last),
        idle_since=granted if last is None else last.ended,
        statement=next((o.statement for o in reversed(used) if o.statement is not None), None),
        in_transaction=bool(begun) and begun[-1].ended_with is None,
        blocker=blocker,
        is_lost=state in GAPS and _is_lost(checkout.samples[-1]),
    )


def _is_lost(seen: Sample) -> bool:
    """Whether the owner was not to be seen: its task is gone, or its thread is at rest."""
    return seen.activity is Activity.IDLE or (
        seen.site is None and STATE_OF[seen.activity] is State.PARKED
    )


def _doing(
    checkout: Checkout, last: Operation | None, granted: float
) -> tuple[State | None, float, Site | None]:
    """The owner's state, since when it is so, and where."""
    if last is not None and last.ended is None:
        return State.BUSY, last.started, last.site
    gap_began = granted if last is None or last.ended is None else last.ended
    samples = [sample for sample in checkout.samples if sample.started >= gap_began]
    if not samples:
        return None, gap_began, None
    newest = samples[-1]
    state = STATE_OF[newest.activity]
    alike = takewhile(lambda sample: STATE_OF[sample.activity] is state, reversed(samples))
    return state, tuple(alike)[-1].started, newest.site
