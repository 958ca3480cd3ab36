"""The last seconds of a run: how many connections were lent, and how many requests waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.trace.recent import recent_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.model import Checkout
    from poolhog.trace.reader import ProcessReader


@dataclass(frozen=True, slots=True)
class Recent:
    """Counts of all processes together, at instants ``step`` seconds apart, the last one newest."""

    step: float
    lent: tuple[int, ...]
    waiting: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long it is from the first instant to the last."""
        return self.step * (len(self.lent) - 1)


def recent_of(
    readers: Iterable[ProcessReader], known: Iterable[Checkout], seconds: float, points: int
) -> Recent:
    """The counts of the last seconds before the newest commit of the run.

    ``known`` are the checkouts that are open: others count if they began in that time, or in as
    much time before it.
    """
    every = tuple(readers)
    until = max(reader.process.written for reader in every)
    numbers: dict[str, list[int]] = {reader.name: [] for reader in every}
    for checkout in known:
        name, _, number = checkout.id.rpartition(".")
        numbers[name].append(int(number))
    step = seconds / (points - 1)
    lent, waiting = [0] * points, [0] * points
    for reader in every:
        found = recent_counts(reader, until - seconds, step, points, numbers[reader.name])
        lent = [one + other for one, other in zip(lent, found.lent, strict=True)]
        waiting = [one + other for one, other in zip(waiting, found.waiting, strict=True)]
    return Recent(step, tuple(lent), tuple(waiting))
