"""Conditions under which a comparison fails, such as ``new-findings`` or ``wait-p95>50ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.comparison import Verdict
from poolhog.analysis.measures import MEASURES, Unit
from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.analysis.comparison import Change, Comparison

NEW_FINDINGS = "new-findings"
NEVER = "never"

_FACTORS = {
    Unit.SECONDS: {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    Unit.SHARE: {"": 1.0, "%": 0.01},
    Unit.RATE: {"": 1.0, "/s": 1.0},
}
_NAMES = {measure.name: measure for measure in MEASURES} | {
    "requests-per-second": next(m for m in MEASURES if m.unit is Unit.RATE)
}
_FORM = re.compile(r"([a-z0-9-]+)\s*([<>])\s*([+-]?)\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|µs|us|ms|s|/s)?")
_COMMON = frozenset(["s", "ms", "%", "/s"])
_EXAMPLES = "such as parked>+10% or wait-p95>50ms"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it was given; without a ``measure``, it is about new findings.

    ``limit`` is in seconds, a share or a rate; if it ``is_relative``, a part of the first run's
    value, and then the change also has to be larger than the spread.
    """

    text: str
    measure: str | None = None
    is_less: bool = False
    is_relative: bool = False
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a condition holds, and the change that it is about, if both runs tell of it.

    ``is_uncertain``: it would hold, but the change is not known to be larger than the spread.
    """

    condition: Condition
    holds: bool
    change: Change | None = None
    is_uncertain: bool = False


def conditions(given: Iterable[str]) -> tuple[Condition, ...]:
    """The conditions of options, each of which may have several with commas between them.

    None if ``never`` is all that is asked for. Raises :class:`poolhog.PoolhogError` for what is no
    condition.
    """
    texts = [part.strip() for text in given for part in text.split(",") if part.strip()]
    found = tuple(_condition(text) for text in dict.fromkeys(texts) if text != NEVER)
    if found and NEVER in texts:
        raise PoolhogError(f"--fail-on {NEVER} stands alone: leave it or the conditions out")
    if not texts:
        raise PoolhogError(f"--fail-on expects conditions: {_there_are()}")
    return found


def answers(comparison: Comparison, wanted: Iterable[Condition]) -> Iterator[Answer]:
    """What the conditions come to, of all routes that are compared."""
    for condition in wanted:
        yield _answer(comparison, condition)


def _answer(comparison: Comparison, condition: Condition) -> Answer:
    if condition.measure is None:
        return Answer(condition, bool(comparison.found(Verdict.NEW)))
    if not comparison.total.changes:
        return Answer(condition, _holds_alone(comparison, condition))
    change = comparison.total.change(condition.measure)
    value = change.relative if condition.is_relative else change.after.whole
    # To the last digit that is told: -0.1 is 10 % less also in binary.
    beyond = value - condition.limit
    holds = beyond < -_NOTHING if condition.is_less else beyond > _NOTHING
    if not condition.is_relative or not holds:
        return Answer(condition, holds, change)
    is_tiny = abs(change.difference) < change.measure.least
    is_certain = (change.is_certain or change.verdict is None) and not is_tiny
    return Answer(condition, is_certain, change, not is_certain)


_NOTHING = 1e-9


def _holds_alone(comparison: Comparison, condition: Condition) -> bool:
    """Where one of the runs has nothing: only what the second one comes to can be told."""
    if condition.is_relative or not comparison.total.after.units:
        return False
    value = _NAMES[condition.measure or ""].of(comparison.total.after).whole
    return value < condition.limit if condition.is_less else value > condition.limit


def _condition(text: str) -> Condition:
    if text == NEW_FINDINGS:
        return Condition(text)
    form = _FORM.fullmatch(text)
    if form is None:
        raise PoolhogError(f"--fail-on {text}: {_there_are()}")
    name, sign, plus, number, unit = form.groups(default="")
    if name not in _NAMES:
        raise PoolhogError(f"--fail-on {text}: {name} is no measure: {_there_are()}")
    measure = _NAMES[name]
    is_less, is_relative = sign == "<", bool(plus)
    if is_relative and unit != "%":
        raise PoolhogError(f"--fail-on {text}: a change is told in percent, {_EXAMPLES}")
    if is_relative:
        factor = -0.01 if plus == "-" else 0.01
    elif unit in _FACTORS[measure.unit]:
        factor = _FACTORS[measure.unit][unit]
    else:
        units = " or ".join(unit for unit in _FACTORS[measure.unit] if unit in _COMMON)
        hint = "; +N% and -N% are changes" if unit == "%" else ""
        raise PoolhogError(f"--fail-on {text}: {measure.name} is told in {units}{hint}")
    return Condition(text, measure.name, is_less, is_relative, float(number) * factor)


def _there_are() -> str:
    names = ", ".join(_NAMES)
    return (
        f"expected {NEW_FINDINGS}, {NEVER}, or one of {names} with > or < and a limit, {_EXAMPLES}"
    )
