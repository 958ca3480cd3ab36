"""The lab's page: its bursts are played side by side on one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import PHONE
from browser.lab_pages import lab_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPage


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return lab_page(tmp_path_factory.mktemp("talk"))


@pytest.fixture
def page(open_page: OpenPage, talk: str) -> Page:
    page = open_page(talk, reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    return page


def test_both_styles_are_on_one_axis(page: Page) -> None:
    pair = page.locator("#T11 .timeline")
    expect(pair).to_have_count(2)
    expect(pair.locator("h3")).to_have_text(["implicit", "explicit"])
    pair.nth(1).get_by_role("button", name="Zoom in").click()
    page.wait_for_timeout(100)
    first, second = (pair.nth(i) for i in range(2))
    for end in ("data-from", "data-to"):
        assert first.get_attribute(end) == second.get_attribute(end)
    alone = page.locator("#T14 .timeline")
    assert alone.get_attribute("data-to") != first.get_attribute("data-to")


def test_both_are_played_at_once(page: Page) -> None:
    playback = page.locator("#T11 .playback")
    slider = playback.get_by_role("slider")
    slider.fill(str(0.2 * float(slider.get_attribute("max") or 0)))
    counts = playback.locator(".counts")
    expect(counts).to_contain_text("implicit: 5 connections lent (5 parked), 5 requests waiting")
    expect(counts).to_contain_text("explicit: no connection lent")
    expect(playback.get_by_role("button", name="Play")).to_be_enabled()


def test_each_slide_of_the_talk_is_a_section_with_its_picture(page: Page) -> None:
    sections = page.locator("section[id^=T]")
    ids = sections.evaluate_all("all => all.map((one) => one.id)")
    assert ids == [f"T{number}" for number in range(1, 17)]
    for slide in ("T3", "T8", "T9", "T11", "T12", "T15"):
        expect(page.locator(f"#{slide} .picture .wide svg").first).to_be_visible()


def test_what_is_drawn_and_what_is_said_are_of_the_same_requests(page: Page) -> None:
    drawn = page.locator("#T9 .picture .wide svg title").first
    expect(drawn).to_contain_text("10 requests at once")
    found = page.locator("#T9 .found")
    expect(found.locator("figcaption")).to_contain_text("of these 10 requests, implicit")
    expect(found).to_contain_text("10 checkouts")


def test_no_backtick_is_left(page: Page) -> None:
    expect(page.locator("#T9 .found p code").first).to_be_visible()
    assert "`" not in page.locator("main").inner_text()


def test_the_sections_stay_in_view_and_the_current_one_is_marked(page: Page) -> None:
    contents = page.get_by_role("navigation", name="Sections")
    links = contents.get_by_role("link")
    expect(links).to_have_count(16)
    link = contents.get_by_role("link", name="T9 What the pool was doing")
    link.focus()
    page.keyboard.press("Enter")
    expect(link).to_have_attribute("aria-current", "true")
    expect(page.locator("#T9-title")).to_be_in_viewport()
    expect(link).to_be_in_viewport()
    page.locator("#T12").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('T12').scrollIntoView()")
    marked = contents.locator("[aria-current]")
    expect(marked).to_have_text(["T12 Let's test it again"])


def test_on_a_phone_the_sections_fold_away(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk, viewport=PHONE)
    toggle = page.get_by_role("button", name="Sections")
    link = page.get_by_role("link", name="T9 What the pool was doing")
    expect(link).to_be_hidden()
    page.evaluate("document.getElementById('T11').scrollIntoView()")
    expect(toggle).to_be_in_viewport()
    expect(toggle).to_contain_text("T11")
    toggle.click()
    link.click()
    expect(link).to_be_hidden()
    expect(page.locator("#T9-title")).to_be_in_viewport()
    toggle.focus()
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(toggle).to_be_focused()


def test_it_fits_on_a_phone(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk, viewport=PHONE)
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    boxes = page.locator("main svg:visible").evaluate_all(
        "all => all.map((o) => o.getBoundingClientRect()).map(({ left, right }) => [left, right])"
    )
    assert len(boxes) > 10
    assert all(left >= 0 and right <= PHONE["width"] for left, right in boxes)


def test_a_drawing_can_be_stopped_and_played(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    picture = page.locator("#timeline-implicit-animated")
    curtain = picture.locator(".wide .curtain")
    expect(curtain).to_be_visible()
    picture.get_by_role("button", name="Pause").click()
    expect(curtain).to_be_hidden()
    picture.get_by_role("button", name="Play").click()
    expect(curtain).to_be_visible()


def test_a_drawing_stands_still_for_who_wants_less_motion_until_it_is_played(page: Page) -> None:
    picture = page.locator("#timeline-implicit-animated")
    curtain = picture.locator(".wide .curtain")
    expect(curtain).to_be_hidden()
    picture.get_by_role("button", name="Play").click()
    expect(curtain).to_be_visible()
