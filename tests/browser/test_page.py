"""The page as it is handed out: one file, opened from the disk, with all of its parts at work."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import PHONE, report
from browser.looking import contrast
from browser.test_pictures import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from browser.conftest import OpenPage

NAMES = ("orders", "some", "many", "both")


def opened(open_page: OpenPage, pages: dict[str, Path], name: str, **options: object) -> Page:
    page = open_page(pages[name].as_uri(), **options)  # type: ignore[arg-type]
    page.locator(".timeline[data-drawn]").first.wait_for()
    return page


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_word_and_loads_nothing(
    open_page: OpenPage, pages: dict[str, Path], name: str, scheme: str
) -> None:
    page = opened(open_page, pages, name, color_scheme=scheme)
    sides = 2 if name == "both" else 1
    expect(page.locator(".timeline canvas").first).to_be_visible()
    expect(page.locator(".timeline")).to_have_count(sides)
    expect(page.locator(".tree")).to_have_count(sides)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(200)


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_on_a_phone(open_page: OpenPage, pages: dict[str, Path], name: str) -> None:
    page = opened(open_page, pages, name, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">.*?</script>', text, re.DOTALL)
    assert data is not None
    script = re.search(r'<script type="module">.*?</script>', text, re.DOTALL)
    style = re.search(r"<style>.*?</style>", text, re.DOTALL)
    assert script is not None
    assert style is not None
    assert len(text.encode()) < 5_000_000
    assert len((script[0] + style[0]).encode()) < 250_000


@pytest.mark.parametrize("name", ["orders", "some", "many"])
def test_its_numbers_are_those_of_the_report(
    open_page: OpenPage, pages: dict[str, Path], traces: dict[str, Path], name: str
) -> None:
    told = json.loads(report(traces[name], "--json"))
    page = opened(open_page, pages, name)
    shown = {
        str(element.get_attribute("data-number")): float(element.get_attribute("data-value") or "")
        for element in page.locator("[data-number]").all()
    }
    totals = told["totals"]
    assert shown["requests"] == totals["requests"]
    assert shown["checkouts"] == totals["checkouts"]
    assert shown["connection time"] == pytest.approx(totals["use_s"])
    routes = page.locator("table[data-key='routes'] tbody tr")
    assert routes.count() == len(told["routes"])
    columns = page.locator("table[data-key='routes'] thead th").all_inner_texts()
    use = [column.split()[0].lower() for column in columns].index("use")
    found = {
        row.locator("th").inner_text(): float(
            row.locator("th, td").nth(use).get_attribute("data-value") or ""
        )
        for row in routes.all()
    }
    assert found == {route["name"]: pytest.approx(route["use_s"]) for route in told["routes"]}
    assert page.locator(".finding").count() <= len(told["findings"])


def test_a_finding_leads_to_the_timeline_and_to_its_request(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = opened(open_page, pages, "orders", reduced_motion="reduce")
    window = "document.querySelector('.timeline').dataset"
    whole = page.evaluate(f"{window}.from + '-' + {window}.to")
    page.get_by_role("button", name="Show in the timeline").first.click()
    expect(page.locator(".timeline .following")).to_be_visible()
    expect(page.locator(".stage")).to_be_focused()
    expect(page.locator(".stage")).to_be_in_viewport()
    # One end may stay: the request that held longest can be the first or the last one.
    page.wait_for_function(f"(whole) => {window}.from + '-' + {window}.to !== whole", arg=whole)
    number = (page.locator(".following strong").inner_text()).split()[0]
    expect(page.locator(".life h3")).to_have_text(re.compile(rf"^{number} "))


def test_the_request_that_is_chosen_is_followed_in_the_timeline(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = opened(open_page, pages, "orders", reduced_motion="reduce")
    chooser = page.get_by_label("The request")
    chooser.select_option(index=3)
    number = (page.locator(".life h3").inner_text()).split()[0]
    expect(page.locator(".following strong")).to_have_text(re.compile(rf"^{number} "))


def test_the_file_is_enough(open_page: OpenPage, pages: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.html"
    copy.write_bytes(pages["some"].read_bytes())
    page = open_page(copy.as_uri())
    page.locator(".timeline[data-drawn]").wait_for()
    asked = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked == []


def test_the_policy_lets_nothing_else_run(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(pages["orders"].as_uri())
    page.locator(".timeline[data-drawn]").wait_for()
    assert refused == []
    ran = page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          return window.ran === true;
        }"""
    )
    loaded = page.evaluate("fetch('data:,').then(() => true, () => false)")
    page.close()
    assert not ran
    assert not loaded
    assert len(refused) >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_it_can_be_read(
    open_page: OpenPage, pages: dict[str, Path], scheme: str
) -> None:
    page = opened(open_page, pages, "some", color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    found = page.evaluate(TEXTS, "body")
    assert len(found) > 300
    hard = {(text, ink, back) for text, ink, back in found if contrast(ink, back) < 4.5}
    assert hard == set()


def test_the_keyboard_reaches_every_part_in_order(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = opened(open_page, pages, "orders")
    seen: list[str] = []
    for _ in range(250):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const one = document.activeElement;
                  const parts = ["playback", "timeline", "tree"];
                  const part = parts.find((name) => one.closest(`.${name}`));
                  return part ?? (one.closest("section, header")?.id || one.tagName);
                }"""
            )
        )
        if seen[-1] == "BODY":
            break
    order = list(dict.fromkeys(seen))
    wanted = ["findings", "playback", "timeline", "tree", "tables", "request", "help"]
    assert [part for part in order if part in wanted] == wanted


def test_focus_can_be_seen(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages, "orders")
    for selector in (".stage", ".timeline button", ".tree select", ".playback button"):
        page.locator(selector).first.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", selector


def test_on_paper_the_tables_are_whole(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages, "some", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    expect(page.locator(".printed svg")).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert contrast(background, "rgb(255, 255, 255)") < 1.1
    hidden = page.locator("table:visible").evaluate_all(
        """(all) => all.filter((table) => {
          const { parentElement: around, scrollWidth } = table;
          const isCut = getComputedStyle(around).overflowX !== "visible";
          return isCut && scrollWidth > around.clientWidth + 1;
        }).length"""
    )
    assert hidden == 0
