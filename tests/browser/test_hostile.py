"""Texts of a trace that would like to be more than text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import expect
from traces import hostile_trace

from browser.conftest import report

if TYPE_CHECKING:
    from browser.conftest import OpenPage

RUN = "window.harmed = true"
TEXTS = {
    "script": f"</script><script>{RUN}</script>",
    "comment": f"<!--<script>{RUN}//",
    "image": f"<img src=x onerror='{RUN}'>",
    "attribute": f'"\'` onmouseover={RUN} x="',
    "style": "</style><style>*{display:none}</style>",
    "template": "{{ 7 * 7 }} ${7 * 7} {% raw %}",
    "lines": "a\u2028b\u2029c\nd\x1be\x0bf",
    "direction": "user\u202etxt.exe\u2066\u2069\u200f",
}


@pytest.mark.parametrize("name", TEXTS)
def test_they_stay_text_wherever_they_are_shown(
    name: str, open_page: OpenPage, tmp_path: Path
) -> None:
    hostile_trace(tmp_path, TEXTS[name])
    file = tmp_path / "out.html"
    report(tmp_path / "trace", "--html", file)
    page = open_page(file.as_uri(), reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").wait_for()
    page.locator(".stage").focus()
    for key in ("ArrowDown", ".", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".timeline .span-card")).to_be_visible()
    expect(page.locator(".following")).to_be_visible()
    page.get_by_text("The same as a table").click()
    page.get_by_label("Show time that was").select_option("all")
    page.get_by_role("treeitem").last.click()
    page.get_by_text("What the pictures mean").click()
    assert page.evaluate("window.harmed === undefined")
    assert page.locator("img, iframe, script:not([type])").count() == 0
    assert page.evaluate("document.styleSheets.length") == 1
    shown = page.evaluate("document.body.innerText")
    assert not any(character in shown for character in "\u202e\u2066\u2069\u200f\u2028\x00\x1b")
    if name == "direction":
        assert "U+202E" in shown
    if name == "template":
        assert "{{ 7 * 7 }}" in shown
    for picture in (".timeline", ".tree"):
        with page.expect_download() as waiting:
            page.locator(picture).get_by_role("button", name="Save as SVG").click()
        saved = ET.fromstring(Path(waiting.value.path()).read_text(encoding="utf-8"))
        names = {element.tag.rpartition("}")[2] for element in saved.iter()}
        assert "script" not in names
        assert "img" not in names
