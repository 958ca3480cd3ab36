"""Playing a run in the browser: one timeline, or two at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.looking import colours, has_colour, longest
from poolhog.analysis.accounting import State
from poolhog.render.palette import PAINTS

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPictures

WAITING = 0


@pytest.fixture
def orders(open_pictures: OpenPictures) -> Page:
    return open_pictures("orders")


def at(page: Page) -> float:
    return float(page.evaluate("playback.at"))


def test_it_does_not_start_by_itself(orders: Page) -> None:
    orders.wait_for_timeout(300)
    assert at(orders) == orders.evaluate("playback.length")
    expect(orders.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_it_plays_from_the_beginning_and_pauses(orders: Page) -> None:
    orders.get_by_role("button", name="Play", exact=True).click()
    orders.wait_for_function("playback.at > 100_000 && playback.at < playback.length")
    orders.get_by_role("button", name="Pause").click()
    stopped = at(orders)
    orders.wait_for_timeout(200)
    assert at(orders) == stopped


def test_it_ends_with_everything_shown(orders: Page) -> None:
    orders.get_by_label("Speed").select_option("2")
    orders.evaluate("playback.seek(playback.length * 0.9)")
    orders.get_by_role("button", name="Play", exact=True).click()
    orders.wait_for_function("!playback.playing")
    assert at(orders) == orders.evaluate("playback.length")
    assert orders.evaluate("timeline.playhead") == float("inf")


def test_the_speed_is_that_which_was_chosen(orders: Page) -> None:
    script = """async (speed) => {
      playback.pause();
      playback.seek(0);
      document.querySelector(".playback select").value = speed;
      document.querySelector(".playback select").dispatchEvent(new Event("change"));
      const began = performance.now();
      playback.play();
      await new Promise((done) => setTimeout(done, 1000));
      playback.pause();
      return playback.at / 1000 / (performance.now() - began);
    }"""
    assert orders.evaluate(script, "0.1") == pytest.approx(0.1, rel=0.35)
    assert orders.evaluate(script, "1") == pytest.approx(1, rel=0.35)


def test_what_is_to_come_is_not_drawn(orders: Page) -> None:
    spot = longest(orders, WAITING)
    amber = PAINTS[State.WAITING].light
    assert has_colour(amber, colours(orders, spot))
    orders.evaluate("(at) => playback.seek(at)", spot.middle - spot.length / 4)
    assert not has_colour(amber, colours(orders, spot))
    orders.evaluate("(at) => playback.seek(at)", spot.middle + spot.length / 4)
    assert has_colour(amber, colours(orders, spot))


def test_scrubbing_stops_and_goes_there(orders: Page) -> None:
    orders.get_by_role("button", name="Play", exact=True).click()
    scrub = orders.get_by_role("slider", name="Instant that is shown")
    middle = orders.evaluate("playback.length") / 2
    scrub.fill(str(middle))
    assert not orders.evaluate("playback.playing")
    assert at(orders) == pytest.approx(middle)
    assert " s" in (scrub.get_attribute("aria-valuetext") or "")


def test_it_is_played_by_keys(orders: Page) -> None:
    orders.get_by_role("button", name="Play", exact=True).focus()
    orders.keyboard.press("Space")
    orders.wait_for_function("playback.playing")
    orders.keyboard.press("Space")
    orders.wait_for_function("!playback.playing")
    scrub = orders.get_by_role("slider", name="Instant that is shown")
    scrub.focus()
    orders.evaluate("playback.seek(1)")
    orders.keyboard.press("Home")
    assert at(orders) == 0
    orders.keyboard.press("ArrowRight")
    assert at(orders) > 0
    orders.evaluate("playback.seek(playback.length - 1)")
    orders.keyboard.press("End")
    assert at(orders) == orders.evaluate("playback.length")


def test_what_happens_at_an_instant_is_counted(orders: Page) -> None:
    spot = longest(orders, WAITING)
    orders.evaluate("(at) => playback.seek(at)", spot.middle)
    counted = orders.evaluate(
        """(at) => {
          const { spans } = sides[0];
          const found = [0, 0, 0, 0, 0];
          for (let s = 0; s < spans.size; s++) {
            if (spans.start[s] <= at && at < spans.end[s]) found[spans.state[s]]++;
          }
          return found;
        }""",
        spot.middle,
    )
    words = orders.locator(".playback .counts").inner_text()
    assert f"{sum(counted[1:])} connections lent" in words
    assert f"{counted[WAITING]} requests waiting" in words


def test_two_runs_are_played_at_once(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", "some")
    page.evaluate("playback.seek(300_000)")
    assert page.evaluate("timelines.map((one) => one.playhead)") == [300_000, 300_000]
    lines = page.locator(".playback .counts span").all_inner_texts()
    assert [line.split(":")[0] for line in lines] == ["orders", "some"]


def test_where_only_averages_are_kept_these_are_told(open_pictures: OpenPictures) -> None:
    page = open_pictures("many")
    gap = page.evaluate(
        """async () => {
          const { gapsOf } = await import("/js/averages.js");
          const [[from, to]] = gapsOf(sides[0], 0, sides[0].length);
          return (from + to) / 2;
        }"""
    )
    page.evaluate("(at) => playback.seek(at)", gap)
    expect(page.locator(".playback .counts")).to_contain_text("connections lent on average")
    page.evaluate("playback.seek(sides[0].windows[0][0] + 1000)")
    expect(page.locator(".playback .counts")).not_to_contain_text("on average")


def test_what_is_shown_is_played_and_nothing_else(orders: Page) -> None:
    orders.evaluate("timeline.view.set(500_000, 900_000)")
    scrub = orders.get_by_role("slider", name="Instant that is shown")
    expect(scrub).to_have_attribute("min", "500000")
    expect(scrub).to_have_attribute("max", "900000")
    expect(orders.locator(".playback .clock")).to_contain_text("0.9 s of 0.9 s (from 0.5 s)")
    assert orders.evaluate("timeline.playhead") == float("inf")
    seen = orders.evaluate(
        """() => new Promise((done) => {
          const seen = [];
          const look = () => {
            seen.push(playback.at);
            if (playback.playing) requestAnimationFrame(look);
            else done(seen);
          };
          document.querySelector(".playback select").value = "0.25";
          document.querySelector(".playback select").dispatchEvent(new Event("change"));
          document.querySelector(".play").click();
          look();
        })"""
    )
    assert seen[0] == 500_000
    assert seen[-1] == 900_000
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert orders.evaluate("[timeline.view.from, timeline.view.to]") == [500_000, 900_000]
    assert orders.evaluate("timeline.playhead") == float("inf")


def test_a_run_that_is_zoomed_while_it_plays_goes_on_inside(orders: Page) -> None:
    orders.evaluate("playback.seek(playback.length / 2)")
    orders.evaluate("timeline.view.set(0, 300_000)")
    orders.get_by_role("button", name="Play", exact=True).click()
    orders.wait_for_function("playback.at > 0 && playback.at < 300_000")
    orders.evaluate("timeline.view.whole()")
    orders.wait_for_function("playback.at > 300_000")
    orders.get_by_role("button", name="Pause").click()


def test_the_speed_suits_what_is_shown_unless_one_was_chosen(orders: Page) -> None:
    speed = orders.get_by_label("Speed")
    whole = float(speed.input_value())
    scrub = orders.get_by_role("slider", name="Instant that is shown")
    orders.evaluate("timeline.view.set(500_000, 510_000)")
    expect(scrub).to_have_attribute("min", "500000")
    part = float(speed.input_value())
    assert part < whole / 10
    speed.select_option("1")
    orders.evaluate("timeline.view.whole()")
    expect(scrub).to_have_attribute("min", "0")
    assert float(speed.input_value()) == 1
    assert orders.evaluate("playback.speed") == 1
