"""The site of the documentation loads nothing from elsewhere, and works from its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import DESKTOP, PHONE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

ROOT = Path(__file__).parents[2]
PROBLEMS = ["times-out", "hangs", "ci", "deploy", "production", "versions", "remedies"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return folder


@pytest.mark.parametrize("name", ["index", *PROBLEMS, "findings", "trace-format"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_page_loads_nothing_from_elsewhere_and_fits(
    browser: Browser, site: Path, name: str, size: ViewportSize
) -> None:
    page = browser.new_page(viewport=size)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / f"{name}.html").as_uri())
    expect(page.locator("h1")).to_be_visible()
    own = site.as_uri()
    assert [url for url in asked if not url.startswith((own, "data:", "blob:", "about:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_the_site_is_ordered_by_problem(browser: Browser, site: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((site / "index.html").as_uri())
    links = page.locator(".md-nav--primary a.md-nav__link[href$='.html']")
    found = [Path(str(link.get_attribute("href"))).stem for link in links.all()]
    assert found[1 : 1 + len(PROBLEMS)] == PROBLEMS
    page.close()


def test_the_search_works_without_a_server(browser: Browser, site: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((site / "index.html").as_uri())
    page.locator("input[name=query]").press_sequentially("overhead")
    expect(page.locator(".md-search-result__item a").first).to_be_visible(timeout=30_000)
    page.close()
