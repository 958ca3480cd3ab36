"""The page's modules, function by function, in the browser that runs them."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from poolhog.render.palette import PAINTS
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from playwright.sync_api import Page


def call(page: Page, module: str, expression: str, given: object = None) -> Any:
    """The value of an expression of ``m``, a module, and of ``given``."""
    script = (
        f"async (given) => {{ const m = await import('/js/{module}.js'); return {expression}; }}"
    )
    return page.evaluate(script, given)


def test_durations_read_as_on_the_terminal(modules: Page) -> None:
    values = [
        0,
        4e-10,
        2e-9,
        1e-6,
        4.9e-6,
        5e-6,
        0.00099,
        0.000995,
        0.0123,
        0.9994,
        0.9996,
        1,
        12.345,
    ]
    values += [59.96, 123.4, 999.6, 1234.6, 98765.4]
    values += [random.Random(7).lognormvariate(-3, 4) for _ in range(200)]
    written = call(modules, "format", "given.map(m.seconds)", values)
    assert written == [seconds(value) for value in values]


def test_counts_read_as_on_the_terminal(modules: Page) -> None:
    numbers = [0, 1, 2, 999, 1000, 1234567]
    written = call(modules, "format", "given.map((n) => m.count(n, 'request'))", numbers)
    assert written == [count(number, "request") for number in numbers]


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.004, "0.4 %"),
        (0.5, "50 %"),
        (0.9999, ">99 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(modules: Page, share: float, told: str) -> None:
    assert call(modules, "format", "m.percent(given)", share) == told


def test_states_are_named_and_numbered_as_in_the_palette(modules: Page) -> None:
    names = [paint.name for paint in PAINTS.values()]
    assert call(modules, "palette", "m.PAINTS") == names


def test_differences_are_summed_again(modules: Page) -> None:
    assert call(modules, "data", "[...m.undelta([5, 0, 2, -1])]") == [5, 5, 7, 6]


def test_items_are_grouped_in_their_order(modules: Page) -> None:
    found = call(
        modules,
        "data",
        "(({ first, items }) => [[...first], [...items]])(m.grouped([2, 0, -1, 2, 0], 4))",
    )
    assert found == [[0, 2, 2, 4, 4], [1, 4, 0, 3]]


@pytest.mark.parametrize("length", [20, 1_000, 37_500, 10_200_000, 3_600_000_000])
@pytest.mark.parametrize("about", [3, 11])
def test_ticks_are_round_and_about_as_many_as_asked(modules: Page, length: int, about: int) -> None:
    start = 123_456_789
    marks = call(
        modules, "format", "m.ticks(given[0], given[1], given[2])", [start, start + length, about]
    )
    steps = {after - before for before, after in pairwise(marks)}
    assert about / 2 <= len(marks) <= about * 1.5 + 1
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"
    assert all(start <= mark <= start + length for mark in marks)


def test_neighbouring_ticks_have_different_labels(modules: Page) -> None:
    for length in (20, 5_000, 2_000_000, 7_200_000_000):
        labels = call(
            modules,
            "format",
            "m.ticks(9e9, 9e9 + given, 10).map((at) => m.tickLabel(at, m.tickStep(given, 10)))",
            length,
        )
        assert len(set(labels)) == len(labels) > 2


ROWS = """(() => {
  const items = new m.Items(1);
  given.forEach(([row, start, end, state], i) => items.put(row, start, end, state, i, i));
  return new m.Rows(3, items);
})()"""


def test_rows_find_what_lies_in_a_window(modules: Page) -> None:
    items = [[1, 50, 60, 1], [1, 0, 10, 2], [1, 20, 40, 2], [0, 5, 6, 1]]
    windows = "[rows.within(1, 10, 50), rows.within(1, 9, 51), rows.within(2, 0, 99)]"
    assert call(modules, "lanes", f"((rows) => {windows})({ROWS})", items) == [
        [2, 3],
        [1, 4],
        [4, 4],
    ]


def test_rows_find_the_nearest_item(modules: Page) -> None:
    items = [[0, 0, 10, 2], [0, 20, 40, 2]]
    places = "[rows.at(0, 5, 0), rows.at(0, 13, 5), rows.at(0, 17, 5), rows.at(0, 15, 1)]"
    assert call(modules, "lanes", f"((rows) => {places})({ROWS})", items) == [0, 0, 1, -1]


def test_short_items_are_merged_into_what_lasts_longest(modules: Page) -> None:
    items = [[0, 0, 1, 1], [0, 1, 4, 2], [0, 4, 7, 1], [0, 12, 13, 1], [0, 30, 90, 2]]
    script = f"""((rows) => {{
      const found = [];
      m.thinned(rows, 0, 0, 100, 10, (state, start, end) => found.push([state, start, end]));
      return found;
    }})({ROWS})"""
    assert call(modules, "lanes", script, items) == [[1, 0, 10], [1, 12, 22], [2, 30, 90]]


def test_merging_does_not_depend_on_the_window(modules: Page) -> None:
    chance = random.Random(3)
    items, at = [], 0
    for _ in range(400):
        at += chance.randrange(30)
        length = chance.randrange(1, 25)
        items.append([0, at, at + length, chance.randrange(1, 5)])
        at += length
    script = f"""((rows) => {{
      const drawn = (from, to) => {{
        const found = [];
        m.thinned(rows, 0, from, to, 40, (...one) => found.push(one.join()));
        return found;
      }};
      return [drawn(0, 1e6), drawn(2000, 4000)];
    }})({ROWS})"""
    everything, part = call(modules, "lanes", script, items)
    inside = part[2:-2]
    assert len(inside) > 20
    assert set(inside) <= set(everything)


def test_overlapping_checkouts_show_what_holds_most(modules: Page) -> None:
    # parked from 0 to 100, a second checkout waits from 20 on, and is busy from 50 to 60
    spans = {"start": [0, 20, 50], "end": [100, 50, 60], "state": [3, 0, 1]}
    found = call(modules, "lanes", "m.flattened(given, [0, 1, 2])", spans)
    assert [(one["start"], one["end"], one["span"]) for one in found] == [
        (0, 50, 0),
        (50, 60, 2),
        (60, 100, 0),
    ]


def test_the_queue_is_counted_step_by_step(modules: Page) -> None:
    steps = call(
        modules,
        "bins",
        "((s) => ({ at: [...s.at], count: [...s.count], most: s.most }))(m.waitingSteps(given))",
        [[0, 10], [5, 10], [10, 20], [30, 30]],
    )
    assert steps == {"at": [0, 5, 10, 20], "count": [1, 2, 1, 0], "most": 2}


def test_the_most_that_waited_is_found_in_every_part(modules: Page) -> None:
    script = "[...m.mostWaiting(m.waitingSteps(given), 0, 40, 4)]"
    assert call(modules, "bins", script, [[0, 12], [11, 12], [35, 60]]) == [1, 2, 0, 1]


def test_averages_keep_the_sum(modules: Page) -> None:
    items = [[0, 0, 25, 1], [0, 25, 90, 3], [1, 10, 100, 3], [2, 33, 34, 4]]
    script = f"""(async (rows) => {{
      const bins = await import('/js/bins.js');
      const all = {{ pools: rows, waits: [[0, 50]], longestWait: 50 }};
      const found = bins.averagesOf(all, bins.waitingSteps(all.waits), 0, 100, 7);
      const sum = (values) => values.reduce((a, b) => a + b, 0) * 100 / 7;
      const states = ["busy", "blocked", "parked", "running", "ready", "waiting"];
      return states.map((state) => sum(found[state]));
    }})({ROWS})"""
    assert call(modules, "lanes", script, items) == pytest.approx([25, 0, 155, 1, 0, 50])


def test_who_is_to_blame_is_a_part_of_what_waited(modules: Page) -> None:
    script = """((given) => {
      const blame = given.map((waiting, name) => ({ name, waiting }));
      const side = { length: 200, bins: { count: 2, waiting: [4, 1], blame } };
      return [50, 150, 1000].map((at) => m.sharesAt(side, at));
    })(given)"""
    found = call(modules, "drawing", script, [[2, 0], [1, 1.5]])
    # A checkout counts for blame, a request for the queue: there may be more of the former.
    assert found == [[0.5, 0.25], [0, 1], [0, 1]]


def test_coarse_bins_keep_the_sum_when_they_are_cut_anew(modules: Page) -> None:
    script = """(() => {
      const bins = { count: 4, most_waiting: [0, 3, 0, 1] };
      const states = ["waiting", "busy", "blocked", "parked", "running", "ready"];
      for (const state of states) bins[state] = [1, 2, 0, 4];
      const found = m.averagesFromBins(bins, 400, 0, 400, 7);
      return [found.parked.reduce((a, b) => a + b, 0) * 400 / 7, Math.max(...found.most_waiting)];
    })()"""
    assert call(modules, "bins", script) == [pytest.approx(700), 3]


def test_a_window_stays_within_the_whole(modules: Page) -> None:
    cases = [[-50, 50], [950, 1050], [-10, 5000], [500, 501]]
    found = call(modules, "view", "given.map(([from, to]) => m.clamped(from, to, 1000))", cases)
    assert found == [[0, 100], [900, 1000], [0, 1000], [500, 520]]


def test_zooming_keeps_an_instant_where_it_is(modules: Page) -> None:
    script = """(() => {
      const view = new m.View(1e6);
      view.zoom(0.25, 400_000);
      return [view.from, view.to];
    })()"""
    low, high = call(modules, "view", script)
    assert high - low == pytest.approx(250_000)
    assert (400_000 - low) / (high - low) == pytest.approx(0.4)


def test_text_on_any_bar_can_be_read(modules: Page) -> None:
    colours = [paint.light for paint in PAINTS.values()] + [paint.dark for paint in PAINTS.values()]
    found = call(modules, "surface", "given.map((c) => m.contrast(c, m.inkOn(c)))", colours)
    assert min(found) >= 4.5


def test_contrast_is_that_of_wcag(modules: Page) -> None:
    pairs = [["#000000", "#ffffff"], ["#777777", "#ffffff"], ["#abcdef", "#abcdef"]]
    found = call(modules, "surface", "given.map(([a, b]) => m.contrast(a, b))", pairs)
    assert found == pytest.approx([21, 4.48, 1], abs=0.01)


def test_a_run_is_played_in_about_eight_seconds(modules: Page) -> None:
    lengths = [50_000, 1_000_000, 10_000_000, 1_000_000_000]
    for found, length in zip(
        call(modules, "playback", "given.map(m.speedsFor)", lengths), lengths, strict=True
    ):
        assert 3 <= length / 1e6 / found["usual"] <= 20
        assert 1 in found["offered"]
        assert found["usual"] in found["offered"]


def test_files_have_plain_names(modules: Page) -> None:
    script = 'm.fileName("poolhog", "../Ünï/<b>x&y", "2026")'
    assert call(modules, "surface", script) == "poolhog-n-b-x-y-2026.svg"
