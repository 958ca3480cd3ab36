"""Conditions under which a comparison fails: new findings, a limit, or a change of a measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.compare.comparison import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.compare.comparison import Change, Comparison
    from poolhog.analysis.compare.measures import Measure


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, with the ``text`` that asked for it; without a ``measure``, of new findings.

    ``limit`` is in seconds, a share or a rate. If the condition ``is_relative``, it is a part of
    the first run's value, and then the change also has to be larger than the spread.
    """

    text: str
    measure: Measure | None = None
    is_less: bool = False
    is_relative: bool = False
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Whether a condition holds, and the change that it is about, if both runs tell of it.

    ``is_uncertain``: it would hold, but the change is not known to be larger than the spread.
    """

    condition: Condition
    holds: bool
    change: Change | None = None
    is_uncertain: bool = False


def results(comparison: Comparison, wanted: Iterable[Condition]) -> Iterator[ConditionResult]:
    """Whether each condition holds for all compared routes together."""
    for condition in wanted:
        yield _result(comparison, condition)


def _result(comparison: Comparison, condition: Condition) -> ConditionResult:
    if condition.measure is None:
        return ConditionResult(condition, bool(comparison.found(Verdict.NEW)))
    if not comparison.total.changes:
        return ConditionResult(condition, _holds_alone(comparison, condition))
    change = comparison.total.change(condition.measure.name)
    value = change.relative if condition.is_relative else change.after.whole
    # To the last digit that is told: -0.1 is 10 % less also in binary.
    beyond = value - condition.limit
    holds = beyond < -_NOTHING if condition.is_less else beyond > _NOTHING
    if not condition.is_relative or not holds:
        return ConditionResult(condition, holds, change)
    is_tiny = abs(change.difference) < change.measure.least
    is_certain = (change.is_certain or change.verdict is None) and not is_tiny
    return ConditionResult(condition, is_certain, change, not is_certain)


_NOTHING = 1e-9


def _holds_alone(comparison: Comparison, condition: Condition) -> bool:
    """Where one of the runs has nothing: only what the second one comes to can be told."""
    measure = condition.measure
    if measure is None or condition.is_relative or not comparison.total.after.units:
        return False
    value = measure.of(comparison.total.after).whole
    return value < condition.limit if condition.is_less else value > condition.limit
