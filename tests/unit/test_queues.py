"""Who is charged with the waiting for a pool, against looking at every microsecond by itself."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from poolhog.analysis.queues import Queue, Turns


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


def queue_of(capacity: int | None, some: list[Turn]) -> Queue:
    found = {route: Turns(route) for route in "ab"}
    for asked, got, over, route in some:
        found[route].asked.append(asked)
        found[route].got.append(got)
        found[route].over.append(over)
    return Queue(capacity, list(found.values()))


def charged(capacity: int, some: list[Turn]) -> dict[tuple[int, str], Fraction]:
    """To which of them the waiting of which route is charged: every instant by itself."""
    ordered = sorted(enumerate(some), key=lambda pair: pair[1])
    found: Counter[tuple[int, str]] = Counter()
    for at in range(60):
        waiting = [turn for _, turn in ordered if turn.asked <= at < turn.got]
        holders = [index for index, turn in ordered if turn.got <= at < turn.over]
        for turn in waiting[max(capacity - len(holders), 0) :]:
            for index in holders:
                found[index, turn.route] += Fraction(1, len(holders))  # type: ignore[assignment]
    return {key: Fraction(value) for key, value in found.items()}


@given(st.integers(1, 4), st.lists(turns(), max_size=12))
def test_charges_are_those_of_every_instant(capacity: int, some: list[Turn]) -> None:
    queue = queue_of(capacity, some)
    found = {
        (index, route): Fraction(units, queue.scale)
        for index, turn in enumerate(some)
        for route, units in queue.charge(turn.got, turn.over)
    }
    assert found == charged(capacity, some)


@given(st.integers(1, 4), st.lists(turns(), max_size=12), st.integers(0, 60), st.integers(0, 60))
def test_a_stretch_is_charged_with_its_parts(
    capacity: int, some: list[Turn], cut: int, end: int
) -> None:
    queue = queue_of(capacity, some)
    first, last = sorted((cut, end))
    parts = Counter(dict(queue.charge(0, first)))
    parts.update(dict(queue.charge(first, last)))
    assert parts == Counter(dict(queue.charge(0, last)))
    whole = Counter(dict(queue.charge(0, last)))
    in_spells: Counter[str] = Counter()
    for spell in queue.spells(0, last):
        in_spells.update(dict(queue.charge(*spell)))
    assert in_spells == whole


def test_nobody_is_charged_while_a_connection_is_free() -> None:
    slow = [Turn(0, 0, 10, "a"), Turn(2, 8, 9, "b")]
    assert not list(queue_of(2, slow).charge(0, 10))
    assert dict(queue_of(1, slow).charge(0, 10))


def test_a_pool_without_a_limit_keeps_nobody_waiting() -> None:
    assert not list(queue_of(None, [Turn(0, 0, 10, "a"), Turn(2, 8, 9, "b")]).charge(0, 10))


def test_the_first_in_the_queue_is_handed_what_is_free() -> None:
    """One connection of two is on its way to the first who waits; only the second has to wait."""
    some = [Turn(0, 0, 10, "a"), Turn(1, 5, 6, "a"), Turn(2, 9, 9, "b")]
    found = dict(queue_of(2, some).charge(0, 10))
    scale = queue_of(2, some).scale
    # From 2 to 5 with one holder, from 5 to 6 with two; afterwards a connection is free.
    assert found == {"b": 3 * scale + scale // 2}
