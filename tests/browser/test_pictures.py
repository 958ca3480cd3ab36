"""The pictures as files and on paper, and for readers who see little or nothing of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import expect

from browser.looking import contrast, longest
from poolhog.analysis.accounting import State
from poolhog.render.palette import PAINTS, SURFACES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPictures

SVG = "{http://www.w3.org/2000/svg}"
PARKED = 3

# The text of each element that shows some, with its colour and the one behind it, as they come
# together from what is more or less see-through.
TEXTS = """(root) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const blended = (colours) => {
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    return `rgb(${[...context.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
  };
  const known = new Map();
  const behind = (element) => {
    if (!element) return ["#ffffff"];
    if (!known.has(element)) {
      const own = getComputedStyle(element).backgroundColor;
      known.set(element, [...behind(element.parentElement), own]);
    }
    return known.get(element);
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility()) continue;
    if (element.closest("svg, select, .unseen, [disabled]")) continue;
    const back = behind(element);
    found.push([text, blended([...back, getComputedStyle(element).color]), blended(back)]);
  }
  return found;
}"""


def saved(page: Page, within: str) -> ET.Element:
    """The file that the button of a picture hands out."""
    with page.expect_download() as waiting:
        page.locator(within).get_by_role("button", name="Save as SVG").click()
    download = waiting.value
    assert re.fullmatch(r"poolhog-[a-z0-9-]+\.svg", download.suggested_filename)
    text = Path(download.path()).read_text(encoding="utf-8")
    assert "var(" not in text
    return ET.fromstring(text)


def test_the_timeline_is_saved_as_it_is_on_the_screen(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", reduced_motion="reduce")
    page.evaluate("timeline.view.set(0, 1_000_000)")
    root = saved(page, ".timeline")
    title = root.findtext(f"{SVG}title") or ""
    assert title.startswith("orders: who held which connection, 0 s to 1 s")
    assert "requests waited for a connection at once" in (root.findtext(f"{SVG}desc") or "")
    assert root.get("role") == "img"
    fills = {path.get("fill") for path in root.iter(f"{SVG}path")}
    assert {PAINTS[State.WAITING].light, PAINTS[State.PARKED].light} <= fills
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert any(
        re.fullmatch(r"ThreadPoolExecutor-0_\d orders.py confirm", text or "") for text in texts
    )
    assert "0.5 s" in texts


def test_a_saved_picture_of_a_dark_page_is_dark(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", color_scheme="dark")
    fills = {path.get("fill") for path in saved(page, ".timeline").iter(f"{SVG}path")}
    assert PAINTS[State.PARKED].dark in fills
    assert PAINTS[State.PARKED].light not in fills


def test_a_saved_picture_has_only_what_is_drawn(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders")
    page.get_by_role("button", name="waiting for a connection").click()
    fills = {path.get("fill") for path in saved(page, ".timeline").iter(f"{SVG}path")}
    assert PAINTS[State.WAITING].light not in fills


def test_averages_are_saved_too(open_pictures: OpenPictures) -> None:
    page = open_pictures("many")
    root = saved(page, ".timeline")
    assert "Shown as averages of" in (root.findtext(f"{SVG}desc") or "")
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert any("on average" in text for text in texts)


def test_the_tree_is_saved_as_it_is_on_the_screen(open_pictures: OpenPictures) -> None:
    page = open_pictures("some")
    root = saved(page, ".tree")
    assert "where connection time goes" in (root.findtext(f"{SVG}title") or "")
    assert len(root.findall(f"{SVG}g")) == page.evaluate("treeView.rows.length")


def test_a_saved_picture_opens_in_a_browser(open_pictures: OpenPictures, tmp_path: Path) -> None:
    page = open_pictures("orders")
    with page.expect_download() as waiting:
        page.locator(".timeline").get_by_role("button", name="Save as SVG").click()
    file = tmp_path / "picture.svg"
    waiting.value.save_as(file)
    width = page.evaluate("timeline.layout.width")
    other = page.context.new_page()
    other.goto(file.as_uri())
    assert other.evaluate("document.documentElement.getBoundingClientRect().width") == width
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white(open_pictures: OpenPictures, scheme: str) -> None:
    page = open_pictures("orders", color_scheme=scheme)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    printed = page.locator(".printed svg")
    expect(printed).to_be_visible()
    expect(page.locator(".stage")).to_be_hidden()
    fills = printed.locator("path").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).fill)"
    )
    parked = "#b01745"
    assert PAINTS[State.PARKED].light == parked
    assert "rgb(176, 23, 69)" in fills
    card = printed.locator("> path").first.evaluate("(one) => getComputedStyle(one).fill")
    assert card == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(printed).to_have_count(0)


def test_a_printed_page_has_its_pictures(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders")
    page.evaluate("addEventListener('beforeprint', () => { window.asked = true; })")
    assert len(page.pdf()) > 10_000
    assert page.evaluate("window.asked")


def test_every_control_has_a_name(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", "many")
    # All at one moment: pictures make buttons anew as they are drawn.
    snapshot = page.locator("body").aria_snapshot()
    for role in ("button", "searchbox", "combobox", "slider", "tree", "treeitem", "application"):
        every = re.findall(rf"^ *- '?{role}\b(.*)", snapshot, re.MULTILINE)
        assert every
        assert all(re.match(r" [\"/]", name) for name in every), role


def test_pictures_say_what_they_show(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders")
    most = page.evaluate("timeline.steps.most")
    stage = page.get_by_role("application")
    label = stage.get_attribute("aria-label") or ""
    assert f"At most {most} requests waited" in label
    assert re.search(r"parked >?\d+ %", label)
    keys = stage.get_attribute("aria-describedby") or ""
    assert "Enter follows the request" in (page.locator(f"#{keys}").text_content() or "")


def test_ids_are_there_once(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", "some", "many")
    ids = page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(open_pictures: OpenPictures, scheme: str) -> None:
    page = open_pictures("some", color_scheme=scheme, reduced_motion="reduce")
    spot = longest(page, PARKED)
    page.evaluate("(r) => timeline.select(r)", spot.request)
    page.evaluate("(at) => timeline.view.set(at - 100_000, at + 100_000)", spot.middle)
    for summary in page.locator("summary").all():
        summary.click()
    page.locator(".stage").hover()
    found = page.evaluate(TEXTS, "body")
    assert len(found) > 100
    hard = [(text, contrast(ink, back)) for text, ink, back in found if contrast(ink, back) < 4.5]
    assert hard == []


@pytest.mark.parametrize("dark", [False, True])
def test_what_holds_without_use_stands_out(dark: bool) -> None:
    def triple(colour: str) -> str:
        return ", ".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))

    card = triple(SURFACES["card"][dark])
    marks = {state: triple(paint.dark if dark else paint.light) for state, paint in PAINTS.items()}
    for state in (State.PARKED, State.RUNNING):
        assert contrast(marks[state], card) >= 3, state
    # The states that follow one another on a lane, without the help of textures.
    for state in (State.WAITING, State.BUSY):
        assert contrast(marks[state], marks[State.PARKED]) >= 2, state
