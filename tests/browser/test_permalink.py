"""What is shown stands in the address: it can be sent, and the history goes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import DESKTOP

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from browser.conftest import OpenPage

WRITTEN_MS = 600
BAD = (
    "view=9-3",
    "view=1-2-3",
    "view=-5-7",
    "view=0-99999999999999",
    "selection=x-y",
    "request=nobody",
    "hide=nothing,__proto__",
    "time=centuries",
    "place=999999",
    "place=-1",
    "tree=%ZZ",
    "rows-routes=%00",
    "=&=&&",
    "__proto__=1&constructor=2",
)


def opened(open_page: OpenPage, file: Path, fragment: str = "") -> Page:
    page = open_page(f"{file.as_uri()}{fragment}", reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").first.wait_for()
    return page


def fragment(page: Page) -> str:
    page.wait_for_timeout(WRITTEN_MS)
    return page.url.partition("#")[2]


def shown(page: Page) -> dict[str, object]:
    """What a reader sees of what an address can say."""
    found: dict[str, object] = page.evaluate(
        """() => ({
          from: document.querySelector(".timeline").dataset.from,
          to: document.querySelector(".timeline").dataset.to,
          selected: document.querySelector(".stretch strong")?.textContent ?? "",
          followed: document.querySelector(".following strong")?.textContent ?? "",
          find: document.querySelector(".timeline .finder input").value,
          hidden: [...document.querySelectorAll(".key[aria-pressed='false']")]
            .map((one) => one.textContent),
          time: document.querySelector(".tree select").value,
          pressed: [...document.querySelectorAll(".tree [aria-pressed='true']")]
            .map((one) => one.textContent),
          words: document.querySelector(".tree .finder input").value,
          place: document.querySelector(".tree [aria-current]").textContent,
          rows: document.querySelector("[data-filter]")?.value ?? "",
        })"""
    )
    return found


def test_all_that_was_chosen_is_in_the_address_and_comes_back(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = opened(open_page, pages["some"])
    assert fragment(page) == ""
    stage = page.locator(".stage")
    stage.focus()
    for key in ("+", "+", "ArrowDown", "Enter", "s"):
        page.keyboard.press(key)
    page.locator(".legend").get_by_role("button", name="running").click()
    tree = page.locator(".tree")
    tree.get_by_label("Show time that was").select_option("busy")
    tree.get_by_role("button", name="From the line out").click()
    tree.get_by_role("searchbox").fill("large")
    tree.get_by_role("button", name="Show only what was found").click()
    tree.locator(".tree-table button").first.click()
    written = fragment(page)
    before = shown(page)
    assert before["followed"]
    assert before["selected"]
    assert before["pressed"] == ["From the line out", "Only these"]
    other = opened(open_page, pages["some"], f"#{written}")
    other.wait_for_timeout(WRITTEN_MS)
    assert shown(other) == before
    assert other.url.partition("#")[2] == written
    expect(other.locator(".stage")).to_be_in_viewport()


def test_the_history_goes_back_and_forward(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["orders"])
    stage = page.locator(".stage")
    stage.focus()
    page.keyboard.press("+")
    first = fragment(page)
    page.keyboard.press("s")
    second = fragment(page)
    assert first.startswith("view=")
    assert "selection" not in first
    assert "selection=" in second
    page.go_back()
    expect(page.locator(".stretch")).to_be_hidden()
    assert fragment(page) == first
    page.go_back()
    page.wait_for_timeout(WRITTEN_MS)
    assert page.locator(".timeline").get_attribute("data-from") == "0"
    assert fragment(page) == ""
    page.go_forward()
    page.go_forward()
    expect(page.locator(".stretch")).to_be_visible()
    assert fragment(page) == second


def test_a_section_is_no_state(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["orders"], "#selection=500000-900000")
    page.get_by_role("link", name="Tables", exact=True).click()
    assert fragment(page) == "tables"
    expect(page.locator(".stretch")).to_be_visible()
    page.go_back()
    expect(page.locator(".stretch")).to_be_visible()
    assert fragment(page) == "selection=500000-900000"


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_shown_is_ignored(
    open_page: OpenPage, pages: dict[str, Path], bad: str
) -> None:
    plain = shown(opened(open_page, pages["orders"]))
    page = opened(open_page, pages["orders"], f"#{bad}")
    page.wait_for_timeout(WRITTEN_MS)
    if not bad.startswith("rows"):
        assert shown(page) == plain
    # What comes with it is shown.
    good = opened(
        open_page, pages["orders"], f"#{bad}&selection=500000-900000".replace("selection=x-y&", "")
    )
    expect(good.locator(".stretch")).to_be_visible()


def test_a_table_s_filter_comes_back(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["both"])
    page.locator("[data-filter]").first.fill("wait")
    written = fragment(page)
    assert written.startswith("rows-")
    count = page.locator("[data-table]:has([data-filter]) tbody tr:not([hidden])").count()
    other = opened(open_page, pages["both"], f"#{written}")
    expect(other.locator("[data-filter]").first).to_have_value("wait")
    expect(other.locator("[data-table]:has([data-filter]) tbody tr:not([hidden])")).to_have_count(
        count
    )


def test_each_run_of_a_pair_has_its_own(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["both"])
    page.locator(".alternative summary").nth(1).click()
    page.locator(".alternative").nth(1).get_by_role("button").first.click()
    page.locator(".tree").nth(1).get_by_role("button", name="From the line out").click()
    written = fragment(page)
    assert "request.2=" in written
    assert "tree.2=inverted" in written
    other = opened(open_page, pages["both"], f"#{written}")
    expect(other.locator(".following:visible")).to_have_count(1)
    expect(other.locator(".following").nth(1)).to_be_visible()


def test_the_link_is_copied(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["orders"], "#selection=500000-900000")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.text = text; }")
    page.get_by_role("button", name="Copy a link to what is shown").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("text") == page.url
    assert page.viewport_size == DESKTOP
