"""The lab's page and its slides have no violation that axe-core knows of, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from browser.conftest import PHONE
from browser.lab_pages import lab_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPage

HALL = {"width": 1920, "height": 1080}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return lab_page(tmp_path_factory.mktemp("talk"), url="https://hogs.example.org/talk/")


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_none(open_page: OpenPage, talk: str, scheme: str) -> None:
    page = open_page(talk, color_scheme=scheme, reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    assert violations(page) == []


def test_the_page_has_none_on_a_phone_with_its_sections_open(
    open_page: OpenPage, talk: str
) -> None:
    page = open_page(talk, viewport=PHONE, reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    page.get_by_role("button", name="Sections").click()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_slides_have_none(open_page: OpenPage, talk: str, scheme: str) -> None:
    address = f"{talk}#present"
    page = open_page(address, viewport=HALL, color_scheme=scheme, reduced_motion="reduce")
    page.keyboard.press("n")
    for slide in ("T5", "T9", "T16"):
        page.evaluate("slide => { location.hash = `#present=${slide}`; }", slide)
        page.wait_for_function(
            "slide => document.querySelector('.current').id === slide", arg=slide
        )
        assert violations(page) == [], slide
