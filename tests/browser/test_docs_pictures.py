"""The pictures of the README and the docs show what poolhog draws now: `make pictures`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pictures
import pytest

from poolhog.render.charts import ExpectedValue, ThroughputBar, throughput_bars_svg

if TYPE_CHECKING:
    from pathlib import Path

    from browser.conftest import OpenPage

STALE = "is stale: run `make pictures`"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run of the lab's bursts."""
    folder = tmp_path_factory.mktemp("lab") / "run"
    command = [sys.executable, "-m", "poolhog", "lab", "burst", "--output", str(folder)]
    options = ["--requests", "10", "--external-latency", "0.5"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return folder


def picture(name: str) -> Path:
    return pictures.IMAGES / name


def test_the_picture_of_the_page_has_its_headings(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(pages["orders"].as_uri(), reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").first.wait_for()
    kept = pictures.words_of(picture("page.png").read_bytes())
    assert kept == pictures.shown(pictures.words_of_report(page)), f"page.png {STALE}"


def test_the_picture_of_the_lab_has_its_controls(open_page: OpenPage, lab: Path) -> None:
    page = open_page((lab / "report.html").as_uri(), reduced_motion="reduce")
    pictures.bursts_of_talk(page).locator(".timeline[data-drawn]").first.wait_for()
    kept = pictures.words_of(picture("lab-page.png").read_bytes())
    assert kept == pictures.shown(pictures.words_of_talk(page)), f"lab-page.png {STALE}"


@pytest.mark.parametrize("name", ["burst-implicit.svg", "burst-explicit.svg"])
def test_the_drawn_bursts_have_the_words_of_the_lab(lab: Path, name: str) -> None:
    drawn = (lab / pictures.FROM_THE_LAB[name]).read_text(encoding="utf-8")
    kept = picture(name).read_text(encoding="utf-8")
    assert pictures.words_of_svg(kept) == pictures.words_of_svg(drawn), f"{name} {STALE}"


def test_the_drawn_load_has_the_words_of_the_chart() -> None:
    bars = [
        ThroughputBar("implicit", 2.0, ExpectedValue(2.0, "limit: connections / latency = 2")),
        ThroughputBar("explicit", 199.0, None),
        ThroughputBar("per-query", 197.0, None),
    ]
    limit = ExpectedValue(200.0, "limit: users / latency = 200")
    title, subtitle = "Answers per second under load", "1,000 users, pool of 10, 1 worker"
    drawn = throughput_bars_svg(bars, limit, title=title, subtitle=subtitle)
    kept = picture("load.svg").read_text(encoding="utf-8")
    assert pictures.words_of_svg(kept) == pictures.words_of_svg(drawn), f"load.svg {STALE}"


def test_a_picture_carries_its_words() -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0IEND1234"
    assert pictures.words_of(png) == []
    assert pictures.words_of(pictures.with_words(png, ["Play", "0 requests"])) == [
        "Play",
        "0 requests",
    ]
