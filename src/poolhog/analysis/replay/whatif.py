"""The terms of a replay: what is to be otherwise than it was recorded, and what that makes of it.

A person names the places at which connections are to be released: by a line, a function, or all.

Chains in which something is otherwise are written anew for a simulation: what was released has been
given back meanwhile, and factors are applied.

A connection that is released before a wait is asked for again after it. The
transaction is ended before, which takes what it does on average; the gap that the wait is in
happens without a connection; then the pool is asked again, if an operation follows. If none does,
the checkout's own end comes before the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.replay.steps import AWAY, Step, StepKind

if TYPE_CHECKING:
    from array import array
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.workload import PoolTerms, Workload
    from poolhog.model import Site


class Released:
    """Writes chains anew, without a connection where it was parked at one of some places."""

    def __init__(self, steps: Steps, places: Collection[int]) -> None:
        self._steps = steps
        self._places = places
        self._ending = _mean_ending(steps)

    def chain(self, first: int) -> list[Step]:
        """The steps of a chain; it was changed if they are other ones."""
        found = list(self._steps.since(first))
        if not any(s.kind in _AT_PLACES and s.what in self._places for s in found):
            return found
        return _with_offsets(_Rewriting(found, self._places, self._ending).steps())


_AT_PLACES = frozenset([StepKind.PARK, StepKind.NEST])
_IN_GAP = frozenset(
    [
        StepKind.PARK,
        StepKind.REST,
        StepKind.RUN,
        StepKind.ANSWER,
        StepKind.SPAWN,
        StepKind.JOIN,
        StepKind.LIMIT,
    ]
)


def _mean_ending(steps: Steps) -> float:
    """What the end of a checkout takes of operations, on average."""
    kinds = np.frombuffer(steps.kinds, np.uint8)
    returned = steps.kinds.count(StepKind.RETURN)
    ending = float(np.frombuffer(steps.seconds, np.float64)[kinds == StepKind.FINISH].sum())
    return ending / returned if returned else 0.0


class _Rewriting:
    """One chain; ``held`` are the askings for what it has, ``given`` those it gave back early.

    ``asked`` are those of which the return has not come, in order.
    """

    def __init__(self, steps: Sequence[Step], places: Collection[int], ending: float) -> None:
        self._old = steps
        self._places = places
        self._ending = ending
        self._held: list[Step] = []
        self._given: list[Step] = []
        self._beside: list[int] = []
        self._asked: list[Step] = []
        self._otherwise: dict[int, tuple[list[Step], list[Step], list[int], list[Step]]] = {}

    def steps(self) -> Iterator[Step]:
        """The new steps."""
        index = 0
        while index < len(self._old):
            step = self._old[index]
            if index in self._otherwise:
                yield Step(StepKind.MISS, 0.0, index)
                yield from self._missed(index)
            if step.kind is StepKind.ELSE:
                target = index + step.what
                state = self._held[:], self._given[:], self._beside[:], self._asked[:]
                self._otherwise[target] = state
                yield Step(StepKind.ELSE, 0.0, target)
                index += 1
                continue
            is_released = step.kind in _AT_PLACES and step.what in self._places and self._held
            if is_released and step.kind is StepKind.PARK:
                end = self._end_of_gap(index)
                yield from self._give_back(end)
                yield from map(_away, self._old[index:end])
                yield from self._ask_again(end)
                index = end
                continue
            if is_released:
                yield from self._give_back(index + 1)
                self._beside.append(len(self._held))
                self._held.append(step)
            else:
                yield from self._step(step, index)
            index += 1

    def _step(self, step: Step, index: int) -> Iterator[Step]:
        if step.kind is StepKind.ASK:
            self._held.append(step)
            self._asked.append(step)
        elif step.kind is StepKind.RETURN:
            if self._returned(step.what):
                return
            yield step
            if self._beside and len(self._held) == self._beside[-1] + 1:
                del self._held[self._beside.pop()]
                yield from self._ask_again(index + 1)
            return
        elif step.kind is StepKind.FINISH and not self._held:
            return  # it was done when the connection was given back
        yield step

    def _missed(self, index: int) -> Iterator[Step]:
        """Go on from where a connection was asked for that is not there."""
        self._held, self._given, self._beside, self._asked = self._otherwise.pop(index)
        if self._beside and len(self._held) == self._beside[-1] + 1:
            del self._held[self._beside.pop()]
            yield from self._ask_again(index)

    def _end_of_gap(self, index: int) -> int:
        """The first step that is not in the gap: an operation, an asking, a return."""
        while self._old[index].kind in _IN_GAP:
            step = self._old[index]
            if step.kind is StepKind.PARK and step.what not in self._places:
                break
            index += 1
        return index

    def _give_back(self, after: int) -> Iterator[Step]:
        """End the transactions and return all that is held.

        If nothing is to follow, it is the checkout's own end that comes first; else one more.
        """
        lent = [step for step in self._held if step.kind is StepKind.ASK]
        for asked in reversed(lent):
            own = 0.0
            if not self._has_operation(asked.what, after):
                own = self._own_ending(asked.what, after)
            yield Step(StepKind.FINISH, own or self._ending)
            yield Step(StepKind.RETURN, 0.0, asked.what)
        self._given += lent
        self._held = [step for step in self._held if step.kind is not StepKind.ASK]

    def _ask_again(self, after: int) -> Iterator[Step]:
        """Ask for what was given back, as far as something is done with it later."""
        still = []
        for asked in self._given:
            if self._has_operation(asked.what, after):
                self._held.append(asked)
                yield asked
            else:
                still.append(asked)
        self._given[:] = still

    def _until_return(self, pool: int, after: int) -> Iterator[Step]:
        """The steps of a checkout from there on, without those of others inside of it."""
        depth = 0
        for step in self._old[after:]:
            if step.kind is StepKind.STOP:
                return
            if step.what == pool and step.kind in (StepKind.ASK, StepKind.RETURN):
                depth += 1 if step.kind is StepKind.ASK else -1
                if depth < 0:
                    return
            if not depth:
                yield step

    def _own_ending(self, pool: int, after: int) -> float:
        return sum(s.seconds for s in self._until_return(pool, after) if s.kind is StepKind.FINISH)

    def _has_operation(self, pool: int, after: int) -> bool:
        return any(step.kind is StepKind.BUSY for step in self._until_return(pool, after))

    def _returned(self, pool: int) -> bool:
        """Forget what was asked for last, which is returned first; whether it was given back."""
        own = [asked for asked in self._asked if asked.what == pool]
        if not own:
            return False
        is_given = any(asked is own[-1] for asked in self._given)
        for askings in (self._asked, self._given, self._held):
            askings[:] = [asked for asked in askings if asked is not own[-1]]
        return is_given


def _with_offsets(steps: Iterable[Step]) -> list[Step]:
    """The steps, in which an ``ELSE`` tells a ``MISS`` by its number, as they are written."""
    new: list[Step] = []
    waiting: dict[int, int] = {}
    for step in steps:
        if step.kind is StepKind.MISS:
            place = waiting.pop(step.what)
            new[place] = step._replace(kind=StepKind.ELSE, what=len(new) - place)
            continue
        if step.kind is StepKind.ELSE:
            waiting[step.what] = len(new)
        new.append(step)
    return new


def _away(step: Step) -> Step:
    return Step(StepKind.REST, step.seconds, AWAY) if step.kind is StepKind.PARK else step


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is to be otherwise; what is not said stays as it was recorded.

    ``release`` are numbers of the workload's places: what was parked there happens without a
    connection. ``pool_size``, ``max_overflow`` and ``pool_timeout`` (seconds) are of every pool,
    ``workers`` the processes. ``rate`` is how many times as many requests come per second,
    ``external_latency`` how many times as long everything takes that is neither the database nor
    Python. ``users`` send one request after the other (a closed loop), with ``think`` seconds
    between an answer and the next; without, requests come when they came. ``pauses`` are what users
    took at least, one after the other, as it was recorded.
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
    pauses: tuple[float, ...] = ()

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
class StepProgram:
    """Steps to be simulated, and where each chain begins in them."""

    kinds: bytearray
    seconds: array[float]
    whats: array[int]
    first: array[int]


def program(workload: Workload, terms: WhatIf) -> StepProgram:
    """The workload's steps under these terms: most are as they were, and are not looked at."""
    steps, first = workload.steps, workload.chains.first
    factor = terms.external_latency
    if not terms.release and factor == 1.0:
        return StepProgram(steps.kinds, steps.seconds, steps.whats, first)
    made = StepProgram(steps.kinds[:], steps.seconds[:], steps.whats[:], first[:])
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


def _write(steps: Iterable[Step], made: StepProgram, factor: float) -> None:
    """Add steps; what is neither the database nor Python takes so many times as long."""
    for kind, seconds, what in steps:
        is_external = kind is StepKind.PARK or (kind is StepKind.REST and what == AWAY)
        made.kinds.append(kind)
        made.seconds.append(seconds * factor if is_external else seconds)
        made.whats.append(what)


ALL = "all"


class ParkedLine(NamedTuple):
    """A line at which connections were parked: for so many seconds, at these places."""

    site: Site
    seconds: float
    places: frozenset[int]

    @property
    def name(self) -> str:
        """What it is called, such as ``/srv/notes.py:44``."""
        return f"{self.site.file}:{self.site.line}"


def lines(workload: Workload) -> list[ParkedLine]:
    """The lines at which connections were parked, the one with the most seconds first."""
    steps = workload.steps
    is_parked = np.frombuffer(steps.kinds, np.uint8) == StepKind.PARK
    place = np.frombuffer(steps.whats, np.int32)[is_parked]
    lasted = np.frombuffer(steps.seconds, np.float64)[is_parked]
    seconds = np.bincount(place, lasted, len(workload.places)).tolist()
    found: dict[tuple[str, int], ParkedLine] = {}
    for number, site in enumerate(workload.places):
        if site is None:
            continue
        key = site.file, site.line
        known = found.get(key, ParkedLine(site, 0.0, frozenset()))
        found[key] = ParkedLine(
            known.site, known.seconds + seconds[number], known.places | frozenset([number])
        )
    return sorted(found.values(), key=lambda line: (-line.seconds, line.name))


def places_at(known: list[ParkedLine], text: str) -> frozenset[int]:
    """The places that a text means: ``all``, a file and a line, or a function; none if unknown.

    Of a file, the end of its path is enough.
    """
    return frozenset(place for line in known if _means(text, line) for place in line.places)


def _means(text: str, line: ParkedLine) -> bool:
    if text == ALL:
        return True
    if text in (line.site.function, line.site.name):
        return True
    name = line.name.replace("\\", "/")
    return name == text or name.endswith(f"/{text.removeprefix('./').replace(chr(92), '/')}")
