"""A stretch of the timeline is selected by dragging or keys; its totals are those of the data."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from browser.looking import longest, pixel, settle, stage, totals, view
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from browser.conftest import OpenPage, OpenPictures

WAITING, PARKED = 0, 3
STATES = ("waiting", "busy", "blocked", "parked", "running", "ready")

# What is in a stretch, from the columns as they stand in the page.
BY_HAND = """([from, to]) => {
  const { spans, checkouts, requests, whats, sites, texts } = sides[0];
  const states = [0, 0, 0, 0, 0, 0];
  const routes = {};
  const lines = {};
  const waits = {};
  for (let s = 0; s < spans.size; s++) {
    const us = Math.min(spans.end[s], to) - Math.max(spans.start[s], from);
    if (us <= 0) continue;
    const state = spans.state[s];
    const checkout = spans.checkout[s];
    const route = texts[requests.name[checkouts.request[checkout]]];
    const site = sites[whats[spans.what[s]][2]];
    const line = site ? `${texts[site[0]]}:${site[1]}` : "";
    states[state] += us;
    routes[route] = (routes[route] ?? 0) + us;
    lines[line] = (lines[line] ?? 0) + us;
    if (state === 0) waits[checkout] = (waits[checkout] ?? 0) + us;
  }
  return { states, routes, lines, waits: Object.values(waits) };
}"""

TOTALS = """async ([from, to]) => {
  const { totalsOf } = await import("/js/stretch.js");
  const { states, routes, lines, requests, checkouts, waits, averaged } =
    totalsOf(sides[0], timeline.steps, from, to);
  const sum = (one) => one.states.reduce((a, b) => a + b, 0);
  const { texts } = sides[0];
  const byLine = {};
  for (const one of lines.values()) {
    const site = sides[0].sites[one.site];
    const line = site ? `${texts[site[0]]}:${site[1]}` : "";
    byLine[line] = (byLine[line] ?? 0) + sum(one);
  }
  return {
    states: [...states],
    routes: Object.fromEntries([...routes].map(([name, one]) => [texts[name], sum(one)])),
    lines: byLine,
    requests: requests.size,
    checkouts,
    waits,
    averaged,
  };
}"""


@pytest.fixture
def orders(open_pictures: OpenPictures) -> Page:
    return open_pictures("orders", reduced_motion="reduce")


def selection(page: Page) -> list[float] | None:
    found: list[float] | None = page.evaluate("timeline.view.selection")
    return found


def drag(page: Page, start: float, end: float, *, shift: bool = False) -> None:
    """Drag over the stage, from one pixel to another."""
    stage(page).scroll_into_view_if_needed()
    box = stage(page).bounding_box()
    assert box is not None
    y = box["y"] + 100
    page.mouse.move(box["x"] + start, y)
    if shift:
        page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(box["x"] + end, y, steps=5)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


def panel(page: Page) -> str:
    return page.locator(".stretch").inner_text()


@pytest.mark.parametrize("name", ["orders", "some"])
@pytest.mark.parametrize("part", [(0.2, 0.6), (0.45, 0.46), (0.0, 1.0)])
def test_totals_agree_with_the_data(
    open_pictures: OpenPictures, name: str, part: tuple[float, float]
) -> None:
    page = open_pictures(name)
    length = page.evaluate("sides[0].length")
    stretch = [round(at * length) for at in part]
    found, wanted = page.evaluate(TOTALS, stretch), page.evaluate(BY_HAND, stretch)
    assert found["states"] == wanted["states"]
    assert found["routes"] == wanted["routes"]
    assert found["lines"] == wanted["lines"]
    assert sum(found["states"]) > 0
    waits = wanted["waits"]
    assert (found["waits"]["count"], found["waits"]["us"]) == (len(waits), sum(waits))
    assert found["waits"]["longest"] == max(waits, default=0)
    assert found["averaged"] == 0


def test_the_whole_run_is_what_the_report_says(open_pictures: OpenPictures) -> None:
    page = open_pictures("some")
    found = page.evaluate(TOTALS, [0, page.evaluate("sides[0].length")])
    told = totals(page)
    names = ("wait_s", "busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    most = 1e-6 * page.evaluate("sides[0].spans.size")
    assert [us / 1e6 for us in found["states"]] == [pytest.approx(told[n], abs=most) for n in names]
    assert found["checkouts"] == told["checkouts"]
    assert found["requests"] == page.evaluate("sides[0].requests.size")
    assert found["waits"]["most"] == page.evaluate("timeline.steps.most")


def test_where_only_averages_are_kept_states_are_from_these(open_pictures: OpenPictures) -> None:
    page = open_pictures("many")
    length = page.evaluate("sides[0].length")
    found = page.evaluate(TOTALS, [0, length])
    told = totals(page)
    names = ("busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    assert [us / 1e6 for us in found["states"][1:]] == [
        pytest.approx(told[name], rel=0.02, abs=0.1) for name in names
    ]
    assert 0 < found["averaged"] < length
    page.evaluate("timeline.view.select(0, sides[0].length)")
    expect(page.locator(".stretch")).to_contain_text("only averages are kept")


def test_dragging_selects_and_says_what_happened(orders: Page) -> None:
    before = view(orders)
    drag(orders, 300, 700)
    plot, length = orders.evaluate("timeline.layout.plot"), orders.evaluate("timeline.view.length")
    wanted = [(x - plot["x"]) / plot["width"] * length for x in (300, 700)]
    selected = selection(orders)
    assert selected is not None
    assert selected == pytest.approx(wanted, abs=length / plot["width"])
    assert view(orders) == before
    assert orders.evaluate("timeline.selected") == -1
    by_hand: dict[str, Any] = orders.evaluate(BY_HAND, selected)
    expect(orders.locator(".stretch")).to_be_visible()
    told = panel(orders)
    for state in (WAITING, PARKED):
        assert seconds(by_hand["states"][state] / 1e6) in told
    assert "orders.py confirm" in told
    assert f"{len(by_hand['waits'])} checkouts waited" in told
    # From right to left it is the same.
    drag(orders, 700, 300)
    assert selection(orders) == selected


def test_the_selection_can_be_seen(orders: Page) -> None:
    mark = 'opacity="0.14"'
    assert mark not in orders.evaluate("timeline.svg()")
    before = pixel(orders, 400, 150)
    orders.evaluate("timeline.view.select(1, sides[0].length)")
    assert pixel(orders, 400, 150) != before
    assert mark in orders.evaluate("timeline.svg()")


def test_escape_clears_the_selection_first(orders: Page) -> None:
    spot = longest(orders, PARKED)
    stage(orders).click(position={"x": spot.x, "y": spot.y})
    drag(orders, 300, 700)
    stage(orders).focus()
    orders.keyboard.press("Escape")
    assert selection(orders) is None
    expect(orders.locator(".stretch")).to_be_hidden()
    assert orders.evaluate("timeline.selected") == spot.request
    orders.keyboard.press("Escape")
    assert orders.evaluate("timeline.selected") == -1


def test_keys_select_as_well(orders: Page) -> None:
    orders.evaluate("timeline.view.set(500_000, 1_500_000)")
    stage(orders).focus()
    orders.keyboard.press("s")
    assert selection(orders) == [500_000, 1_500_000]
    for key, wanted in (
        ("{", [520_000, 1_500_000]),
        ("{", [540_000, 1_500_000]),
        ("[", [520_000, 1_500_000]),
        ("}", [520_000, 1_480_000]),
        ("]", [520_000, 1_500_000]),
    ):
        orders.keyboard.press(key)
        assert selection(orders) == wanted
    orders.keyboard.press("f")
    settle(orders)
    assert view(orders) == (520_000, 1_500_000)
    expect(orders.locator(".timeline .unseen").last).to_contain_text("Selected 0.52 s to 1.5 s")
    orders.keyboard.press("ArrowDown")
    orders.keyboard.press("s")
    rows = "timeline.steering.cursor.rows"
    item = "timeline.steering.cursor.item"
    assert selection(orders) == orders.evaluate(f"[{rows}.start[{item}], {rows}.end[{item}]]")


def test_buttons_zoom_to_the_selection_and_clear_it(orders: Page) -> None:
    orders.evaluate("timeline.view.select(600_000, 800_000)")
    orders.get_by_role("button", name="Zoom to selection").click()
    assert view(orders) == (600_000, 800_000)
    orders.get_by_role("button", name="Clear selection").click()
    assert selection(orders) is None
    expect(stage(orders)).to_be_focused()


def test_two_timelines_share_the_selection(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", "some", reduced_motion="reduce")
    page.evaluate("timelines[1].view.select(100_000, 400_000)")
    expect(page.locator(".stretch:visible")).to_have_count(2)
    heads = page.locator(".stretch strong").all_inner_texts()
    assert heads[0] == heads[1]


def test_the_command_of_a_selection_shows_it_in_the_terminal(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(f"{pages['orders'].as_uri()}#selection=500000-900000")
    command = page.locator(".stretch .command code").inner_text()
    program, *words = shlex.split(command)
    assert (program, words[0]) == ("poolhog", "timeline")
    shown = subprocess.run(
        [sys.executable, "-m", "poolhog", *words, "--json"], check=True, capture_output=True
    )
    found = json.loads(shown.stdout)
    assert found["ended_s"] - found["started_s"] == pytest.approx(0.4, abs=1e-5)
    told = page.locator(".stretch .totals").inner_text()
    waited = re.search(r"waited ([\d.]+ m?s) in total", told)
    assert waited is not None
    assert waited[1] == seconds(found["wait_s"])
