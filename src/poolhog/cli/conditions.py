"""The conditions of ``--fail-on`` as they are typed, such as ``wait-p95>50ms``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from poolhog.analysis.compare.comparison import Condition
from poolhog.analysis.compare.measures import MEASURES, Unit
from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    return Condition(text, measure, is_less, is_relative, float(number) * factor)


def _there_are() -> str:
    names = ", ".join(_NAMES)
    return (
        f"expected {NEW_FINDINGS}, {NEVER}, or one of {names} with > or < and a limit, {_EXAMPLES}"
    )
