"""How the connections of a process stand at an instant: who holds what, and who waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import STATE_OF, State, transactions

if TYPE_CHECKING:
    from poolhog.model import Checkout, Operation, OperationKind, Pool, Process, Site, Trace


LATE_S = 1.0
"""A process that runs commits at least twice as often: a commit that is older is not of now."""


class Liveness(StrEnum):
    """Whether a process still does what its dump says.

    ``silent``: there is a process of its id, which has not written for longer than it should have.
    """

    RUNNING = "running"
    SILENT = "silent"
    FINISHED = "finished"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Held:
    """A connection that is lent, and what its owner does.

    ``state`` has been so for ``state_seconds``; it is ``None`` if no sample tells yet, or none is
    taken. ``site`` is where the owner is: of a busy one where it asked for the operation, of one
    that is ready what runs instead. ``last`` is the operation in flight, or else the last one,
    which was over ``idle_seconds`` ago; ``statement`` is the latest SQL. ``in_transaction`` says
    that one was begun and is not over.
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


@dataclass(frozen=True, slots=True)
class Waiting:
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
    def is_exhausted(self) -> bool:
        """Whether the pool lends all that it may."""
        return self.pool.capacity is not None and len(self.held) >= self.pool.capacity


@dataclass(frozen=True, slots=True)
class ProcessDump:
    """A process at the last instant that its file tells of.

    ``age`` is how many seconds ago that was, of one that still runs; ``None`` if it has ended.
    """

    process: Process
    liveness: Liveness
    pools: tuple[PoolDump, ...]
    age: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether the process runs, and may have lent and taken back connections since."""
        return self.age is not None and self.age > LATE_S

    @property
    def is_minimum(self) -> bool:
        """Whether more may be lent, or may have been when it died, than is known."""
        return self.liveness is Liveness.DEAD or self.is_late or self.process.is_cut_off


def process_dump(trace: Trace, liveness: Liveness, age: float | None = None) -> ProcessDump:
    """What a process was doing when ``trace``, its part of a trace, was last written.

    That was ``age`` seconds ago, if the process still runs.
    """
    (process,) = trace.processes
    pools = (_pool_dump(pool, trace) for pool in trace.pools)
    # An engine that was disposed of goes on with a new pool: the old one is of no interest.
    shown = tuple(pool for pool in pools if pool.held or pool.waiting)
    return ProcessDump(process, liveness, shown, age)


def written_wall(process: Process) -> float:
    """The Unix time of the last instant that the process's file tells of."""
    return process.began_wall + process.written - process.began


def _pool_dump(pool: Pool, trace: Trace) -> PoolDump:
    checkouts = [checkout for checkout in trace.checkouts if checkout.pool.id == pool.id]
    held = [_held(c, c.granted, trace.until) for c in checkouts if c.granted is not None]
    waiting = [_waiting(c, trace.until) for c in checkouts if c.granted is None]
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


def _held(checkout: Checkout, granted: float, until: float) -> Held:
    used = [operation for operation in checkout.operations if operation.started >= granted]
    last = used[-1] if used else None
    begun = transactions(checkout, until)
    gap_began = granted if last is None else last.ended
    state, since, site = _doing(checkout, last, granted)
    return Held(
        checkout=checkout,
        seconds=max(until - granted, 0.0),
        state=state,
        state_seconds=max(until - since, 0.0),
        site=site,
        last=last,
        idle_seconds=0.0 if gap_began is None else max(until - gap_began, 0.0),
        statement=next((o.statement for o in reversed(used) if o.statement is not None), None),
        in_transaction=bool(begun) and begun[-1].ended_with is None,
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
