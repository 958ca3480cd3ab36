"""The page for everybody: axe finds nothing, it can be read without scripts, nothing sticks out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from browser.conftest import report

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from browser.conftest import OpenPage

WIDTHS = (1400, 1000, 390)
FRAGMENT = "#selection=100000-300000&tree=inverted&words=e&only=1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["orders", "some", "both"])
def test_axe_finds_nothing(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str
) -> None:
    # axe is put into the page, which the page's policy forbids to all but its own script.
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{pages[name].as_uri()}{FRAGMENT}")
    page.locator(".timeline[data-drawn]").first.wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(200)
    found = Axe().run(page).response["violations"]
    context.close()
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["orders", "some", "many", "both"])
def test_nothing_makes_the_page_scroll_sideways(
    open_page: OpenPage, pages: dict[str, Path], name: str, width: int
) -> None:
    page = open_page(f"{pages[name].as_uri()}{FRAGMENT}", viewport={"width": width, "height": 900})
    page.locator(".timeline[data-drawn]").first.wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator(".alternative tbody button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("table")].filter((table) => {
          const around = table.parentElement.getBoundingClientRect();
          return around.right > innerWidth + 1 || around.left < -1;
        }).map((table) => table.dataset.key ?? table.caption.textContent)"""
    )
    assert outside == []


def test_a_wide_table_scrolls_in_itself_and_keeps_its_names(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["some"].as_uri(), viewport={"width": 1000, "height": 900})
    pools = page.locator(".scroller", has=page.locator("table[data-key='pools']"))
    assert pools.evaluate("(one) => one.scrollWidth > one.clientWidth")
    name = pools.locator("tbody th").first
    before = name.bounding_box()
    pools.evaluate("(one) => { one.scrollLeft = 200; }")
    assert name.bounding_box() == before


@pytest.mark.parametrize("name", ["orders", "both"])
def test_without_scripts_no_box_is_empty_and_the_page_says_what_is_missing(
    open_page: OpenPage, pages: dict[str, Path], name: str
) -> None:
    page = open_page(pages[name].as_uri(), java_script_enabled=False)
    for box in ("[data-timeline]", "[data-tree]", "[data-life]", "[data-playback]"):
        for one in page.locator(box).all():
            expect(one).to_be_hidden()
    for dead in ("button", "input"):
        for one in page.locator(dead).all():
            expect(one).to_be_hidden()
    for section, verb in (("#timeline", "timeline"), ("#time", None), ("#request", "log")):
        told = page.locator(section)
        expect(told).to_contain_text("scripts are switched off here", use_inner_text=True)
        if verb is not None:
            expect(told).to_contain_text(f"poolhog {verb}", use_inner_text=True)
    expect(page.locator(".finding .command code").first).to_be_visible()


def tiles(page: Page) -> dict[str, tuple[float, str]]:
    """The value and the note of each number below the verdict."""
    found: dict[str, tuple[float, str]] = {}
    for box in page.locator(".numbers div").all():
        value = box.locator("dd[data-number]")
        name = value.get_attribute("data-number") or ""
        exact = float(value.get_attribute("data-value") or "nan")
        found[name] = exact, box.locator("dd").last.inner_text()
    return found


@pytest.mark.parametrize("name", ["orders", "some", "many"])
def test_the_numbers_are_what_their_labels_say(
    open_page: OpenPage, pages: dict[str, Path], traces: dict[str, Path], name: str
) -> None:
    told = json.loads(report(traces[name], "--json"))
    totals, pools = told["totals"], [pool for pool in told["pools"] if pool["checkouts"]]
    slowest = max(pools, key=lambda pool: (pool["wait_p95_s"], pool["wait_p50_s"]))
    wanted = {
        "requests": (totals["requests"], "recorded, with a checkout or without"),
        "checkouts": (totals["checkouts"], "times a connection was asked for"),
        "wait, p50": (slowest["wait_p50_s"], "for a connection"),
        "wait, p95": (slowest["wait_p95_s"], "for a connection"),
        "waiting at once": (max(pool["peak_waiting"] for pool in pools), "at most"),
        "connection time": (totals["use_s"], "all checkouts added up"),
    }
    if totals["timeouts"]:
        wanted["timeouts"] = (totals["timeouts"], "waits without a connection")
    found = tiles(open_page(pages[name].as_uri()))
    assert {key: note for key, (_, note) in found.items()} == {k: n for k, (_, n) in wanted.items()}
    for key, (value, _) in wanted.items():
        assert found[key][0] == pytest.approx(value), key
