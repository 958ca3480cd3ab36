"""The terms of a replay: what is to be otherwise than it was recorded, and what that makes of it.

Steps are written anew for a simulation: what was released has been given back meanwhile, factors
are applied, and what needs no event of its own is put together.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from poolhog.analysis.replay.compiling import AWAY
from poolhog.analysis.replay.releasing import Released
from poolhog.analysis.replay.steps import Kind, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.workload import PoolTerms, Workload


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is to be otherwise; what is not said stays as it was recorded.

    ``release`` are numbers of the workload's places: what was parked there happens without a
    connection. ``pool_size``, ``max_overflow`` and ``pool_timeout`` (seconds) are of every pool,
    ``workers`` the processes. ``rate`` is how many times as many requests come per second,
    ``external_latency`` how many times as long everything takes that is neither the database nor
    Python. ``users`` send one request after the other (a closed loop), with ``think`` seconds
    between an answer and the next; without, requests come when they came.
    """

    release: frozenset[int] = frozenset()
    pool_size: int | None = None
    max_overflow: int | None = None
    pool_timeout: float | None = None
    workers: int | None = None
    rate: float = 1.0
    external_latency: float = 1.0
    users: int | None = None
    think: float = 0.0

    def of(self, pool: PoolTerms) -> PoolTerms:
        """The pool under these terms; one without a size keeps none."""
        size, overflow = pool.size, pool.max_overflow
        if size is not None and not pool.is_unpooled:
            size = self.pool_size if self.pool_size is not None else size
            overflow = self.max_overflow if self.max_overflow is not None else overflow
        timeout = self.pool_timeout if self.pool_timeout is not None else pool.timeout
        return replace(pool, size=size, max_overflow=overflow, timeout=timeout)


AS_IT_WAS = WhatIf()


@dataclass(slots=True)
class Program:
    """Steps to be simulated, and where each chain begins in them."""

    kinds: bytearray
    seconds: array[float]
    whats: array[int]
    first: array[int]


def program(workload: Workload, terms: WhatIf) -> Program:
    """The workload's steps under these terms."""
    steps, chains = workload.steps, workload.chains
    released = Released(steps, terms.release) if terms.release else None
    made = Program(bytearray(), array("d"), array("i"), array("q"))
    factor = terms.external_latency
    known: dict[int, int] = {}
    for first in chains.first:
        at = known.get(first)
        if at is None:
            at = known[first] = len(made.kinds)
            if released is None:
                _copy(steps, first, made, factor)
            else:
                _write(released.chain(first), made, factor)
        made.first.append(at)
    return made


def _copy(steps: Steps, first: int, made: Program, factor: float) -> None:
    """A chain as it is; delays that follow one another are one."""
    kinds, seconds, whats = steps.kinds, steps.seconds, steps.whats
    to_kinds, to_seconds, to_whats = made.kinds, made.seconds, made.whats
    delay = 0.0
    index = first
    while True:
        kind = kinds[index]
        if 2 <= kind <= 5:
            if factor != 1.0 and (kind == 3 or (kind == 2 and whats[index] == AWAY)):
                delay += seconds[index] * factor
            else:
                delay += seconds[index]
        elif kind != 12:
            if delay:
                to_kinds.append(2)
                to_seconds.append(delay)
                to_whats.append(0)
                delay = 0.0
            to_kinds.append(kind)
            to_seconds.append(seconds[index])
            to_whats.append(whats[index])
            if kind == 0:
                return
        index += 1


def _write(steps: Iterable[Step], made: Program, factor: float) -> None:
    """The same of steps that were made anew."""
    delay = 0.0
    for kind, seconds, what in steps:
        if kind in _DELAYS:
            is_external = kind is Kind.PARK or (kind is Kind.REST and what == AWAY)
            delay += seconds * factor if is_external else seconds
        elif kind is not Kind.NEST:
            if delay:
                made.kinds.append(Kind.REST)
                made.seconds.append(delay)
                made.whats.append(0)
                delay = 0.0
            made.kinds.append(kind)
            made.seconds.append(seconds)
            made.whats.append(what)


_DELAYS = frozenset([Kind.REST, Kind.PARK, Kind.BUSY, Kind.FINISH])
