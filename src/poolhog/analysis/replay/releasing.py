"""What if a connection were given back before a wait, and asked for again after it.

The transaction is ended before, which takes what it does on average; the gap that the wait is in
happens without a connection; then the pool is asked again, if an operation follows. If none does,
the checkout's own end comes before the gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.replay.steps import AWAY, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from poolhog.analysis.replay.steps import Steps


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
        return list(_Rewriting(found, self._places, self._ending).steps())


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
    """One chain; ``held`` are the askings for what it has, ``given`` those it gave back early."""

    def __init__(self, steps: Sequence[Step], places: Collection[int], ending: float) -> None:
        self._old = steps
        self._places = places
        self._ending = ending
        self._held: list[Step] = []
        self._given: list[Step] = []
        self._beside: list[int] = []

    def steps(self) -> Iterator[Step]:
        """The new steps."""
        index = 0
        while index < len(self._old):
            step = self._old[index]
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
        elif step.kind is StepKind.RETURN:
            if self._forget(self._given, step.what):
                return
            self._forget(self._held, step.what)
            yield step
            if self._beside and len(self._held) == self._beside[-1] + 1:
                del self._held[self._beside.pop()]
                yield from self._ask_again(index + 1)
            return
        elif step.kind is StepKind.FINISH and not self._held:
            return  # it was done when the connection was given back
        yield step

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

    def _forget(self, askings: list[Step], pool: int) -> bool:
        for index in reversed(range(len(askings))):
            if askings[index].kind is StepKind.ASK and askings[index].what == pool:
                del askings[index]
                return True
        return False


def _away(step: Step) -> Step:
    return Step(StepKind.REST, step.seconds, AWAY) if step.kind is StepKind.PARK else step
