"""Waits within intervals, against adding them up one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.findings.tally import Wasted
from poolhog.analysis.findings.waits import Waits

spans = st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(spans, max_size=8), st.lists(spans, max_size=8))
def test_seconds_waited_within_the_union(
    waits: list[tuple[int, int]], wasted: list[tuple[int, int]]
) -> None:
    kept, intervals = Waits(), Wasted()
    for started, ended in waits:
        kept.add("pool", "route", started, ended)
    for started, ended in wasted:
        intervals.add(started, ended)
    covered = {second for started, ended in wasted for second in range(started, ended)}
    expected = sum(second in covered for wait in waits for second in range(*wait))
    assert sum(kept.during({"pool": intervals}).values()) == pytest.approx(expected)
    assert kept.during({"another pool": intervals}) == {}


def test_by_route() -> None:
    kept, intervals = Waits(), Wasted()
    kept.add("pool", "GET /a", 1.0, 2.0)
    kept.add("pool", "GET /b", 1.5, 4.0)
    intervals.add(1.0, 3.0)
    assert kept.during({"pool": intervals}) == pytest.approx({"GET /a": 1.0, "GET /b": 1.5})
