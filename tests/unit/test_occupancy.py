"""Bins of a trace: nothing is lost in them, and lanes are as few as there can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import PROCESS, implicit_burst, make_checkout, make_pool, op, sample
from hypothesis import given
from hypothesis import strategies as st
from views import occupancy_in, timeline_of, with_spans

from poolhog.analysis.accounting import GAPS, State, end_of, end_of_wait
from poolhog.analysis.occupancy import LENT, MOST_LANES, Occupancy
from poolhog.model import Activity, Checkout, OperationKind

ENDED = 100.0
INSTANTS = st.integers(0, 100_000_000).map(lambda microseconds: microseconds / 1e6)


@st.composite
def crowds(draw: st.DrawFn) -> list[Checkout]:
    """Checkouts of two pools, some waiting, some open, some sampled, in order of their asking."""
    process = replace(PROCESS, written=ENDED)
    pools = [
        replace(make_pool("a", size=2, name="a"), process=process),
        replace(make_pool("b", size=None, name="b"), process=process),
    ]
    found = []
    for index in range(draw(st.integers(0, 12))):
        asked, granted, began, ended, returned = sorted(draw(INSTANTS) for _ in range(5))
        is_lent = draw(st.booleans())
        looks = sorted(min(max(draw(INSTANTS), granted), began) for _ in range(2))
        found.append(
            make_checkout(
                f"c{index}",
                asked,
                granted if is_lent else None,
                draw(st.sampled_from([returned, None])) if is_lent else None,
                gave_up=None if is_lent else draw(st.sampled_from([granted, None])),
                pool=draw(st.sampled_from(pools)),
                connection=draw(st.sampled_from([None, 1, 2, 3])),
                owner=f"Task-{index}",
                operations=[op(OperationKind.STATEMENT, began, ended)] if is_lent else [],
                samples=[sample(Activity.PARKED, looks[0], looks[1])]
                if is_lent and looks[1] < began and draw(st.booleans())
                else [],
            )
        )
    return sorted(found, key=lambda checkout: checkout.asked)


def occupancy(checkouts: list[Checkout], bins: int, started: float = 0.0) -> Occupancy:
    return occupancy_in(checkouts, (), started=started, ended=ENDED, bins=bins)


@given(crowds(), st.integers(1, 40), st.floats(0, 90))
def test_no_second_is_lost_in_bins(checkouts: list[Checkout], bins: int, started: float) -> None:
    found = occupancy(checkouts, bins, started)
    expected = dict.fromkeys(State, 0.0)
    for one in with_spans(*checkouts):
        for part in one.spans:
            expected[part.state] += max(0.0, part.ended - max(part.started, started))
    for state in LENT:
        assert found.lent(state) == pytest.approx(expected[state], abs=1e-6)
        assert sum(s.get(state, 0.0) for lane in found.lanes for s in lane.seconds) == (
            pytest.approx(expected[state], abs=1e-6)
        )
    assert found.waited() == pytest.approx(expected[State.WAITING], abs=1e-6)


@given(crowds(), st.integers(1, 40))
def test_the_most_that_wait_are_those_of_some_moment(checkouts: list[Checkout], bins: int) -> None:
    for one in occupancy(checkouts, bins).bins:
        moments = [one.started, *(c.asked for c in checkouts if one.started <= c.asked < one.ended)]
        counts = [sum(c.asked <= at < end_of_wait(c, ENDED) for c in checkouts) for at in moments]
        # Instants that fall on the edge of a bin may be rounded into its neighbour.
        if all(abs(c.asked - edge) > 1e-6 for c in checkouts for edge in (one.started, one.ended)):
            assert one.most_waiting == max(counts)


def test_the_lanes_are_those_of_the_timeline() -> None:
    checkouts, requests, pool, ended = implicit_burst(20, 5)
    every = sorted(checkouts, key=lambda checkout: checkout.asked)
    found = occupancy_in(every, [pool], started=0.0, ended=ended, bins=50)
    timeline = timeline_of(checkouts, requests, [pool], started=0.0, ended=ended)
    assert found.connections == len(timeline.connections) == found.capacity == 5
    for lane, expected in zip(found.lanes, timeline.connections, strict=True):
        used = sum(segment.ended - segment.started for segment in expected.segments)
        assert sum(sum(share.values()) for share in lane.seconds) == pytest.approx(used)
    assert found.waited() == pytest.approx(timeline.waited())
    assert found.states == timeline.states - {State.NOT_HOLDING}
    assert {State.WAITING, State.BUSY, State.PARKED} <= found.states
    assert max(one.most_waiting for one in found.bins) == 15


def test_a_connection_that_is_never_lent_twice_needs_no_more_lanes() -> None:
    """A pool that opens one for each checkout: as many lanes as were lent at once."""
    pool = make_pool(size=None)
    checkouts = [
        make_checkout(str(n), n, n, n + 1.5, pool=pool, connection=n + 1) for n in range(90)
    ]
    found = occupancy(checkouts, 10)
    assert found.connections == 2
    assert found.capacity is None


def test_a_return_stamped_after_the_next_grant_stays_on_its_lane() -> None:
    pool = make_pool(size=1)
    checkouts = [
        make_checkout("a", 0, 0, 2.001, pool=pool, connection=1),
        make_checkout("b", 0, 2.0, 4, pool=pool, connection=1),
    ]
    assert occupancy(checkouts, 10).connections == 1


def test_of_many_connections_so_many_have_a_lane() -> None:
    pool = make_pool(size=None)
    checkouts = [
        make_checkout(str(n), 0, 0, 50, pool=pool, connection=n) for n in range(MOST_LANES + 7)
    ]
    found = occupancy(checkouts, 4)
    assert len(found.lanes) == MOST_LANES
    assert found.connections == MOST_LANES + 7
    assert found.lent(*GAPS) == pytest.approx(50 * (MOST_LANES + 7))


def test_connections_that_a_pool_keeps_have_lanes_too() -> None:
    found = occupancy_in((), [make_pool(size=3)], started=0, ended=1, bins=2)
    assert [lane.number for lane in found.lanes] == [1, 2, 3]
    assert found.capacity == 3
    assert found.states == frozenset()


def test_what_is_open_lasts_until_the_end() -> None:
    pool = replace(make_pool(size=1), process=replace(PROCESS, written=ENDED))
    checkout = make_checkout(asked=10, granted=20, pool=pool)
    found = occupancy([checkout], 10)
    assert end_of(checkout, ENDED) == ENDED
    assert [round(one.lent[State.RUNNING], 9) for one in found.bins] == [0, 0, *[1] * 8]
