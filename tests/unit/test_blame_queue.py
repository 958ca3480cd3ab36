"""Who is charged with the waiting for a pool, against looking at every microsecond by itself."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.blame.queue import Queue, Turns

ROUTES = "ab"
END = 60
"""No turn of a test goes on for so long."""


class Turn(NamedTuple):
    asked: int
    got: int
    over: int
    route: str


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    asked = draw(st.integers(0, 20))
    got = asked + draw(st.integers(0, 15))
    return Turn(asked, got, got + draw(st.integers(0, 15)), draw(st.sampled_from("ab")))


def queue_of(capacity: int | None, some: list[Turn], unit: int = 1) -> Queue:
    rows = [(t.asked * unit, t.got * unit, t.over * unit, ROUTES.index(t.route)) for t in some]
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Queue(capacity, Turns(*columns), ROUTES)


def charge(queue: Queue, started: int, ended: int) -> dict[str, int]:
    """The units that one is charged with who held a connection in this stretch, by who waited."""
    starts, ends = np.array([started]), np.array([ended])
    return {ROUTES[route]: int(units[0]) for route, units in queue.charges(starts, ends) if units}


def charged(capacity: int, some: list[Turn]) -> dict[tuple[int, str], Fraction]:
    """To which of them the waiting of which route is charged: every instant by itself."""
    ordered = sorted(enumerate(some), key=lambda pair: pair[1])
    found: Counter[tuple[int, str]] = Counter()
    for at in range(END):
        waiting = [turn for _, turn in ordered if turn.asked <= at < turn.got]
        holders = [index for index, turn in ordered if turn.got <= at < turn.over]
        for turn in waiting[max(capacity - len(holders), 0) :]:
            for index in holders:
                found[index, turn.route] += Fraction(1, len(holders))  # type: ignore[assignment]
    return {key: Fraction(value) for key, value in found.items()}


@given(st.integers(1, 4), st.lists(turns(), max_size=12))
def test_charges_are_those_of_every_instant(capacity: int, some: list[Turn]) -> None:
    queue = queue_of(capacity, some)
    starts, ends = (np.array([turn[place] for turn in some], np.int64) for place in (1, 2))
    found = {
        (index, ROUTES[route]): Fraction(number, queue.scale)
        for route, units in queue.charges(starts, ends)
        for index, number in enumerate(units.tolist())
        if number
    }
    assert found == charged(capacity, some)


@given(st.integers(1, 4), st.lists(turns(), max_size=12), st.integers(0, 60), st.integers(0, 60))
def test_a_stretch_is_charged_with_its_parts(
    capacity: int, some: list[Turn], cut: int, end: int
) -> None:
    queue = queue_of(capacity, some)
    first, last = sorted((cut, end))
    parts = Counter(charge(queue, 0, first))
    parts.update(charge(queue, first, last))
    assert parts == Counter(charge(queue, 0, last))
    seconds = sum(charge(queue, 0, last).values()) / (queue.scale * 1e6)
    assert queue.waited_by(np.array([last]))[0] == pytest.approx(seconds, abs=1e-15)


@given(st.integers(1, 4), st.lists(turns(), max_size=12))
def test_those_are_contended_during_which_more_want_one_than_there_are(
    capacity: int, some: list[Turn]
) -> None:
    queue = queue_of(capacity, some)
    wanted = [sum(turn.asked <= at < turn.over for turn in some) for at in range(END)]
    contended = [
        index
        for index, turn in enumerate(some)
        if any(number > capacity for number in wanted[turn.asked : turn.over])
    ]
    assert queue.contended.tolist() == contended
    starts, ends = np.array([*pairwise(range(0, END, 3))]).T
    concerned = [
        index
        for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        if any(number > capacity for number in wanted[start:end])
    ]
    assert queue.concerned(starts, ends).tolist() == concerned
    # Whoever is not concerned is not charged.
    others = np.setdiff1d(np.arange(len(starts)), concerned)
    assert all(not units.any() for _, units in queue.charges(starts[others], ends[others]))


@given(st.integers(1, 4), st.lists(turns(), max_size=12))
def test_seconds_of_some_stretches_are_the_sum_of_their_charges(
    capacity: int, some: list[Turn]
) -> None:
    queue = queue_of(capacity, some)
    starts, ends = (np.array([turn[place] for turn in some], np.int64) for place in (1, 2))
    found: Counter[str] = Counter()
    for turn in some:
        found.update(charge(queue, turn.got, turn.over))
    seconds = {route: units / (queue.scale * 1_000_000) for route, units in found.items()}
    assert queue.charged(starts, ends) == pytest.approx(seconds)


@given(st.integers(1, 4), st.lists(turns(), max_size=12))
def test_charges_are_exact_where_64_bits_would_not_do(capacity: int, some: list[Turn]) -> None:
    """An instant that lasts for years is charged like a microsecond, but for its length."""
    unit = 10**17
    small, large = queue_of(capacity, some), queue_of(capacity, some, unit)
    assert large.scale == small.scale
    for turn in some:
        expected = charge(small, turn.got, turn.over)
        assert charge(large, turn.got * unit, turn.over * unit) == {
            route: units * unit for route, units in expected.items()
        }


def test_nobody_is_charged_while_a_connection_is_free() -> None:
    slow = [Turn(0, 0, 10, "a"), Turn(2, 8, 9, "b")]
    assert not charge(queue_of(2, slow), 0, 10)
    assert charge(queue_of(1, slow), 0, 10)


def test_a_pool_without_a_limit_keeps_nobody_waiting() -> None:
    queue = queue_of(None, [Turn(0, 0, 10, "a"), Turn(2, 8, 9, "b")])
    assert not charge(queue, 0, 10)
    assert not len(queue.contended)


def test_the_first_in_the_queue_is_handed_what_is_free() -> None:
    """One connection of two is on its way to the first who waits; only the second has to wait."""
    some = [Turn(0, 0, 10, "a"), Turn(1, 5, 6, "a"), Turn(2, 9, 9, "b")]
    queue = queue_of(2, some)
    # From 2 to 5 with one holder, from 5 to 6 with two; afterwards a connection is free.
    assert charge(queue, 0, 10) == {"b": 3 * queue.scale + queue.scale // 2}
