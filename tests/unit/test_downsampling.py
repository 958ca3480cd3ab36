"""Very many spans together are as long as they were, and so is each state, everywhere."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from factories import make_site
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.accounting import State
from poolhog.analysis.downsampling import downsampled, level
from poolhog.analysis.shown import Span
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 40
SQL = ("SELECT 1", "SELECT 2")


@st.composite
def many_spans(draw: st.DrawFn) -> list[Span]:
    """Spans that follow one another, of milliseconds, some of them long."""
    lengths = st.integers(1, 9) | st.integers(1_000, 9_000)
    states = st.sampled_from(State)
    found: list[Span] = []
    at = draw(st.integers(0, 1_000))
    for state, length in draw(st.lists(st.tuples(states, lengths), min_size=1, max_size=400)):
        sql = SQL[length % 2] if state is State.BUSY else None
        found.append(Span(state, at, at + length, str(state), sql))
        at += length
    return found


def _sums(parts: Sequence[Span]) -> Mapping[State, tuple[float, int]]:
    """The seconds and the number of parts of each state."""
    seconds: Counter[State] = Counter()
    numbers: Counter[State] = Counter()
    for part in parts:
        seconds[part.state] += part.duration  # type: ignore[assignment]  # a counter of seconds
        numbers[part.state] += part.number
    return {state: (seconds[state], numbers[state]) for state in State}


@given(many_spans())
def test_every_state_keeps_its_seconds(parts: list[Span]) -> None:
    started, ended = parts[0].started, parts[-1].ended
    found = downsampled(parts, started, ended, MOST)
    assert len(found) <= MOST
    assert (found[0].started, found[-1].ended) == (started, ended)
    assert all(one.ended == other.started for one, other in pairwise(found))
    assert _sums(found) == _sums(parts)
    if len(parts) <= MOST:
        assert found == parts


@given(many_spans())
def test_what_is_long_stays_and_nothing_strays_from_its_place(parts: list[Span]) -> None:
    started, ended = parts[0].started, parts[-1].ended
    found = downsampled(parts, started, ended, MOST)
    if len(parts) <= MOST:
        return
    resolution = (ended - started) / ((MOST - len(State)) // len(State))
    assert {part for part in parts if part.duration >= resolution} <= set(found)
    for state in State:
        for instant in (part.ended for part in found):
            there, here = (
                sum(min(p.ended, instant) - p.started for p in some if p.started < instant)
                for some in (
                    [part for part in parts if part.state is state],
                    [part for part in found if part.state is state],
                )
            )
            assert abs(there - here) <= 2 * resolution


def test_a_sum_says_what_it_is_of_as_far_as_that_is_one_thing() -> None:
    site = make_site()
    kinds = (OperationKind.STATEMENT, State.RUNNING)
    parts = [
        Span(
            State.BUSY if index % 2 else State.RUNNING,
            float(index),
            index + 1.0,
            kinds[index % 2 - 1],
            SQL[index > 5_000] if index % 2 else None,
            site if index % 2 else None,
        )
        for index in range(10_000)
    ]
    found = downsampled(parts, 0.0, 10_000.0, MOST)
    busy = [part for part in found if part.state is State.BUSY]
    assert sum(part.number for part in busy) == 5_000
    assert {part.statement for part in busy[:2]} == {SQL[0]}
    assert {part.statement for part in busy[-2:]} == {SQL[1]}
    assert {part.site for part in busy[:2]} == {site}
    mixed = [part for part in busy if part.statement is None]
    assert len(mixed) <= 1


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([], 10, 0),
        ([3, 4], 10, 4),
        ([3, 100], 10, 7),
        ([100, 100], 10, 5),
        ([1, 1, 1000, 6], 20, 12),
        ([5, 5, 5], 2, 0),
    ],
)
def test_the_large_ones_share_what_the_small_ones_leave(
    sizes: list[int], total: int, expected: int
) -> None:
    assert level(sizes, total) == expected
    cut = sum(min(size, expected) for size in sizes)
    assert cut <= total
