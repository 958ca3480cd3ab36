"""Lanes: as few as hold intervals that do not overlap."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.lanes import ConnectionLanes, packed

SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])),
    max_size=30,
).map(sorted)


@given(SPANS)
def test_packed_intervals_of_a_lane_do_not_overlap_and_no_lane_is_too_many(
    spans: list[tuple[int, int]],
) -> None:
    lanes = packed(spans)
    for (one, lane), (other, same) in combinations(zip(spans, lanes, strict=True), 2):
        assert lane != same or one[1] <= other[0] or other[1] <= one[0]
    at_once = [sum(a <= at < b for a, b in spans) for at, _ in spans]
    assert max(lanes, default=-1) + 1 == max(at_once, default=0)


def test_a_connection_stays_on_its_lane() -> None:
    lanes = ConnectionLanes()
    assert [lanes.take(7, 0.0, 1.0), lanes.take(9, 0.5, 2.0)] == [0, 1]
    assert lanes.take(9, 2.0, 3.0) == 1
    assert lanes.take(7, 2.5, 4.0) == 0
    assert len(lanes) == 2


def test_a_connection_that_is_granted_a_moment_before_its_return_is_free() -> None:
    lanes = ConnectionLanes()
    assert lanes.take(7, 0.0, 1.000002) == 0
    assert lanes.take(7, 1.000001, 2.0) == 0


def test_connections_without_a_number_take_any_free_lane() -> None:
    lanes = ConnectionLanes()
    assert [lanes.take(None, 0.0, 5.0), lanes.take(None, 1.0, 2.0)] == [0, 1]
    assert lanes.take(None, 3.0, 4.0) == 1
