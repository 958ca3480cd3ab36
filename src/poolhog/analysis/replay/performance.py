"""What a run came to, recorded or simulated: answers per second, waits, responses, use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.measured import percentile
from poolhog.analysis.throughput import counted, throughput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.replay.workload import Observed
    from poolhog.analysis.throughput import Window

    Instants = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The median, and the 95th and 99th percentile (nearest rank), in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Performance:
    """What a run came to, between two instants of its clock.

    ``makespan`` is from the first arrival to the last answer. ``throughput`` is answers per second.
    ``waits`` are of checkouts that ended their wait, ``responses`` of requests that were answered.

    Of the whole run, not only between these instants, are: ``use``, the share of the
    connection-seconds that were lent (``None`` for pools without a limit); ``checkouts``, how many
    got a connection, ``checkouts_per_s`` and ``checkouts_each``, of a request; ``mean_use``, of
    those that came back; ``timeouts``; and ``running``, the share
    of a process's time in which Python was executed, as far as was seen (``None``: not simulated).
    """

    answers: int
    makespan: float
    throughput: float
    waits: Percentiles
    responses: Percentiles
    use: float | None
    checkouts: int
    checkouts_per_s: float
    checkouts_each: float
    mean_use: float
    timeouts: int
    running: float | None

    @property
    def timeouts_share(self) -> float:
        """The share of the waits that ended in a timeout."""
        ended = self.checkouts + self.timeouts
        return self.timeouts / ended if ended else 0.0


def performance_of(
    observed: Observed, window: Window, began: float, capacity: int | None, processes: int
) -> Performance:
    """What was observed in a window; ``capacity`` are the connections of all pools."""
    answered = np.sort(observed.answered)
    answered = answered[: np.searchsorted(answered, window.ended, "right")]
    last = float(answered[-1]) if len(answered) else began
    span = observed.until - began
    granted = len(observed.granted) - observed.timeouts
    # A connection that is kept for the life of the process may be lent before any request comes.
    in_use = observed.until - min(began, min(observed.granted, default=began))
    return Performance(
        answers=len(answered) - int(np.searchsorted(answered, window.started)),
        makespan=last - began,
        throughput=throughput(answered, counted(answered, window)),
        waits=_percentiles(_inside(observed.granted, observed.waits, window)),
        responses=_percentiles(_inside(observed.answered, observed.responses, window)),
        use=observed.lent / (capacity * in_use) if capacity and in_use > 0 else None,
        checkouts=granted,
        checkouts_per_s=granted / span if span > 0 else 0.0,
        checkouts_each=observed.returned / len(answered) if len(answered) else 1.0,
        mean_use=observed.used / observed.returned if observed.returned else 0.0,
        timeouts=observed.timeouts,
        running=observed.ran / (processes * span) if observed.ran and span > 0 else None,
    )


def _inside(instants: Sequence[float], values: Sequence[float], window: Window) -> Instants:
    at = np.asarray(instants, float)
    found: Instants = np.asarray(values, float)[(window.started <= at) & (at <= window.ended)]
    return found


def _percentiles(values: Instants) -> Percentiles:
    if not len(values):
        return Percentiles(0.0, 0.0, 0.0)
    ordered = np.sort(values).tolist()
    return Percentiles(*(percentile(ordered, share) for share in (0.50, 0.95, 0.99)))
