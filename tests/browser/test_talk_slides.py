"""The lab's page as slides: keys, notes, fragments, what is large enough, and handouts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import PHONE
from browser.lab_pages import lab_page

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from browser.conftest import OpenPage

HALL = {"width": 1920, "height": 1080}
SLIDES = [f"T{number}" for number in range(1, 17)]
# What of a slide is cut off: elements that end outside of it.
CUT_OFF = """() => {
  const slide = document.querySelector(".chapter.current .slide");
  const box = slide.getBoundingClientRect();
  const parts = [...slide.querySelectorAll("*")].filter((one) => !one.closest("svg, .unseen"));
  const scrolled = parts.filter((one) =>
    getComputedStyle(one).overflowY !== "visible" && one.scrollHeight > one.clientHeight + 1);
  const body = slide.querySelector(".body");
  const outside = parts.filter((one) => {
    const { width, right, bottom } = one.getBoundingClientRect();
    const floor = (body.contains(one) ? body.getBoundingClientRect() : box).bottom;
    return width > 1 && (right > box.right + 1 || bottom > floor + 1);
  });
  return [...scrolled, ...outside].map((one) => `${one.tagName} ${one.className}`);
}"""
# The font sizes of the visible text of a slide, by kind.
SIZES = """() => {
  const seen = (one) => one.checkVisibility() && one.textContent.trim();
  const sizes = (selector) => [...document.querySelectorAll(`.chapter.current .slide ${selector}`)]
    .filter(seen).map((one) => parseFloat(getComputedStyle(one).fontSize));
  const body = sizes("p:not(.small, .number), li div, td");
  return { body, code: sizes("pre, .log code"), titles: sizes("h2") };
}"""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    # With QR codes, which take room.
    return lab_page(tmp_path_factory.mktemp("talk"), url="https://hogs.example.org/talk.html")


@pytest.fixture
def hall(open_page: OpenPage, talk: str) -> Page:
    return open_page(f"{talk}#present", viewport=HALL)


def shown(page: Page) -> list[str]:
    found: list[str] = page.locator(".chapter:visible").evaluate_all("all => all.map((o) => o.id)")
    return found


def test_keys_go_from_slide_to_slide(hall: Page) -> None:
    assert shown(hall) == ["T1"]
    for key, slide in (
        ("ArrowRight", "T2"),
        ("PageDown", "T3"),
        ("ArrowDown", "T4"),
        ("ArrowLeft", "T3"),
        ("PageUp", "T2"),
        ("End", "T16"),
        ("ArrowRight", "T16"),
        ("Home", "T1"),
        ("ArrowUp", "T1"),
    ):
        hall.keyboard.press(key)
        assert shown(hall) == [slide], key
        assert hall.url.endswith(f"#present={slide}")
        number = slide.removeprefix("T")
        expect(hall.get_by_role("status")).to_have_text(f"{number} / 16")


def test_the_key_p_starts_where_the_reader_is_and_escape_ends(
    open_page: OpenPage, talk: str
) -> None:
    page = open_page(talk)
    page.evaluate("document.getElementById('T10').scrollIntoView()")
    page.keyboard.press("p")
    assert shown(page) == ["T10"]
    # Full screen is the browser's to give; Escape leaves that first, and the slides with it.
    page.keyboard.press("Escape")
    expect(page.locator("html")).not_to_have_class(re.compile("presenting"))
    expect(page.locator("#T10-title")).to_be_in_viewport()
    assert len(shown(page)) == 16


def test_the_button_starts_it_too_and_another_one_leaves(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    page.get_by_role("button", name="Present").click()
    assert shown(page) == ["T1"]
    remote = page.get_by_role("region", name="Presentation")
    remote.hover()
    remote.get_by_role("button", name="Next slide").click()
    assert shown(page) == ["T2"]
    remote.get_by_role("button", name="Leave").click()
    assert len(shown(page)) == 16


def test_a_page_that_may_not_fill_the_screen_shows_slides_all_the_same(
    open_page: OpenPage, talk: str
) -> None:
    page = open_page(talk)
    refuse = "Element.prototype.requestFullscreen = () => Promise.reject(new Error('no'))"
    page.evaluate(f"() => {{ {refuse}; }}")
    page.keyboard.press("P")
    page.keyboard.press("ArrowRight")
    assert shown(page) == ["T2"]


def test_slides_fill_the_screen_and_leaving_that_ends_them(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    page.keyboard.press("P")
    page.wait_for_function("document.fullscreenElement === document.documentElement")
    remote = page.get_by_role("region", name="Presentation")
    remote.hover()
    remote.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement === null")
    assert shown(page) == ["T1"]
    remote.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement !== null")
    page.evaluate("document.exitFullscreen()")  # as Escape does, of which a page is not told
    expect(page.locator("html")).not_to_have_class(re.compile("presenting"))
    assert len(shown(page)) == 16


def test_a_fragment_opens_a_slide(open_page: OpenPage, talk: str) -> None:
    page = open_page(f"{talk}#present=T9", viewport=HALL)
    assert shown(page) == ["T9"]
    page.evaluate("location.hash = '#present=T12'")
    page.wait_for_timeout(50)
    assert shown(page) == ["T12"]
    page.evaluate("location.hash = '#T3'")
    page.wait_for_timeout(50)
    assert len(shown(page)) == 16


def test_the_note_says_what_to_say(hall: Page) -> None:
    hall.evaluate("location.hash = '#present=T8'")
    note = hall.get_by_role("complementary", name="Speaker's note for T8")
    expect(note).to_be_hidden()
    hall.keyboard.press("n")
    expect(note).to_contain_text("10 requests, 5 connections: all done after 10.")
    assert hall.evaluate(CUT_OFF) == []
    hall.keyboard.press("N")
    expect(note).to_be_hidden()


def test_typing_into_a_field_moves_no_slide(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    page.get_by_role("searchbox").first.fill("p")
    page.get_by_role("searchbox").first.press("p")
    assert len(shown(page)) == 16


def test_slides_are_large_enough_for_a_hall_and_complete(hall: Page) -> None:
    for slide in SLIDES:
        hall.evaluate("slide => { location.hash = `#present=${slide}`; }", slide)
        hall.wait_for_function(
            "slide => document.querySelector('.current').id === slide", arg=slide
        )
        assert hall.evaluate(CUT_OFF) == [], slide
        sizes = hall.evaluate(SIZES)
        assert min(sizes["body"]) >= 28, slide
        assert min(sizes["code"], default=22) >= 22, slide
        assert min(sizes["titles"]) >= 40, slide
        hall.keyboard.press("n")
        assert hall.evaluate(CUT_OFF) == [], f"{slide} with its note"
        hall.keyboard.press("n")


def test_code_and_drawing_are_side_by_side(hall: Page) -> None:
    hall.evaluate("location.hash = '#present=T4'")
    hall.wait_for_timeout(50)
    code = hall.locator("#T4 pre").bounding_box()
    drawing = hall.locator("#T4 .drawing svg:visible").bounding_box()
    assert code is not None
    assert drawing is not None
    assert code["x"] + code["width"] <= drawing["x"]
    assert code["y"] < drawing["y"] + drawing["height"]


def test_a_drawing_plays_on_its_slide(hall: Page) -> None:
    hall.evaluate("location.hash = '#present=T9'")
    expect(hall.locator("#T9 .wide .curtain")).to_be_visible()
    running = "document.getAnimations().filter((one) => one.playState === 'running').length"
    assert hall.evaluate(running) > 0
    hall.wait_for_function("document.getAnimations()[0].currentTime > 0")


def test_slides_fit_on_a_phone(open_page: OpenPage, talk: str) -> None:
    page = open_page(f"{talk}#present", viewport=PHONE)
    for slide in SLIDES:
        page.evaluate("slide => location.hash = `#present=${slide}`", slide)
        page.wait_for_timeout(30)
        box = page.locator(f"#{slide} .slide")
        assert box.evaluate("one => one.scrollWidth <= one.clientWidth"), slide


def test_paper_gets_every_slide_with_its_note_two_to_a_page(hall: Page, tmp_path: Path) -> None:
    hall.emulate_media(media="print")
    assert shown(hall) == SLIDES
    notes = hall.locator(".note:visible")
    expect(notes).to_have_count(16)
    cut = hall.locator(".chapter").evaluate_all(
        "all => all.filter((o) => o.scrollHeight > o.clientHeight + 1).map((o) => o.id)"
    )
    assert cut == []
    assert hall.locator(".curtain:visible").count() == 0  # what plays is complete on paper
    # On paper, too, code and drawing are side by side, and nothing of a slide is cut off.
    code, drawing = (
        hall.locator(f"#T4 {part}").first.bounding_box() for part in ("pre", ".drawing:visible")
    )
    assert code is not None
    assert drawing is not None
    assert code["x"] + code["width"] <= drawing["x"]
    overflowing = hall.locator(".slide").evaluate_all(
        "all => all.filter((o) => o.scrollHeight > o.clientHeight + 1).map((o) => o.innerText)"
    )
    assert overflowing == []
    hall.emulate_media(media=None)
    printed = hall.pdf(path=tmp_path / "handouts.pdf", format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 8
