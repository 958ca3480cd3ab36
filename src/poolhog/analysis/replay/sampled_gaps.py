"""The gaps of a checkout that a replay looks at by itself, with what samples tell of them."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State, end_of
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.model import Checkout, Sample


_STATES = {
    Activity.PARKED: State.PARKED,
    Activity.RUNNING: State.RUNNING,
    Activity.READY: State.READY,
    Activity.BUSY: State.BUSY,
}


class Stretch(NamedTuple):
    """The part of a gap that is nearer to this sample than to any other."""

    sample: Sample
    started: float
    ended: float

    @property
    def state(self) -> State:
        """What the sample says about it."""
        return _STATES[self.sample.activity]


class SampledGap(NamedTuple):
    """The time between two operations, with its stretches if samples fell into it."""

    started: float
    ended: float
    stretches: tuple[Stretch, ...] = ()


def _gaps(checkout: Checkout, until: float) -> Iterator[tuple[float, float]]:
    """Start and end of each gap, in order; none is empty."""
    if checkout.granted is None:
        return
    end = end_of(checkout, until)
    at = checkout.granted
    for operation in checkout.operations:
        started, ended = operation.started, operation.ended
        if ended is None or ended > end:
            ended = end
        if ended <= at or ended <= started:
            continue  # it took no time, such as a BEGIN that nothing was sent for
        if started > at:
            yield at, started
        at = ended
    if end > at:
        yield at, end


def sampled_gaps(checkout: Checkout, until: float) -> tuple[SampledGap, ...]:
    """The gaps, in order, each with the stretches of its samples."""
    samples = checkout.samples
    if not samples:
        return tuple(SampledGap(*gap) for gap in _gaps(checkout, until))
    first, last = samples[0].started, samples[-1].started
    found = []
    for gap in _gaps(checkout, until):
        has_samples = gap[0] <= last and first < gap[1]
        found.append(SampledGap(*gap, tuple(_stretches(gap, samples)) if has_samples else ()))
    return tuple(found)


def _stretches(gap: tuple[float, float], samples: Sequence[Sample]) -> Iterator[Stretch]:
    """The parts of a gap, of which none is empty, or nothing if it has no sample."""
    at, end = gap
    # A sample never reaches from one gap into another.
    first = bisect_left(samples, at, key=_STARTED)
    last = bisect_left(samples, end, key=_STARTED)
    for index in range(first, last):
        sample = samples[index]
        change = end
        if index + 1 < last:
            following = samples[index + 1].started
            seen = sample.ended if sample.ended is not None else following
            change = min((seen + following) / 2, end)
        if change > at:
            yield Stretch(sample, at, change)
            at = change


_STARTED = attrgetter("started")
