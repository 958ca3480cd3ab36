"""Steps of requests whose checkouts overlap, and of checkouts that are looked at one by one.

A request's checkouts that are nested are one chain. Those of tasks that work beside each other are
a chain each: the first one begins the others, and waits for them as far as it did nothing before
their end.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import STATE_OF, State, end_of, end_of_wait
from poolhog.analysis.findings.gaps import gap_kinds, meaning_of
from poolhog.analysis.findings.lines import departure
from poolhog.analysis.findings.meaning import Gap, Lifetime, Nested, Piece, is_lost
from poolhog.analysis.findings.nested_checkout import is_nested
from poolhog.analysis.replay.completing import GAVE_UP, TIMED_OUT, WAITING
from poolhog.analysis.replay.steps import (
    AWAY,
    ENDINGS,
    LONGEST_RUN_S,
    READY,
    Step,
    StepKind,
)
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from poolhog.model import Checkout, Pool, Sample, Site


class Stretch(NamedTuple):
    """The part of a gap that is nearer to this sample than to any other."""

    sample: Sample
    started: float
    ended: float

    @property
    def state(self) -> State:
        """What the sample says about it."""
        return STATE_OF[self.sample.activity]


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


class Segment(NamedTuple):
    """A stretch in which a chain did one thing; ``kind`` is ``None`` while it waits."""

    started: float
    ended: float
    kind: StepKind | None
    what: int = 0


class Mark(NamedTuple):
    """An instant at which a chain does something that takes no time by itself."""

    at: float
    step: Step


class Lane:
    """Checkouts of which one follows the other, or is nested in it: those are in ``nested``."""

    def __init__(self, items: Sequence[Checkout]) -> None:
        self.items = list(items)
        self.nested: dict[str, list[Checkout]] = {}

    def end(self, until: float) -> float:
        """When the last one was over."""
        return max(end_of(item, until) for item in self.items)

    def add(self, checkout: Checkout, until: float) -> None:
        """Add the next one."""
        for outer in self.items:
            if outer.granted is None:
                continue
            if outer.granted <= checkout.asked < end_of(outer, until):
                self.nested.setdefault(outer.id, []).append(checkout)
        self.items.append(checkout)


def lanes(checkouts: Sequence[Checkout], until: float) -> list[Lane]:
    """The checkouts of one request or owner, in the order of asking; the first is its own."""
    found = [Lane(checkouts[:1])]
    for checkout in checkouts[1:]:
        lane = _lane_for(checkout, found, until)
        if lane is None:
            found.append(Lane([checkout]))
        else:
            lane.add(checkout, until)
    return found


def _lane_for(checkout: Checkout, found: Sequence[Lane], until: float) -> Lane | None:
    holding = [lane for lane in found if lane.end(until) > checkout.asked]
    if not holding:
        return found[0]
    for lane in holding:
        outer = max(lane.items, key=lambda c: end_of(c, until))
        if is_nested(outer, checkout, until):
            return lane
    idle = (lane for lane in found if lane not in holding)
    return next((lane for lane in idle if lane.items[-1].owner == checkout.owner), None)


class Compiler:
    """Makes segments and steps; ``place`` numbers the lines at which connections are parked.

    ``running`` tells which part of an unsampled gap was running, by where its connection was asked
    for; ``until`` is the last instant that is known of the process.
    """

    def __init__(
        self,
        place: Callable[[Site | None], int],
        pool: Callable[[Pool], int],
        running: Callable[[Site | None], float],
        until: float,
    ) -> None:
        self._place = place
        self._pool = pool
        self._running = running
        self._until = until
        self._kinds = gap_kinds()

    def steps(
        self, lane: Lane, *, started: float, ended: float, marks: Iterable[Mark] = ()
    ) -> Iterator[Step]:
        """What a lane did from its start to its end, with marks of its own among it."""
        segments: list[Segment] = []
        own: list[Mark] = []
        for item in lane.items:
            inner = lane.nested.get(item.id, ())
            segments.append(Segment(item.asked, end_of_wait(item, self._until), None))
            segments += self.segments(item, inner)
            own += self._marks(item, lane)
        if lane.nested:
            segments = _flat(segments)
        return _merged(segments, sorted([*own, *marks], key=_AT), started, ended)

    def returns(self, lane: Lane) -> Iterator[Step]:
        """What is returned at the end of a request that had not ended."""
        for item in lane.items:
            if item.granted is not None and item.returned is None:
                yield Step(StepKind.RETURN, 0.0, self._pool(item.pool))

    def segments(self, checkout: Checkout, inner: Sequence[Checkout] = ()) -> list[Segment]:
        """The use of a checkout, with the ``inner`` ones that its owner had meanwhile."""
        if checkout.granted is None:
            return []
        busy = _busy(checkout, checkout.granted, self._until)
        return sorted([*self._in_gaps(checkout, inner), *busy], key=itemgetter(0))

    def _marks(self, checkout: Checkout, lane: Lane) -> Iterator[Mark]:
        pool = self._pool(checkout.pool)
        outer = _outer(checkout, lane)
        if outer is not None:
            where = departure(checkout.site, outer.site).site
            yield Mark(checkout.asked, Step(StepKind.NEST, 0.0, self._place(where)))
        yield Mark(checkout.asked, Step(StepKind.ASK, checkout.pinging, pool))
        if checkout.granted is None:
            waited = end_of_wait(checkout, self._until) - checkout.asked
            yield Mark(checkout.asked, Step(StepKind.MISS, waited, _missed(checkout)))
        if checkout.granted is not None and checkout.returned is not None:
            yield Mark(checkout.returned, Step(StepKind.RETURN, 0.0, pool))

    def _in_gaps(self, checkout: Checkout, inner: Sequence[Checkout]) -> Iterator[Segment]:
        until = self._until
        gaps = sampled_gaps(checkout, until)
        running = self._running(checkout.site)
        if not checkout.samples and not is_lost(checkout):
            for gap in gaps:
                yield from _untold(gap.started, gap.ended, running)
            return
        lifetime = Lifetime(checkout, until, [_nested(one, checkout, until) for one in inner])
        for piece in lifetime.cut(pieces(gaps)):
            if piece.state in (State.RUNNING, State.READY, State.BUSY):
                what = READY if piece.state is State.READY else 0
                yield Segment(piece.started, piece.ended, _KINDS[piece.state], what)
                continue
            kind = meaning_of(piece, lifetime, self._kinds)
            if kind is None or (piece.sample is None and lifetime.lost_from is None):
                yield from _untold(piece.started, piece.ended, running)
            else:
                line = kind.replayed_line(piece, lifetime).site
                yield Segment(piece.started, piece.ended, StepKind.PARK, self._place(line))


_AT = itemgetter(0)


def _missed(checkout: Checkout) -> int:
    """How it ended that it got no connection."""
    if checkout.gave_up is None:
        return WAITING
    is_refused = checkout.outcome in (Outcome.CANCELLED, Outcome.ERROR)
    return GAVE_UP if is_refused else TIMED_OUT


def pieces(gaps: Iterable[SampledGap]) -> Iterator[Piece]:
    """All of a checkout's gaps, in pieces."""
    for gap in gaps:
        whole = Gap(gap.started, gap.ended)
        if not gap.stretches:
            yield Piece(None, gap.started, gap.ended, None, whole)
        for stretch in gap.stretches:
            yield Piece(stretch.state, stretch.started, stretch.ended, stretch.sample, whole)


def _outer(checkout: Checkout, lane: Lane) -> Checkout | None:
    """The one that was held when this one was asked for."""
    for item in lane.items:
        if checkout in lane.nested.get(item.id, ()):
            return item
    return None


_KINDS = {State.RUNNING: StepKind.RUN, State.READY: StepKind.REST, State.BUSY: StepKind.BUSY}


def _nested(inner: Checkout, outer: Checkout, until: float) -> Nested:
    ended = min(end_of(inner, until), end_of(outer, until))
    return Nested(inner.asked, ended, departure(inner.site, outer.site), 2)


def _untold(started: float, ended: float, running: float) -> Iterator[Segment]:
    """A gap that nobody looked into: as far as it was not running, nothing is known."""
    change = started + (ended - started) * running
    if change > started:
        yield Segment(started, change, StepKind.RUN)
    if ended > change:
        yield Segment(change, ended, StepKind.REST)


def _busy(checkout: Checkout, granted: float, until: float) -> Iterator[Segment]:
    end = end_of(checkout, until)
    at = granted
    for operation in checkout.operations:
        ended = end if operation.ended is None else min(operation.ended, end)
        if ended <= at or ended <= operation.started:
            continue
        kind = StepKind.FINISH if operation.kind in ENDINGS else StepKind.BUSY
        yield Segment(max(operation.started, at), ended, kind)
        at = ended


def _flat(segments: Sequence[Segment]) -> list[Segment]:
    """One thing at a time: waiting comes before an operation, that before what is held inside."""
    cuts = sorted({instant for s in segments for instant in (s.started, s.ended)})
    found: list[Segment] = []
    for started, ended in pairwise(cuts):
        over = [s for s in segments if s.started <= started and s.ended >= ended]
        if over:
            # Of equals the last one: it was asked for inside of the others.
            first = min(reversed(over), key=_rank)
            found.append(first._replace(started=started, ended=ended))
    return found


def _rank(segment: Segment) -> int:
    if segment.kind is None:
        return 0
    return 1 if segment.kind in (StepKind.BUSY, StepKind.FINISH) else 2


def _merged(
    segments: Sequence[Segment], marks: Sequence[Mark], started: float, ended: float
) -> Iterator[Step]:
    """Segments, cut at the marks, with what is between them."""
    at = started
    waiting = iter(marks)
    mark = next(waiting, None)
    for segment in (*segments, Segment(max(ended, at), max(ended, at), None)):
        while mark is not None and mark.at <= segment.started:
            yield from _outside(at, mark.at)
            at = max(at, mark.at)
            yield mark.step
            mark = next(waiting, None)
        yield from _outside(at, segment.started)
        at = max(at, segment.started)
        while mark is not None and mark.at < segment.ended:
            yield from _cut(segment, at, mark.at)
            at = max(at, mark.at)
            yield mark.step
            mark = next(waiting, None)
        yield from _cut(segment, at, segment.ended)
        at = max(at, segment.ended)
    if mark is not None:
        yield mark.step
    for rest in waiting:
        yield rest.step


def _cut(segment: Segment, started: float, ended: float) -> Iterator[Step]:
    if segment.kind is not None and ended > started:
        yield Step(segment.kind, ended - started, segment.what)


def _outside(started: float, ended: float) -> Iterator[Step]:
    """What was done while no connection was held or waited for."""
    seconds = ended - started
    if seconds > LONGEST_RUN_S:
        yield Step(StepKind.REST, seconds, AWAY)
    elif seconds > 0:
        yield Step(StepKind.RUN, seconds)


def is_settled(checkout: Checkout) -> bool:
    """Whether it is over, or will never be."""
    if checkout.granted is None:
        return checkout.gave_up is not None
    is_over = checkout.outcome is Outcome.DETACHED or is_lost(checkout)
    return checkout.returned is not None or is_over
