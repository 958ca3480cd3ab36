"""Makes the pictures of the README and the docs anew: `make pictures`, about four minutes.

    python benchmarks/pictures.py

The lab runs its bursts and its load, the README's example is recorded, and both pages are
photographed in Chromium. Each PNG carries the words that it shows, without numbers, so that a test
can tell whether the pages have changed since.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.sync_api import Browser, Locator, Page, ViewportSize

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
FROM_THE_LAB = {
    "burst-implicit.svg": "timeline-implicit-10.svg",
    "burst-explicit.svg": "timeline-explicit-10.svg",
    "load.svg": "load.svg",
}
"""Pictures of the docs, and what the lab calls them."""
REPORT_SIZE: ViewportSize = {"width": 1100, "height": 860}
TALK_SIZE: ViewportSize = {"width": 1000, "height": 1000}
HEADINGS = "h2, h3, nav a"
CONTROLS = "button, h3, h4, summary"
_CHROMIUM = "/usr/bin/chromium"
_KEYWORD = b"Words\0"
_NUMBER = re.compile(r"[<≤]?\d[\d.,]*( (ms|µs|s)\b)?")
_OF_A_STATE = re.compile(r"\b(busy|blocked|parked|running|ready|waiting for)\b")
"""Which states there are depends on the run: their words are not compared."""
_TEXT = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)


def poolhog(*arguments: str | Path) -> None:
    """Run ``poolhog`` with these arguments."""
    subprocess.run([sys.executable, "-m", "poolhog", *map(str, arguments)], check=True)


def words_in(place: Locator, selector: str) -> list[str]:
    """The distinct visible texts of elements in a place, with 0 for every number, sorted."""
    return _distinct(place.locator(selector).all_inner_texts())


def words_of_svg(svg: str) -> list[str]:
    """The distinct texts of a drawing, with 0 for every number, sorted."""
    return _distinct(re.sub(r"<[^>]*>", "", text) for text in _TEXT.findall(svg))


def _distinct(texts: Iterable[str]) -> list[str]:
    plain = {" ".join(_NUMBER.sub("0", text).split()) for text in texts}
    return sorted(text for text in plain if text and not _OF_A_STATE.search(text))


def words_of_report(page: Page) -> list[str]:
    """The headings of a page of one run."""
    return words_in(page.locator("body"), HEADINGS)


def bursts_of_talk(page: Page) -> Locator:
    """The part of the lab's page in which bursts are played."""
    return page.locator("[data-movable]").first


def words_of_talk(page: Page) -> list[str]:
    """The controls and titles of the bursts in the lab's page."""
    return words_in(bursts_of_talk(page), CONTROLS)


def with_words(png: bytes, words: list[str]) -> bytes:
    """The PNG with these words in a text chunk before its end."""
    data = _KEYWORD + "\n".join(words).encode("latin-1", errors="xmlcharrefreplace")
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data
    chunk += struct.pack(">I", zlib.crc32(b"tEXt" + data))
    end = png.rindex(b"IEND") - 4
    return png[:end] + chunk + png[end:]


def words_of(png: bytes) -> list[str]:
    """The words that a PNG carries; none if it was not made here."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"tEXt" and data.startswith(_KEYWORD):
            return data.removeprefix(_KEYWORD).decode("latin-1").split("\n")
        at += length + 12
    return []


def shown(words: list[str]) -> list[str]:
    """The words as a PNG carries them."""
    return words_of(b"12345678" + with_words(struct.pack(">I", 0) + b"IEND1234", words))


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        poolhog("run", "-o", folder / "orders", "--", sys.executable, ROOT / "examples/orders.py")
        poolhog("report", folder / "orders", "--html", folder / "page.html")
        poolhog("lab", "burst", "load", "--output", folder / "lab")
        for name, made in FROM_THE_LAB.items():
            (picture,) = (folder / "lab").rglob(made)
            shutil.copyfile(picture, IMAGES / name)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
            _photograph(browser, folder / "page.html", folder / "lab" / "report.html")
            browser.close()


def _photograph(browser: Browser, report: Path, talk: Path) -> None:
    page = browser.new_page(viewport=REPORT_SIZE, reduced_motion="reduce")
    page.goto(report.as_uri())
    page.locator(".timeline[data-drawn]").first.wait_for()
    _save("page.png", page.screenshot(), words_of_report(page))
    page.set_viewport_size(TALK_SIZE)
    page.goto(talk.as_uri())
    bursts_of_talk(page).locator(".timeline[data-drawn]").first.wait_for()
    _save("lab-page.png", bursts_of_talk(page).screenshot(), words_of_talk(page))


def _save(name: str, png: bytes, words: list[str]) -> None:
    (IMAGES / name).write_bytes(with_words(png, words))


if __name__ == "__main__":
    main()
