"""What `poolhog whatif` tells: a replay, what was asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from poolhog.analysis.replay.formulas import answers
from poolhog.analysis.replay.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.replay.formulas import Answers, FormulaTarget
    from poolhog.analysis.replay.prediction import Prediction, Replay
    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.model import Process, Unreadable

MOST_POINTS = 16
"""Points of a curve; of a longer range some are left out."""


@dataclass(frozen=True, slots=True)
class OptionRange:
    """An option that is tried with several values: a field of ``WhatIf``."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A replay, with what is predicted under the ``terms``, if these are other than it was.

    ``curve`` has the predictions over a range, in its order. ``released`` are the lines whose
    places the terms release, as text. ``processes`` are those that were recorded.
    """

    replayed: Replay
    terms: WhatIf
    released: tuple[str, ...]
    before: Answers
    prediction: Prediction | None = None
    after: Answers | None = None
    range: OptionRange | None = None
    curve: tuple[Prediction, ...] = ()
    unreadable: Sequence[Unreadable] = field(default=())
    processes: Sequence[Process] = field(default=())


def study(
    replayed: Replay,
    terms: WhatIf,
    question: FormulaTarget,
    *,
    released: tuple[str, ...] = (),
    over: OptionRange | None = None,
    is_otherwise: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> Study:
    """Predict what was asked for; ``tell`` learns what is being simulated."""
    workload = replayed.workload
    before = answers(workload, replayed.recorded, question)
    made = Study(replayed, terms, released, before)
    if over is not None:
        curve = []
        for number in over.values:
            tell(f"simulating {over.name.replace('_', ' ')} {number}")
            change: dict[str, Any] = {over.name: number}  # a field that is an int
            curve.append(predict(replayed, replace(terms, **change)))
        return replace(made, range=over, curve=tuple(curve))
    if not is_otherwise:
        return made
    tell("simulating what would be")
    prediction = predict(replayed, terms)
    after = answers(workload, prediction.after, question, prediction.terms)
    return replace(made, prediction=prediction, after=after)


def values_between(first: int, last: int, most: int = MOST_POINTS) -> tuple[int, ...]:
    """The numbers from one to the other, or some of them if they are many, with both ends."""
    if last - first < most:
        return tuple(range(first, last + 1))
    step = (last - first) / (most - 1)
    return tuple(dict.fromkeys(round(first + step * number) for number in range(most)))
