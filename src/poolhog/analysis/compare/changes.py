"""A measure of two runs, and whether it changed by more than each run differs from itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from poolhog.analysis.compare.measures import ALPHA, Range, least_probability

if TYPE_CHECKING:
    from poolhog.analysis.compare.measures import Measure, Value

LEAST_CHANGE = 0.10
"""Part of the first run's value: a smaller change is none, however certain it is."""

APART = 3.0
"""So many times as much is far beyond."""

LEAST_PARTS = 4
"""Of fewer, half may be beyond those of the other run by chance."""


class Verdict(StrEnum):
    """What became of something from the first run to the second."""

    NEW = "new"
    GONE = "gone"
    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    TOO_FEW = "too few to tell"
    NOT_CALLED = "not called"


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of both runs. ``probability`` is that of such a difference by chance.

    It is ``None`` if there are too few parts to tell. ``verdict`` is ``None`` for what has no
    spread. ``is_certain`` says whether the difference is larger than the spread; a verdict also
    asks for its size.
    """

    measure: Measure
    before: Value
    after: Value
    probability: float | None
    verdict: Verdict | None = None
    is_certain: bool = False

    @property
    def difference(self) -> float:
        """How much more it is in the second run."""
        return self.after.whole - self.before.whole

    @property
    def relative(self) -> float:
        """The same as a part of the first run's value."""
        if self.difference == 0.0:
            return 0.0
        if self.before.whole == 0.0:
            return math.copysign(math.inf, self.difference)
        return self.difference / self.before.whole

    @property
    def is_worse(self) -> bool:
        """Which way it went, if it went anywhere."""
        return (self.difference > 0.0) is self.measure.is_less_better

    @property
    def matters(self) -> bool:
        """Whether it is large enough to be told."""
        return abs(self.difference) >= self.measure.least and abs(self.relative) >= LEAST_CHANGE

    @property
    def is_apart(self) -> bool:
        """Whether at least half of the parts of one run are far beyond all parts of the other.

        Where requests come in waves, the others may be as quick as any: ranks alone do not tell
        that half of the run was slow.
        """
        ones, others = self.before.parts, self.after.parts
        if min(len(ones), len(others)) < LEAST_PARTS:
            return False
        high, low = (ones, others) if self.difference < 0.0 else (others, ones)
        beyond = APART * max(low) + self.measure.least
        return sum(value > beyond for value in high) * 2 >= len(high)

    @property
    def ranges(self) -> tuple[Range | None, Range | None]:
        """Between which values the parts of both runs are."""
        return Range.of(self.before.parts), Range.of(self.after.parts)

    def judged(self, limit_: float, tests: int) -> Change:
        """With a verdict, if chances up to a limit are none, of so many tests."""
        if not (self.before.parts or self.after.parts):
            return self
        is_certain = self.is_apart
        if self.probability is not None and _least(self) * tests <= ALPHA:
            is_certain |= self.probability <= limit_
        elif not is_certain:
            return replace(self, verdict=Verdict.TOO_FEW)
        news = Verdict.WORSE if self.is_worse else Verdict.BETTER
        verdict = news if is_certain and self.matters else Verdict.SAME
        return replace(self, verdict=verdict, is_certain=is_certain)


def _least(change: Change) -> float:
    return least_probability(len(change.before.parts), len(change.after.parts))
