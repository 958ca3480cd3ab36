"""Who held which connection when: request lanes, connection lanes, and the queue, on one clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.lanes import ConnectionLanes, uses_of
from poolhog.analysis.occupancy import Grid
from poolhog.analysis.owners import grouped, owner_of
from poolhog.analysis.shown import Span, of_state, states_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.owners import Owner
    from poolhog.analysis.shown import Shown
    from poolhog.model import Checkout, Pool, Request

# Where checkouts of one request overlap, the lane shows the first of these that applies.
MOST_HOLDING_FIRST = (
    *(State.BUSY, State.BLOCKED, State.PARKED, State.RUNNING, State.READY),
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
    intervals: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class LaneSegment:
    """The use of one checkout on a connection's lane; ``lane`` is an index of the request lanes."""

    checkout: Checkout
    lane: int
    started: float
    ended: float
    intervals: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class PoolLane:
    """One of the connections that a pool lends at once; its segments never overlap."""

    pool: Pool
    number: int
    segments: tuple[LaneSegment, ...]


@dataclass(frozen=True, slots=True)
class QueueStep:
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
    waiting: tuple[QueueStep, ...]

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
            for step, after in pairwise((*self.waiting, QueueStep(self.ended, 0)))
        )


def build_timeline(
    shown: Iterable[Shown],
    requests: Iterable[Request],
    pools: Iterable[Pool],
    *,
    started: float,
    ended: float,
    labels: Callable[[Request | None, str], str] | None = None,
) -> Timeline:
    """The timeline between two instants of the run's clock.

    What is still open or in flight lasts until ``ended``, or until the last that is known of its
    process. Requests of the checkouts are drawn whether they are listed or not, and so are their
    pools; a listed pool shows all the connections that it keeps, lent or not. ``labels`` names a
    lane after its request, if it has one, and its owner; by default they have numbers.
    """
    every = sorted(shown, key=lambda one: (one.checkout.asked, one.checkout.id))
    spans = {one.checkout.id: tuple(states_of(one.spans)) for one in every}
    owners = [
        owner
        for owner in _owners([one.checkout for one in every], requests)
        if min(owner.ended, ended) > max(owner.started, started)
    ]
    lane_of = {c.id: lane for lane, owner in enumerate(owners) for c in owner.checkouts}
    lanes = []
    queues: list[Span] = []
    for owner, label in zip(owners, _labels(owners, labels), strict=True):
        first, last = max(owner.started, started), min(owner.ended, ended)
        states = [part for c in owner.checkouts for part in within(spans[c.id], first, last)]
        queues.extend(_in_queue(states))
        whole = _most_holding([of_state(State.NOT_HOLDING, first, last), *states])
        lanes.append(RequestLane(label, owner.request, first, last, whole))
    segments = _segments(every, spans, lane_of, started, ended)
    listed = {pool.id: pool for pool in (*pools, *(one.checkout.pool for one in every))}
    connections = tuple(
        lane for pool in listed.values() for lane in _pool_lanes(pool, segments.get(pool.id, ()))
    )
    return Timeline(started, ended, tuple(lanes), connections, _steps(queues, started))


def in_buckets(
    parts: Iterable[Span], *, started: float, ended: float, buckets: int
) -> tuple[Mapping[State, float], ...]:
    """The seconds of each state in each of some equal buckets; nothing in it: no state."""
    found: list[dict[State, float]] = [{} for _ in range(buckets)]
    if ended <= started:
        return tuple(found)
    grid = Grid(started, ended, buckets)
    of: dict[State, list[Span]] = {}
    for part in parts:
        of.setdefault(part.state, []).append(part)
    for state, same in of.items():
        starts, ends = (
            (np.array([getattr(part, name) for part in same]) - started) * 1e6
            for name in ("started", "ended")
        )
        for index, seconds in enumerate(grid.spread(started, starts, ends).tolist()):
            if seconds > 0:
                found[index][state] = seconds
    return tuple(found)


def dominant(share: Mapping[State, float]) -> State | None:
    """The state with the most seconds; of equals the one that holds most."""
    present = [state for state in MOST_HOLDING_FIRST if share.get(state, 0) > 0]
    return max(present, key=lambda state: share[state], default=None)


def peaks(
    steps: Sequence[QueueStep], *, started: float, ended: float, buckets: int
) -> tuple[int, ...]:
    """The highest count within each of so many equal buckets."""
    found = [0] * buckets
    width = (ended - started) / buckets
    if width <= 0:
        return tuple(found)
    for step, after in pairwise((*steps, QueueStep(ended, 0))):
        first = max(int((step.at - started) / width), 0)
        for bucket in range(first, buckets):
            if started + bucket * width >= after.at:
                break
            found[bucket] = max(found[bucket], step.count)
    return tuple(found)


def _owners(checkouts: Sequence[Checkout], requests: Iterable[Request]) -> list[Owner]:
    """Requests in order of their start, and then the owners that belong to none."""
    found = list(grouped(checkouts))
    known = {owner.key for owner in found if owner.request is not None}
    unlisted = {request.id: request for request in requests if request.id not in known}
    found += [owner_of(request, ()) for request in unlisted.values()]
    return sorted(found, key=_requests_first)


def _requests_first(owner: Owner) -> tuple[bool, float, str]:
    request = owner.request
    return (True, 0.0, "") if request is None else (False, request.started, request.id)


def _labels(
    owners: Sequence[Owner], labels: Callable[[Request | None, str], str] | None
) -> Iterator[str]:
    """#1, #2 and so on for requests; `other` for the rest, numbered if there are several."""
    if labels is not None:
        yield from (labels(owner.request, owner.name) for owner in owners)
        return
    several = sum(owner.request is None for owner in owners) > 1
    requests = others = 0
    for owner in owners:
        if owner.request is not None:
            requests += 1
            yield f"#{requests}"
        else:
            others += 1
            yield f"other {others}" if several else "other"


def _sweep(parts: Iterable[Span]) -> Iterator[tuple[float, float, Mapping[State, int]]]:
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


def _most_holding(parts: Iterable[Span]) -> tuple[Span, ...]:
    """The parts laid over one another, the most holding on top; the parts leave no hole."""
    found: list[Span] = []
    for started, ended, counts in _sweep(parts):
        state = next(state for state in MOST_HOLDING_FIRST if counts.get(state, 0))
        if found and found[-1].state is state:
            found[-1] = of_state(state, found[-1].started, ended)
        else:
            found.append(of_state(state, started, ended))
    return tuple(found)


def _in_queue(parts: Iterable[Span]) -> Iterator[Span]:
    """When a request waits, once however often: also while it holds another connection."""
    waits = [part for part in parts if part.state is State.WAITING]
    for started, ended, counts in _sweep(waits):
        if counts[State.WAITING]:
            yield of_state(State.WAITING, started, ended)


def _steps(queues: Iterable[Span], started: float) -> tuple[QueueStep, ...]:
    found = [QueueStep(started, 0)]
    last = started
    for at, ended, counts in _sweep(queues):
        _append(found, QueueStep(at, counts[State.WAITING]))
        last = ended
    _append(found, QueueStep(last, 0))
    return tuple(found)


def _append(steps: list[QueueStep], step: QueueStep) -> None:
    if steps[-1].at == step.at:
        steps.pop()
    if not steps or steps[-1].count != step.count:
        steps.append(step)


def _segments(
    every: Iterable[Shown],
    spans: Mapping[str, Sequence[Span]],
    lane_of: Mapping[str, int],
    started: float,
    ended: float,
) -> dict[str, list[LaneSegment]]:
    """The uses by pool, in order of their start, as far as they lie between two instants."""
    found: dict[str, list[LaneSegment]] = {}
    for use in uses_of(every):
        first, last = max(use.started, started), min(use.ended, ended)
        if first < last:
            checkout = use.shown.checkout
            lent = (part for part in spans[checkout.id] if part.state is not State.WAITING)
            parts = tuple(within(lent, first, last))
            segment = LaneSegment(checkout, lane_of[checkout.id], first, last, parts)
            found.setdefault(checkout.pool.id, []).append(segment)
    return found


def _pool_lanes(pool: Pool, segments: Iterable[LaneSegment]) -> Iterator[PoolLane]:
    """As few lanes as hold the segments, and those of connections that were never lent."""
    lanes = ConnectionLanes()
    found: dict[int, list[LaneSegment]] = {}
    for segment in segments:
        lane = lanes.take(segment.checkout.connection, segment.started, segment.ended)
        found.setdefault(lane, []).append(segment)
    for lane in range(max(len(lanes), pool.size or 0)):
        yield PoolLane(pool, lane + 1, tuple(found.get(lane, ())))
