"""The parts of the page that are there without pictures: tables, requests, help; and bad intent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from traces import HOSTILE, hostile_trace

from browser.conftest import report

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from browser.conftest import OpenPage


@pytest.fixture
def some(open_page: OpenPage, pages: dict[str, Path]) -> Page:
    page = open_page(pages["some"].as_uri(), reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").first.wait_for()
    return page


def column(page: Page, table: str, name: str) -> list[float]:
    """The numbers of a column, in the order in which they stand."""
    rows = page.locator(f"table[data-key='{table}']")
    headings = [text.split()[0] for text in rows.locator("thead th").all_inner_texts()]
    cells = rows.locator(f"tbody tr:not([hidden]) > :nth-child({headings.index(name) + 1})")
    return [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]


def test_a_heading_sorts_by_the_numbers_and_again_the_other_way_round(some: Page) -> None:
    heading = some.locator("table[data-key='routes']").get_by_role("columnheader", name="use")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    found = column(some, "routes", "use")
    assert len(set(found)) > 2
    assert found == sorted(found, reverse=True)
    heading.get_by_role("button").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert column(some, "routes", "use") == sorted(found)


def test_only_one_heading_says_that_it_sorts(some: Page) -> None:
    table = some.locator("table[data-key='statements']")
    for name in ("count", "total", "statement"):
        table.get_by_role("columnheader", name=name, exact=True).get_by_role("button").click()
    expect(table.locator("[aria-sort]")).to_have_count(1)
    expect(table.locator("[aria-sort]")).to_have_text("statement")


def test_the_filter_leaves_the_rows_that_have_the_text_and_says_how_many(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["both"].as_uri())
    grid = page.locator(".table", has=page.locator("table[data-key='comparison']"))
    rows = grid.locator("tbody tr")
    every = rows.count()
    grid.get_by_role("searchbox").fill("  WAIT ")
    shown = grid.locator("tbody tr:not([hidden])").all_inner_texts()
    assert 0 < len(shown) < every
    assert all("wait" in text.lower() for text in shown)
    expect(grid.locator("[data-count]")).to_have_text(f"{len(shown)} of {every} rows")
    grid.get_by_role("searchbox").fill("")
    expect(grid.locator("tbody tr:not([hidden])")).to_have_count(every)


def test_what_changed_between_two_runs_comes_first(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["both"].as_uri())
    conclusion = page.locator("#changes")
    expect(conclusion).to_contain_text("new: parked-checkout at benchmarks/large_trace.py")
    expect(conclusion).to_contain_text("The runs have no route in common.")
    above = conclusion.bounding_box()
    side = page.locator("#verdict .sides").bounding_box()
    assert above is not None
    assert side is not None
    assert above["y"] + above["height"] < side["y"]
    verdicts = page.locator("table[data-key='finding-changes'] tbody th")
    assert set(verdicts.all_inner_texts()) <= {"new", "not called"}
    routes = page.locator("table[data-key='route-changes']")
    expect(routes.locator("tbody tr").first).to_contain_text("all routes")
    routes.get_by_role("columnheader", name="parked").get_by_role("button").click()
    expect(routes.locator("[aria-sort]")).to_have_text("parked")


def test_who_made_whom_wait_is_a_table_with_headings_both_ways(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["orders"].as_uri())
    grid = page.locator(".table", has=page.locator("table[data-key='blame']"))
    row = grid.get_by_role("rowheader").first
    expect(row).to_contain_text(re.compile(r"^\w+ at .+:\d+, "))
    assert grid.get_by_role("columnheader").count() > 2
    whole = column(page, "blame", "made")
    assert whole
    assert all(number >= 0 for number in whole)
    darkest = grid.locator("td.heat-4").first
    lightest = grid.locator("td.number:not([class*='heat'])").first
    colour = "cell => getComputedStyle(cell).backgroundColor"
    assert darkest.evaluate(colour) != lightest.evaluate(colour)


def test_a_request_is_told_from_its_first_line_to_its_last(some: Page) -> None:
    lines = some.locator(".life .log li")
    at = [
        float(text.split()[0].replace(",", "")) for text in lines.locator("time").all_inner_texts()
    ]
    assert len(at) > 3
    assert at == sorted(at)
    assert "Connection checked out from pool" in lines.all_inner_texts()[0]
    bars = some.locator(".lifecycle svg[role='img']")
    assert [bar.get_attribute("aria-label") or "" for bar in bars.all()][1].startswith(
        "connection checked out: "
    )


def test_help_opens_when_it_is_asked_for(some: Page) -> None:
    expect(some.locator("#help dl").first).to_be_hidden()
    some.get_by_role("link", name="Help").click()
    expect(some.locator("#help dl").first).to_be_visible()


def test_without_scripts_there_are_the_verdict_the_findings_and_the_tables(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["orders"].as_uri(), java_script_enabled=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("of connection time was spent")
    expect(page.locator(".finding mark").first).to_be_visible()
    expect(page.locator("table[data-key='routes'] tbody tr").first).to_be_visible()


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_trace_does_anything(open_page: OpenPage, tmp_path: Path, text: str) -> None:
    hostile_trace(tmp_path, text)
    report(tmp_path / "trace", "--html", tmp_path / "out.html")
    page = open_page((tmp_path / "out.html").as_uri(), reduced_motion="reduce")
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.locator(".timeline[data-drawn]").wait_for()
    page.get_by_role("button", name="Show in the timeline").first.click()
    page.get_by_role("searchbox", name=re.compile("route|SQL")).first.fill(text[:9])
    page.wait_for_timeout(100)
    assert asked == []
    expect(page.locator("img, iframe, object, form")).to_have_count(0)
    expect(page.locator("script")).to_have_count(2)
    seen = page.locator("body").inner_text()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029]", seen)
    if "\u202e" in text:
        assert "⟨U+202E⟩" in seen
