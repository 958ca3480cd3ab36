"""QR codes beside the diagrams of the lab's page, and where they lead."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

import pytest
import segno
from playwright.sync_api import expect
from test_lab_qr import modules_of

from browser.lab_pages import lab_page
from poolhog.lab.qr import QUIET_MODULES

if TYPE_CHECKING:
    from pathlib import Path

    from browser.conftest import OpenPage

URL = "https://hogs.example.org/talk/"
RUNNING = """id => document.getElementById(id).getAnimations({ subtree: true })
  .filter((one) => one.playState === "running").length"""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return lab_page(tmp_path_factory.mktemp("talk"), url=URL)


def test_each_diagram_has_a_code_that_leads_to_it(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    for diagram in page.locator(".picture[id]").all():
        plays = diagram.get_attribute("data-plays") is not None
        address = f"{URL}#{diagram.get_attribute('id')}{'&play' if plays else ''}"
        link = diagram.locator("a.qr")
        expect(link).to_have_attribute("href", address)
        drawn = modules_of(link.locator("svg").evaluate("one => one.outerHTML"))
        expected = segno.make_qr(address, error="m").matrix_iter(border=QUIET_MODULES)
        assert drawn == [[bool(module) for module in row] for row in expected]
    assert page.locator("#T9 a.qr:visible").count() == 1


def test_every_link_leads_to_something(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk)
    links = page.locator("a.qr").evaluate_all("all => all.map((one) => one.href)")
    assert len(links) > 10
    for link in links:
        address, fragment = urldefrag(link)
        assert address == URL
        assert page.locator(f"[id='{fragment.removesuffix('&play')}']").count() == 1


def test_opening_a_link_goes_to_the_diagram_and_plays_it(open_page: OpenPage, talk: str) -> None:
    diagram = "timeline-explicit-animated-2"  # it stands still until somebody wants it to play
    page = open_page(f"{talk}#{diagram}&play")
    expect(page.locator(f"#{diagram} .narrow svg")).to_be_in_viewport()
    expect(page.locator(f"#{diagram} .curtain")).to_be_visible()
    assert page.evaluate(RUNNING, diagram) == 2
    other = "timeline-implicit-animated-2"
    assert page.evaluate(RUNNING, other) == 0
    page.evaluate("fragment => { location.hash = fragment; }", f"{other}&play")
    expect(page.locator(f"#{other} .curtain")).to_be_visible()
    expect(page.locator(f"#{other} .narrow svg")).to_be_in_viewport()


def test_a_slide_s_name_leads_to_its_diagram_too(open_page: OpenPage, talk: str) -> None:
    page = open_page(f"{talk}#T9&play")
    expect(page.locator("#timeline-implicit-animated .wide svg")).to_be_in_viewport()
    assert page.evaluate(RUNNING, "timeline-implicit-animated") > 0


def test_both_timelines_are_played_by_their_link(open_page: OpenPage, talk: str) -> None:
    page = open_page(f"{talk}#both&play")
    expect(page.locator("#both").get_by_role("button", name="Pause")).to_be_in_viewport()


def test_who_wants_less_motion_is_led_there_and_nothing_moves(
    open_page: OpenPage, talk: str
) -> None:
    diagram = "timeline-explicit-animated-2"
    page = open_page(f"{talk}#{diagram}&play", reduced_motion="reduce")
    expect(page.locator(f"#{diagram} .narrow svg")).to_be_in_viewport()
    expect(page.locator(f"#{diagram} .curtain")).to_be_hidden()


def test_a_fragment_that_names_nothing_does_nothing(open_page: OpenPage, talk: str) -> None:
    for fragment in ("nothing&play", "&play", "%&play", "present=T99", "T9&"):
        page = open_page(f"{talk}#{fragment}")
        expect(page.locator("h2").first).to_be_attached()


def test_without_an_address_there_is_no_code(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(lab_page(tmp_path / "talk"))
    expect(page.locator(".qr")).to_have_count(0)


@pytest.mark.parametrize("url", ["hogs.example.org", "https://hogs.example.org/#T9"])
def test_a_wrong_address_is_one_line(tmp_path: Path, url: str) -> None:
    command = [sys.executable, "-m", "poolhog", "lab", "--url", url, "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"poolhog: --url \S+: expected .+\n", done.stderr)
    assert not (tmp_path / "out").exists()
