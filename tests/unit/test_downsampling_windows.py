"""Which stretches of a long run are shown one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolhog.analysis.downsampling import Reason, ReasonKind, Window, choose

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = Window(0.0, 1000.0, (Reason(ReasonKind.WHOLE_RUN),))
A = (Reason(ReasonKind.EXAMPLE, 1),)
B = (Reason(ReasonKind.SLOWEST),)


def per_second(rate: float) -> Callable[[float, float], int]:
    return lambda started, ended: round(max(ended - started, 0.0) * rate)


def test_what_is_wanted_is_shown_with_a_margin_and_the_rest_of_the_room_is_used() -> None:
    count = per_second(10.0)
    found = choose([Window(100.0, 104.0, A), Window(500.0, 500.0, B)], WHOLE, count, 1_000)
    assert [window.reasons for window in found] == [A, B]
    assert found[0].started < 100.0 < 104.0 < found[0].ended
    assert found[1].started <= 500.0 < found[1].ended
    shown = sum(window.ended - window.started for window in found) * 10
    assert 500 < shown <= 1_000


@pytest.mark.parametrize("most", [1, 10, 100])
def test_a_stretch_that_has_too_many_is_cut_at_its_end(most: int) -> None:
    count = per_second(100.0)
    found = choose([Window(0.0, 900.0, A)], WHOLE, count, most)
    assert sum(count(w.started, w.ended) for w in found) <= most
    assert all(window.started == 0.0 for window in found)


def test_windows_that_meet_are_one_and_say_both_reasons() -> None:
    wanted = [Window(10.0, 12.0, A), Window(11.0, 14.0, B), Window(11.5, 11.6, A)]
    found = choose(wanted, WHOLE, per_second(1.0), 500)
    assert [window.reasons for window in found] == [(*A, *B)]
    assert found[0].ended >= 14.0


def test_nothing_reaches_beyond_the_run() -> None:
    wanted = [Window(0.0, 1.0, A), Window(999.0, 1000.0, B)]
    found = choose(wanted, WHOLE, per_second(0.001), 10)
    assert min(window.started for window in found) >= WHOLE.started
    assert max(window.ended for window in found) <= WHOLE.ended


def test_where_not_even_one_fits_there_is_none() -> None:
    assert choose([Window(1.0, 2.0, A)], WHOLE, lambda _, __: 5, 4) == ()
