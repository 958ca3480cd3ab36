"""Completes chains: what is not known of one is taken from another that is like it.

An asking that was given up has two outcomes in a replay. If it is given up again, its chain goes on
as it was recorded. If it gets a connection, it does with it what another asking from the same line
did: its donor. Of a request, all that follows is the donor's, or that of the same request's next
attempt. Of an owner without a request, only the use is: what follows is other work.

A timeout of a single call is not in the trace. It is seen where the call waited in vain for less
than the pool's own, and holds for all askings from that line.

A chain that was not recorded to its end goes on as the next of its route did.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.replay.steps import Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.workload import Chains, PoolTerms

_LESS = 0.95
"""A wait in vain for less than this part of the pool's timeout had a timeout of its own."""

_MOST_TRIED = 8
"""Donors that are looked at, on either side, for one that holds as many connections."""

_MOST_STEPS = 10_000
"""A chain that is longer than this gets no attempts of its own for donors."""


class Completing:
    """Completes the chains of a workload; ``askings`` numbers the lines of all ``ASK`` in order.

    ``unfinished`` chains were not recorded to their end. ``unknown`` askings timed out, and have no
    donor.
    """

    def __init__(
        self, chains: Chains, steps: Steps, askings: Sequence[int], pools: Sequence[PoolTerms]
    ) -> None:
        self._chains = chains
        self._steps = steps
        self._pools = pools
        self._first = list(chains.first)  # as chains were recorded
        kinds = np.frombuffer(bytes(steps.kinds), np.uint8)
        self._asks = np.flatnonzero(kinds == StepKind.ASK)
        self._lines = np.array(askings, np.int64)
        # What follows an asking at once is that it was given up, if it was.
        self._is_missed = kinds[np.minimum(self._asks + 1, len(kinds) - 1)] == StepKind.MISS
        self._timeouts = self._timeouts_of_calls()
        self.unfinished = 0
        self.unknown = 0

    def complete(self) -> None:
        """Complete them all."""
        chains = self._chains
        if self._is_missed.any():
            self._donors = self._all_donors()
            for number in self._concerned().tolist():
                first = len(self._steps)
                self._steps.extend(self._completed(number))
                chains.first[number] = first
        if 0 in chains.is_whole:
            self._continue()

    def _timeouts_of_calls(self) -> dict[int, float]:
        """The timeouts of askings that are not the pool's, by line."""
        waits: dict[int, list[float]] = defaultdict(list)
        steps = self._steps
        for ask, line in zip(
            self._asks[self._is_missed].tolist(), self._lines[self._is_missed].tolist(), strict=True
        ):
            timeout = self._pools[steps.whats[ask]].timeout
            waited = steps.seconds[ask + 1]
            is_own = timeout is None or waited < _LESS * timeout
            if steps.whats[ask + 1] == TIMED_OUT and is_own:
                waits[line].append(waited)
        return {line: median(found) for line, found in waits.items()}

    def _concerned(self) -> Numbers:
        """The chains in which an asking was given up, or may be after a timeout of its own."""
        is_concerned = self._is_missed | np.isin(self._lines, list(self._timeouts))
        return np.unique(self._chain_of(self._asks[is_concerned]))

    def _chain_of(self, indexes: Numbers) -> Numbers:
        """The chains that these steps are of."""
        first = np.array(self._first)
        order = np.argsort(first, kind="stable")
        found: Numbers = order[np.searchsorted(first[order], indexes, "right") - 1]
        return found

    def _all_donors(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """The askings that got a connection, by route and line: each chain with its ``ASK``."""
        missed_at = set(self._lines[self._is_missed].tolist())
        found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        chosen = np.flatnonzero(~self._is_missed & np.isin(self._lines, list(missed_at)))
        asks = self._asks[chosen]
        for ask, chain, line in zip(
            asks.tolist(), self._chain_of(asks).tolist(), self._lines[chosen].tolist(), strict=True
        ):
            if self._chains.is_whole[chain]:
                found[self._chains.route[chain], line].append((chain, ask))
                found[_ANY, line].append((chain, ask))
        for each in found.values():
            each.sort()
        return found

    def _line_of(self, ask: int) -> int:
        return int(self._lines[np.searchsorted(self._asks, ask)])

    def _completed(self, number: int, begin: int | None = None) -> list[Step]:
        """The steps of a chain, or of its part that begins there, with both outcomes of askings."""
        first = self._first[number]
        index = first if begin is None else begin
        own = list(self._steps.since(index))
        new: list[Step] = []
        for at, step in enumerate(own):
            if step.kind is not StepKind.ASK:
                if step.kind not in (StepKind.MISS, StepKind.LIMIT):
                    new.append(step)
                continue
            ask = index + at
            missed = own[at + 1] if own[at + 1].kind is StepKind.MISS else None
            new += self._patience(ask, missed)
            if missed is None:
                new.append(step)
                continue
            following = self._with_connection(number, ask, len(new))
            new.append(Step(StepKind.ELSE, 0.0, len(following) + 2))
            new += [step, *following]
        return new

    def _patience(self, ask: int, missed: Step | None) -> Iterator[Step]:
        """How long this asking waits, if that is not for the pool's timeout."""
        if missed is not None and missed.what == GAVE_UP:
            yield Step(StepKind.LIMIT, missed.seconds)
        timeout = self._timeouts.get(self._line_of(ask))
        if missed is not None and missed.what == TIMED_OUT and timeout is not None:
            yield Step(StepKind.TIMEOUT, missed.seconds)
        elif timeout is not None:
            yield Step(StepKind.TIMEOUT, timeout)

    def _with_connection(self, number: int, ask: int, length: int) -> list[Step]:
        """What follows if an asking that was given up gets a connection."""
        chains = self._chains
        is_request = bool(chains.is_request[number])
        if is_request and length < _MOST_STEPS:
            again = self._next_attempt(number, ask)
            if again is not None:
                return _stopped(self._completed(number, again + 1))
        donor = self._donor(number, ask)
        pool = self._steps.whats[ask]
        if donor is None:
            self.unknown += self._steps.whats[ask + 1] == TIMED_OUT
            return [Step(StepKind.RETURN, 0.0, pool)]
        chain, granted = donor
        tail = list(self._steps.since(granted + 1))
        is_alike = self._held(chain, granted) == self._held(number, ask)
        if not is_request or not chains.is_request[chain] or not is_alike:
            return _without_missed(_use(tail, pool))
        return _stopped(self._answering(number, ask, _without_missed(tail)))

    def _next_attempt(self, number: int, ask: int) -> int | None:
        """The next asking of the chain from the same line that got a connection."""
        end = self._first[number]
        end += sum(1 for _ in self._steps.since(end))
        at = int(np.searchsorted(self._asks, ask))
        held = self._held(number, ask)
        for other in range(at + 1, int(np.searchsorted(self._asks, end))):
            found = int(self._asks[other])
            is_same = self._lines[other] == self._lines[at] and not self._is_missed[other]
            if is_same and self._held(number, found) == held:
                return found
        return None

    def _donor(self, number: int, ask: int) -> tuple[int, int] | None:
        """The next one, or else the one before, that holds as much; any if none does."""
        line, route = self._line_of(ask), self._chains.route[number]
        some = self._donors.get((route, line)) or self._donors.get((_ANY, line))
        if not some:
            return None
        after = bisect_left(some, (number, ask))
        near = [
            *some[after : after + _MOST_TRIED],
            *some[max(after - _MOST_TRIED, 0) : after][::-1],
        ]
        held = self._held(number, ask)
        return next((one for one in near if self._held(*one) == held), near[0])

    def _held(self, number: int, ask: int) -> Counter[int]:
        """The connections that a chain holds when it asks, by pool."""
        steps, held = self._steps, Counter[int]()
        for index in range(self._first[number], ask):
            kind = steps.kinds[index]
            if kind == StepKind.ASK and steps.kinds[index + 1] != StepKind.MISS:
                held[steps.whats[index]] += 1
            elif kind == StepKind.RETURN:
                held[steps.whats[index]] -= 1
        return +held

    def _answering(self, number: int, ask: int, tail: list[Step]) -> list[Step]:
        """The tail with one answer, if there was none before."""
        first = self._first[number]
        is_answered = self._steps.kinds.find(StepKind.ANSWER, first, ask) >= 0
        has_answer = any(step.kind is StepKind.ANSWER for step in tail)
        if is_answered and has_answer:
            return [step for step in tail if step.kind is not StepKind.ANSWER]
        if not is_answered and not has_answer:
            return [*tail[:-1], Step(StepKind.ANSWER), tail[-1]]
        return tail

    def _continue(self) -> None:
        """Let chains that were not recorded to their end go on as the next of their route did."""
        chains = self._chains
        following: dict[int, int] = {}
        donors: dict[int, int] = {}
        for number in reversed(range(len(chains))):
            if chains.is_whole[number]:
                following[chains.route[number]] = number
            elif chains.route[number] in following:
                donors[number] = following[chains.route[number]]
        latest: dict[int, int] = {}
        for number in range(len(chains)):
            route = chains.route[number]
            if chains.is_whole[number]:
                if chains.arrived[number] < math.inf:
                    latest[route] = number
                continue
            self.unfinished += 1
            donor = donors.get(number, latest.get(route))
            if donor is not None:
                chains.first[number] = chains.first[donor]


_ANY = -1

TIMED_OUT, GAVE_UP, WAITING = range(3)
"""How an asking ended that got no connection: the ``what`` of a ``MISS``."""


def _stopped(steps: Sequence[Step]) -> list[Step]:
    """The steps, at whose end their task is over though steps of the other outcome follow."""
    return [*steps[:-1], Step(StepKind.STOP)]


def _use(tail: Sequence[Step], pool: int) -> list[Step]:
    """What was done with the connection that was just lent, up to its return."""
    depth = 0
    for index, step in enumerate(tail):
        is_next_missed = index + 1 < len(tail) and tail[index + 1].kind is StepKind.MISS
        if step.kind is StepKind.ASK and step.what == pool and not is_next_missed:
            depth += 1
        elif step.kind is StepKind.RETURN and step.what == pool:
            depth -= 1
            if depth < 0:
                return [s for s in tail[: index + 1] if s.kind not in _OF_CHAIN]
    return [Step(StepKind.RETURN, 0.0, pool)]


_OF_CHAIN = frozenset([StepKind.ANSWER, StepKind.SPAWN, StepKind.JOIN, StepKind.END])


def _without_missed(tail: Sequence[Step]) -> list[Step]:
    """A donor's steps without its own askings that were given up."""
    is_missed = [step.kind is StepKind.MISS for step in tail[1:]] + [False]
    dropped = StepKind.MISS, StepKind.LIMIT
    return [
        step
        for step, missed in zip(tail, is_missed, strict=True)
        if not (missed and step.kind is StepKind.ASK) and step.kind not in dropped
    ]
