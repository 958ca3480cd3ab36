"""The terms of a replay: what is to be otherwise than it was recorded, and what that makes of it.

A person names the places at which connections are to be released: by a line, a function, or all.

Chains in which something is otherwise are written anew for a simulation: what was released has been
given back meanwhile, and factors are applied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.replay.releasing import Released
from poolhog.analysis.replay.steps import AWAY, Step, StepKind

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.workload import PoolTerms, Workload
    from poolhog.model import Site


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
    """The workload's steps under these terms: most are as they were, and are not looked at."""
    steps, first = workload.steps, workload.chains.first
    factor = terms.external_latency
    if not terms.release and factor == 1.0:
        return Program(steps.kinds, steps.seconds, steps.whats, first)
    made = Program(steps.kinds[:], steps.seconds[:], steps.whats[:], first[:])
    released = Released(steps, terms.release)
    written: dict[int, int] = {}
    changed = _changed(steps, np.array(first), terms)
    for number in changed.tolist():
        begun = first[number]
        if begun not in written:
            written[begun] = len(made.kinds)
            _write(released.chain(begun), made, factor)
        made.first[number] = written[begun]
    return made


def _changed(steps: Steps, first: Numbers, terms: WhatIf) -> Numbers:
    """The chains in which something may be otherwise."""
    kinds = np.frombuffer(steps.kinds, np.uint8)
    whats = np.frombuffer(steps.whats, np.int32)
    is_at_place = (kinds == StepKind.PARK) | (kinds == StepKind.NEST)
    is_other = is_at_place & np.isin(whats, list(terms.release))
    if terms.external_latency != 1.0:
        is_other |= (kinds == StepKind.PARK) | ((kinds == StepKind.REST) & (whats == AWAY))
    # The steps of a chain end with an END.
    before = np.append([0], np.cumsum(is_other))
    ends = np.flatnonzero(kinds == StepKind.END)
    end = ends[np.searchsorted(ends, first)]
    return np.flatnonzero(before[end] > before[first])


def _write(steps: Iterable[Step], made: Program, factor: float) -> None:
    """Add steps; what is neither the database nor Python takes so many times as long."""
    for kind, seconds, what in steps:
        is_external = kind is StepKind.PARK or (kind is StepKind.REST and what == AWAY)
        made.kinds.append(kind)
        made.seconds.append(seconds * factor if is_external else seconds)
        made.whats.append(what)


ALL = "all"


class Line(NamedTuple):
    """A line at which connections were parked: for so many seconds, at these places."""

    site: Site
    seconds: float
    places: frozenset[int]

    @property
    def name(self) -> str:
        """What it is called, such as ``/srv/notes.py:44``."""
        return f"{self.site.file}:{self.site.line}"


def lines(workload: Workload) -> list[Line]:
    """The lines at which connections were parked, the one with the most seconds first."""
    steps = workload.steps
    is_parked = np.frombuffer(steps.kinds, np.uint8) == StepKind.PARK
    place = np.frombuffer(steps.whats, np.int32)[is_parked]
    lasted = np.frombuffer(steps.seconds, np.float64)[is_parked]
    seconds = np.bincount(place, lasted, len(workload.places)).tolist()
    found: dict[tuple[str, int], Line] = {}
    for number, site in enumerate(workload.places):
        if site is None:
            continue
        key = site.file, site.line
        known = found.get(key, Line(site, 0.0, frozenset()))
        found[key] = Line(
            known.site, known.seconds + seconds[number], known.places | frozenset([number])
        )
    return sorted(found.values(), key=lambda line: (-line.seconds, line.name))


def places_at(known: list[Line], text: str) -> frozenset[int]:
    """The places that a text means: ``all``, a file and a line, or a function; none if unknown.

    Of a file, the end of its path is enough.
    """
    return frozenset(place for line in known if _means(text, line) for place in line.places)


def _means(text: str, line: Line) -> bool:
    if text == ALL:
        return True
    if text in (line.site.function, line.site.name):
        return True
    name = line.name.replace("\\", "/")
    return name == text or name.endswith(f"/{text.removeprefix('./').replace(chr(92), '/')}")
