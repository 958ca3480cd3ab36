from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from factories import (
    PROCESS,
    explicit_burst,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    op,
)
from hypothesis import given
from hypothesis import strategies as st
from views import occupancy_in, timeline_of, with_spans

from poolhog.analysis.accounting import GAPS, State, end_of
from poolhog.analysis.shown import Span, of_state, states_of
from poolhog.analysis.timeline import (
    QueueStep,
    Timeline,
    dominant,
    in_buckets,
    peaks,
)
from poolhog.model import Checkout, OperationKind, Pool, Request

Scene = tuple[list[Checkout], list[Request], Pool]
STARTED, ENDED = 10, 90


def build(*checkouts: Checkout, started: float = 0.0, ended: float = 10.0) -> Timeline:
    return timeline_of(checkouts, (), (), started=started, ended=ended)


def states(parts: tuple[Span, ...]) -> list[tuple[State, float, float]]:
    return [(part.state, part.started, part.ended) for part in parts]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Requests with several checkouts each, some waiting, some open, some of no request."""
    pool = replace(make_pool(size=3), process=replace(PROCESS, written=100.0))
    instant = st.integers(0, 100).map(float)
    requests = []
    for index in range(draw(st.integers(0, 4))):
        begun, ended = sorted((draw(instant), draw(instant)))
        requests.append(make_request(f"r{index}", begun, draw(st.sampled_from((ended, None)))))
    checkouts = []
    for index in range(draw(st.integers(0, 8))):
        asked, granted, first, last, returned = sorted(draw(instant) for _ in range(5))
        kind = draw(st.sampled_from(("returned", "open", "waiting", "gave up")))
        lent = kind in ("returned", "open")
        checkouts.append(
            make_checkout(
                f"c{index}",
                asked,
                granted if lent else None,
                returned if kind == "returned" else None,
                gave_up=granted if kind == "gave up" else None,
                pool=pool,
                request=draw(st.sampled_from((None, *requests))),
                operations=[op(OperationKind.STATEMENT, first, last)] if lent else [],
            )
        )
    return checkouts, requests, pool


@given(scenes())
def test_a_lane_covers_its_request_without_holes(scene: Scene) -> None:
    checkouts, requests, pool = scene
    timeline = timeline_of(checkouts, requests, [pool], started=STARTED, ended=ENDED)
    for lane in timeline.requests:
        assert lane.intervals[0].started == lane.started
        assert lane.intervals[-1].ended == lane.ended
        assert STARTED <= lane.started < lane.ended <= ENDED
        for part, after in pairwise(lane.intervals):
            assert part.ended == after.started
            assert part.state is not after.state


@given(scenes())
def test_segments_of_a_lane_never_overlap_and_no_lane_is_wasted(scene: Scene) -> None:
    checkouts, requests, pool = scene
    timeline = timeline_of(checkouts, requests, [pool], started=STARTED, ended=ENDED)
    segments = [segment for lane in timeline.connections for segment in lane.segments]
    for lane in timeline.connections:
        for segment, after in pairwise(lane.segments):
            assert segment.ended <= after.started
    at_once = max(
        (sum(s.started <= one.started < s.ended for s in segments) for one in segments), default=0
    )
    assert sum(bool(lane.segments) for lane in timeline.connections) == at_once
    assert len(timeline.connections) == max(at_once, 3)


@given(scenes(), st.integers(STARTED * 2, ENDED * 2 - 1))
def test_the_queue_is_what_counting_by_hand_gives(scene: Scene, half_seconds: int) -> None:
    checkouts, requests, pool = scene
    at = half_seconds / 2
    timeline = timeline_of(checkouts, requests, [pool], started=STARTED, ended=ENDED)
    waiting = {
        checkout.request.id if checkout.request else "other"
        for checkout, spans, _ in with_spans(*checkouts)
        for part in states_of(spans)
        if part.state is State.WAITING and part.started <= at < part.ended
    }
    counted = [step.count for step in timeline.waiting if step.at <= at][-1]
    assert counted == len(waiting)
    assert all(step.count != after.count for step, after in pairwise(timeline.waiting))


@given(scenes())
def test_connections_are_lent_for_as_long_as_checkouts_are_in_use(scene: Scene) -> None:
    checkouts, requests, pool = scene
    timeline = timeline_of(checkouts, requests, [pool], started=0.0, ended=ENDED)
    used = sum(
        min(end_of(c, ENDED), ENDED) - min(c.granted, ENDED)
        for c in checkouts
        if c.granted is not None
    )
    assert timeline.lent(State.BUSY, *GAPS) == pytest.approx(used)


def test_the_state_that_holds_more_wins() -> None:
    request = make_request(started=0, ended=10)
    first = make_checkout(
        "c1", 1, 2, 9, request=request, operations=[op(OperationKind.STATEMENT, 5, 6)]
    )
    second = make_checkout("c2", 3, 4, None, request=request)
    lane = build(first, second).requests[0]
    assert states(lane.intervals) == [
        (State.NOT_HOLDING, 0, 1),
        (State.WAITING, 1, 2),
        (State.RUNNING, 2, 5),
        (State.BUSY, 5, 6),
        (State.RUNNING, 6, 10),
    ]


def test_a_request_that_waits_while_it_holds_is_in_the_queue_once() -> None:
    request = make_request(started=0, ended=10)
    holding = make_checkout("c1", 0, 1, 9, request=request)
    queued = [make_checkout(f"w{i}", 2 + i, None, gave_up=6, request=request) for i in range(2)]
    assert build(holding, *queued).waiting == (
        QueueStep(0, 1),
        QueueStep(1, 0),
        QueueStep(2, 1),
        QueueStep(6, 0),
    )


def test_a_connection_keeps_its_lane() -> None:
    pool = make_pool(size=2)
    timeline = build(
        make_checkout("a", 0, 0, 1, pool=pool, connection=1, owner="a"),
        make_checkout("b", 0, 0, 1, pool=pool, connection=2, owner="b"),
        make_checkout("c", 2, 2, 3, pool=pool, connection=2, owner="c"),
        make_checkout("d", 4, 4, 5, pool=pool, connection=1, owner="d"),
    )
    found = [[s.checkout.id for s in lane.segments] for lane in timeline.connections]
    assert found == [["a", "d"], ["b", "c"]]


def test_a_return_stamped_after_the_next_grant_needs_no_second_lane() -> None:
    pool = make_pool(size=1)
    timeline = build(
        make_checkout("a", 0, 0, 2.001, pool=pool, connection=1),
        make_checkout("b", 0, 2.0, 4, pool=pool, connection=1, owner="Task-2"),
    )
    (lane,) = timeline.connections
    assert [(s.started, s.ended) for s in lane.segments] == [(0, 2.0), (2.0, 4)]


def test_connections_that_are_never_lent_are_lanes_too() -> None:
    timeline = timeline_of([], [], [make_pool(size=3)], started=0, ended=1)
    assert [lane.number for lane in timeline.connections] == [1, 2, 3]
    assert timeline.waiting == (QueueStep(0, 0),)


def test_work_without_a_request_is_other_and_comes_last() -> None:
    pool = make_pool()
    request = make_request(started=3, ended=4)
    timeline = build(
        make_checkout("a", 0, 1, 2, pool=pool, owner="boot"),
        make_checkout("b", 3, 3, 4, pool=pool, request=request),
        make_checkout("c", 5, 6, 7, pool=pool, owner="boot"),
    )
    assert [lane.label for lane in timeline.requests] == ["#1", "other"]
    assert (timeline.requests[1].started, timeline.requests[1].ended) == (0, 7)
    holders = [timeline.requests[s.lane].label for s in timeline.connections[0].segments]
    assert holders == ["other", "#1", "other"]


def test_several_owners_without_a_request_are_numbered() -> None:
    timeline = build(make_checkout("a", 0, 1, 2, owner="x"), make_checkout("b", 0, 1, 2, owner="y"))
    assert [lane.label for lane in timeline.requests] == ["other 1", "other 2"]


def test_what_lies_outside_of_the_window_is_cut_off() -> None:
    warm_up = make_request("early", 0, 4)
    inside = make_request("late", 4, 9)
    timeline = build(
        make_checkout("a", 1, 2, 3, request=warm_up),
        make_checkout("b", 4, 4, 9, request=inside),
        started=5,
        ended=8,
    )
    assert [lane.request for lane in timeline.requests] == [inside]
    (segment,) = timeline.connections[0].segments
    assert (segment.started, segment.ended, segment.lane) == (5, 8, 0)
    assert timeline.duration == 3


def test_a_checkout_that_outlives_its_request_lengthens_the_lane() -> None:
    request = make_request(started=0, ended=2)
    lane = build(make_checkout("a", 1, 1, 5, request=request)).requests[0]
    assert lane.ended == 5


def test_the_implicit_burst_comes_in_two_waves() -> None:
    checkouts, requests, pool, ended = implicit_burst()
    timeline = timeline_of(checkouts, requests, [pool], started=0, ended=ended)
    assert len(timeline.connections) == 5
    assert max(step.count for step in timeline.waiting) == 5
    assert timeline.waited() == pytest.approx(5 * 5.03, rel=0.01)
    assert timeline.lent(State.PARKED) > 0.99 * 10 * 5


def test_the_explicit_burst_holds_for_moments() -> None:
    checkouts, requests, pool, ended = explicit_burst()
    timeline = timeline_of(checkouts, requests, [pool], started=0, ended=ended)
    assert timeline.lent(*GAPS, State.BUSY) == pytest.approx(20 * 0.009)
    assert {len(lane.segments) for lane in timeline.connections} == {4}


def test_shares_add_up_and_the_longest_state_dominates() -> None:
    parts = [
        of_state(State.WAITING, 0, 3),
        of_state(State.BUSY, 3, 4),
        of_state(State.RUNNING, 4, 7),
    ]
    found = in_buckets(parts, started=0, ended=8, buckets=2)
    assert found == (
        {State.WAITING: 3, State.BUSY: 1},
        {State.RUNNING: 3},
    )
    quarters = in_buckets(parts, started=0, ended=8, buckets=4)
    assert [dominant(share) for share in quarters] == [
        State.WAITING,
        State.BUSY,  # as long as the wait before it, and holds more
        State.RUNNING,
        State.RUNNING,
    ]
    assert in_buckets(parts, started=8, ended=9, buckets=2) == ({}, {})
    assert dominant({}) is None


@given(scenes(), st.integers(1, 50))
def test_no_second_is_lost_in_buckets(scene: Scene, buckets: int) -> None:
    checkouts, requests, pool = scene
    timeline = timeline_of(checkouts, requests, [pool], started=STARTED, ended=ENDED)
    for lane in timeline.requests:
        found = in_buckets(lane.intervals, started=STARTED, ended=ENDED, buckets=buckets)
        total = sum(sum(share.values()) for share in found)
        assert total == pytest.approx(lane.ended - lane.started)


def test_an_empty_window_has_empty_buckets() -> None:
    assert in_buckets([of_state(State.RUNNING, 0, 1)], started=1, ended=1, buckets=2) == ({}, {})
    assert peaks([QueueStep(1, 3)], started=1, ended=1, buckets=2) == (0, 0)


def test_a_peak_within_a_bucket_is_not_lost() -> None:
    steps = (
        QueueStep(0, 0),
        QueueStep(1.0, 2),
        QueueStep(1.1, 7),
        QueueStep(1.2, 1),
        QueueStep(6, 0),
    )
    assert peaks(steps, started=0, ended=8, buckets=4) == (7, 1, 1, 0)


def test_what_a_process_left_open_ends_with_it() -> None:
    """The others of the run may go on for hours."""
    dead = replace(make_pool("dead"), process=replace(PROCESS, pid=7, written=3.0))
    checkouts = [
        make_checkout("a", 1.0, 1.0, pool=dead, request=make_request("r1", 1.0, None)),
        make_checkout("b", 2.0, pool=dead, owner="Thread-1"),
        make_checkout("c", 2.0, 2.0, owner="Thread-2"),
    ]
    timeline = build(*checkouts)
    assert [lane.ended for lane in timeline.requests] == [3.0, 3.0, 10.0]
    assert timeline.lent(State.RUNNING) == 2.0 + 8.0
    assert timeline.waited() == 1.0
    bins = occupancy_in(checkouts, (), started=0.0, ended=10.0, bins=10)
    assert bins.lent(State.RUNNING) == 2.0 + 8.0
    assert bins.waited() == 1.0
