"""Who held which connection when: request lanes, connection lanes, and the queue, on one clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import NO_SHARES, Interval, State, end_of, intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Shares
    from poolhog.model import Checkout, Pool, Request

# Where checkouts of one request overlap, the lane shows the first of these that applies.
MOST_HOLDING_FIRST = (
    *(State.BUSY, State.PARKED, State.RUNNING, State.READY),
    *(State.WAITING, State.NOT_HOLDING),
)


@dataclass(frozen=True, slots=True)
class RequestLane:
    """One request's states over its whole life, without holes.

    ``request`` is ``None`` for an owner whose checkouts belong to no request (`other`).
    """

    label: str
    request: Request | None
    started: float
    ended: float
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """The use of one checkout on a connection's lane; ``lane`` is an index of the request lanes."""

    checkout: Checkout
    lane: int
    started: float
    ended: float
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class PoolLane:
    """One of the connections that a pool lends at once; its segments never overlap."""

    pool: Pool
    number: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at`` on, ``count`` requests wait, until the next step."""

    at: float
    count: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn between ``started`` and ``ended``: everything is cut to this window.

    ``waiting`` begins with a step at ``started``, and no two neighbours have the same count.
    """

    started: float
    ended: float
    requests: tuple[RequestLane, ...]
    connections: tuple[PoolLane, ...]
    waiting: tuple[Step, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended - self.started

    def lent(self, *states: State) -> float:
        """Seconds that the connections were lent and in one of these states, added up."""
        return sum(
            interval.duration
            for lane in self.connections
            for segment in lane.segments
            for interval in segment.intervals
            if interval.state in states
        )

    @property
    def states(self) -> frozenset[State]:
        """Those that occur."""
        lanes = [lane.intervals for lane in self.requests]
        lanes += [segment.intervals for lane in self.connections for segment in lane.segments]
        return frozenset(interval.state for parts in lanes for interval in parts)

    def waited(self) -> float:
        """Seconds that requests waited, added up."""
        return sum(
            step.count * (after.at - step.at)
            for step, after in pairwise((*self.waiting, Step(self.ended, 0)))
        )


@dataclass(frozen=True, slots=True)
class _Life:
    """A lane in the making: a request, or an owner without one, with all of its checkouts."""

    request: Request | None
    started: float
    ended: float
    checkouts: tuple[Checkout, ...]


def build_timeline(
    checkouts: Iterable[Checkout],
    requests: Iterable[Request],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    shares: Shares = NO_SHARES,
    labels: Callable[[Request | None, str], str] | None = None,
) -> Timeline:
    """The timeline between two instants of the run's clock.

    What is still open or in flight lasts until ``ended``, or until the last that is known of its
    process. Requests that the checkouts name are
    drawn whether they are listed or not, and so are their pools; a listed pool shows all the
    connections that it keeps, lent or not. ``shares`` splits the gaps without samples, ``labels``
    names a lane after its request, if it has one, and its owner; by default they have numbers.
    """
    every = sorted(checkouts, key=lambda checkout: (checkout.asked, checkout.id))
    shown = [life for life in _lives(every, requests, ended) if _within(life, started, ended)]
    lane_of = {c.id: lane for lane, life in enumerate(shown) for c in life.checkouts}
    lanes = []
    queues: list[Interval] = []
    for life, label in zip(shown, _labels(shown, labels), strict=True):
        first, last = max(life.started, started), min(life.ended, ended)
        states = [
            interval
            for c in life.checkouts
            for interval in cut(intervals(c, known_until(c, ended), shares), first, last)
        ]
        queues.extend(_in_queue(states))
        whole = _most_holding([Interval(State.NOT_HOLDING, first, last), *states])
        lanes.append(RequestLane(label, life.request, first, last, whole))
    listed = {pool.id: pool for pool in (*pools, *(checkout.pool for checkout in every))}
    connections = tuple(
        lane
        for pool in listed.values()
        for lane in _pool_lanes(pool, every, lane_of, started, ended, shares)
    )
    return Timeline(started, ended, tuple(lanes), connections, _steps(queues, started))


def known_until(checkout: Checkout, until: float) -> float:
    """The last instant up to ``until`` that is known of it: its process may be over by then."""
    return max(checkout.asked, min(until, checkout.pool.process.written))


def cut(parts: Iterable[Interval], started: float, ended: float) -> Iterator[Interval]:
    """The parts of the intervals that lie between two instants."""
    for part in parts:
        first, last = max(part.started, started), min(part.ended, ended)
        if last > first:
            yield Interval(part.state, first, last)


def in_buckets(
    parts: Iterable[Interval], *, started: float, ended: float, buckets: int
) -> tuple[Mapping[State, float], ...]:
    """The seconds of each state in each of so many equal buckets; nothing in it: no state."""
    found: list[dict[State, float]] = [{} for _ in range(buckets)]
    width = (ended - started) / buckets
    if width <= 0:
        return tuple(found)
    for part in cut(parts, started, ended):
        first = min(int((part.started - started) / width), buckets - 1)
        last = min(int((part.ended - started) / width), buckets - 1)
        for bucket in range(first, last + 1):
            begins = started + bucket * width
            overlap = min(part.ended, begins + width) - max(part.started, begins)
            if overlap > 0:
                found[bucket][part.state] = found[bucket].get(part.state, 0.0) + overlap
    return tuple(found)


def dominant(share: Mapping[State, float]) -> State | None:
    """The state with the most seconds; of equals the one that holds most."""
    present = [state for state in MOST_HOLDING_FIRST if share.get(state, 0) > 0]
    return max(present, key=lambda state: share[state], default=None)


def peaks(steps: Sequence[Step], *, started: float, ended: float, buckets: int) -> tuple[int, ...]:
    """The highest count within each of so many equal buckets."""
    found = [0] * buckets
    width = (ended - started) / buckets
    if width <= 0:
        return tuple(found)
    for step, after in pairwise((*steps, Step(ended, 0))):
        first = max(int((step.at - started) / width), 0)
        for bucket in range(first, buckets):
            if started + bucket * width >= after.at:
                break
            found[bucket] = max(found[bucket], step.count)
    return tuple(found)


def _lives(checkouts: Sequence[Checkout], requests: Iterable[Request], until: float) -> list[_Life]:
    """Requests in order of their start, and then the owners that belong to none."""
    of_request: dict[str, list[Checkout]] = {}
    of_owner: dict[tuple[int, str], list[Checkout]] = {}
    known = {request.id: request for request in requests}
    for checkout in checkouts:
        if checkout.request is None:
            owner = (checkout.pool.process.pid, checkout.owner)
            of_owner.setdefault(owner, []).append(checkout)
        else:
            known.setdefault(checkout.request.id, checkout.request)
            of_request.setdefault(checkout.request.id, []).append(checkout)
    ordered = sorted(known.values(), key=lambda request: (request.started, request.id))
    lives = [_life(request, of_request.get(request.id, []), until) for request in ordered]
    return lives + [_life(None, owned, until) for owned in of_owner.values()]


def _life(request: Request | None, checkouts: Sequence[Checkout], until: float) -> _Life:
    """A checkout that outlives its request makes the lane longer: it is held on its behalf."""
    starts = [checkout.asked for checkout in checkouts]
    ends = [end_of(checkout, known_until(checkout, until)) for checkout in checkouts]
    if request is not None:
        starts.append(request.started)
        last = max((known_until(checkout, until) for checkout in checkouts), default=until)
        ends.append(last if request.ended is None else request.ended)
    return _Life(request, min(starts), max(ends), tuple(checkouts))


def _within(life: _Life, started: float, ended: float) -> bool:
    return min(life.ended, ended) > max(life.started, started)


def _labels(
    lives: Sequence[_Life], labels: Callable[[Request | None, str], str] | None
) -> Iterator[str]:
    """#1, #2 and so on for requests; `other` for the rest, numbered if there are several."""
    if labels is not None:
        for life in lives:
            yield labels(life.request, life.checkouts[0].owner if life.checkouts else "")
        return
    several = sum(life.request is None for life in lives) > 1
    requests = others = 0
    for life in lives:
        if life.request is not None:
            requests += 1
            yield f"#{requests}"
        else:
            others += 1
            yield f"other {others}" if several else "other"


def _sweep(parts: Iterable[Interval]) -> Iterator[tuple[float, float, Mapping[State, int]]]:
    """The stretches between changes, in order, each with how many intervals of a state cover it.

    The counts are good until the next stretch is asked for.
    """
    edges = sorted(
        edge
        for part in parts
        for edge in ((part.started, 1, part.state), (part.ended, -1, part.state))
    )
    counts: Counter[State] = Counter()
    before: float | None = None
    for at, here in groupby(edges, key=lambda edge: edge[0]):
        if before is not None:
            yield before, at, counts
        for _, change, state in here:
            counts[state] += change
        before = at


def _most_holding(parts: Iterable[Interval]) -> tuple[Interval, ...]:
    """The parts laid over one another, the most holding on top; the parts leave no hole."""
    found: list[Interval] = []
    for started, ended, counts in _sweep(parts):
        state = next(state for state in MOST_HOLDING_FIRST if counts.get(state, 0))
        if found and found[-1].state is state:
            found[-1] = Interval(state, found[-1].started, ended)
        else:
            found.append(Interval(state, started, ended))
    return tuple(found)


def _in_queue(parts: Iterable[Interval]) -> Iterator[Interval]:
    """When a request waits, once however often: also while it holds another connection."""
    waits = [part for part in parts if part.state is State.WAITING]
    for started, ended, counts in _sweep(waits):
        if counts[State.WAITING]:
            yield Interval(State.WAITING, started, ended)


def _steps(queues: Iterable[Interval], started: float) -> tuple[Step, ...]:
    found = [Step(started, 0)]
    last = started
    for at, ended, counts in _sweep(queues):
        _append(found, Step(at, counts[State.WAITING]))
        last = ended
    _append(found, Step(last, 0))
    return tuple(found)


def _append(steps: list[Step], step: Step) -> None:
    if steps[-1].at == step.at:
        steps.pop()
    if not steps or steps[-1].count != step.count:
        steps.append(step)


def _pool_lanes(
    pool: Pool,
    checkouts: Iterable[Checkout],
    lane_of: Mapping[str, int],
    started: float,
    ended: float,
    shares: Shares,
) -> Iterator[PoolLane]:
    """As few lanes as hold the checkouts, a connection on its former lane where that is free."""
    lanes: list[list[Segment]] = []
    for checkout, first, last in _uses(pool, checkouts, ended):
        within = max(first, started), min(last, ended)
        if within[0] >= within[1]:
            continue
        every = intervals(checkout, known_until(checkout, ended), shares)
        parts = (i for i in every if i.state is not State.WAITING)
        segment = Segment(checkout, lane_of[checkout.id], *within, tuple(cut(parts, *within)))
        free = [lane for lane in lanes if lane[-1].ended <= segment.started]
        same = [lane for lane in free if lane[-1].checkout.connection == checkout.connection]
        if same or free:
            (same or free)[0].append(segment)
        else:
            lanes.append([segment])
    lanes += [[] for _ in range((pool.size or 0) - len(lanes))]
    for number, lane in enumerate(lanes, start=1):
        yield PoolLane(pool, number, tuple(lane))


def _uses(
    pool: Pool, checkouts: Iterable[Checkout], until: float
) -> Iterator[tuple[Checkout, float, float]]:
    """Each checkout of the pool that got a connection, with its use, in order of its start.

    A connection is lent once at a time. The next checkout may be stamped a moment before the
    last one's return, when the return is what woke it: then the earlier use ends there.
    """
    lent = [c for c in checkouts if c.pool.id == pool.id and c.granted is not None]
    lent.sort(key=lambda checkout: (checkout.granted, checkout.id))
    taken: dict[int, float] = {}
    found = []
    for checkout in reversed(lent):
        first, last = checkout.granted or 0.0, end_of(checkout, known_until(checkout, until))
        if checkout.connection is not None:
            last = max(first, min(last, taken.get(checkout.connection, last)))
            taken[checkout.connection] = first
        found.append((checkout, first, last))
    return reversed(found)
