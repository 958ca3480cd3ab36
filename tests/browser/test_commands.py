"""Ids and commands on the page are those of the terminal; lines open in an editor."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from browser.conftest import EXAMPLE, report

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from browser.conftest import OpenPage


def opened(open_page: OpenPage, file: Path) -> Page:
    page = open_page(file.as_uri(), reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").first.wait_for()
    return page


def run(command: str, *more: str) -> Any:
    """What a command of the page prints, as JSON."""
    program, *words = shlex.split(command)
    assert program == "poolhog"
    shown = subprocess.run(
        [sys.executable, "-m", "poolhog", *words, *more, "--json"], check=True, capture_output=True
    )
    return json.loads(shown.stdout)


@pytest.mark.parametrize("name", ["orders", "some"])
def test_a_request_has_the_id_that_the_terminal_takes(
    open_page: OpenPage, pages: dict[str, Path], name: str
) -> None:
    page = opened(open_page, pages[name])
    for index in (0, 4):
        page.get_by_label("The request").select_option(index=index)
        command = page.locator(".life .command code").inner_text()
        told = run(command)
        heading = page.locator(".life h3").inner_text()
        assert heading.split()[0] == told["id"]
        assert page.locator(".following strong").inner_text().startswith(f"{told['id']} ")
        assert page.locator(".following .command code").inner_text() == command
    assert "#" not in page.locator(".life").inner_text().replace("#1", "")


def test_a_whole_id_finds_its_request(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["some"])
    wanted = page.locator(".life h3").inner_text().split()[0]
    page.get_by_role("searchbox", name="Find requests").fill(wanted)
    expect(page.locator(".timeline .found")).to_have_text("0 of 1")


@pytest.mark.parametrize("name", ["orders", "some"])
def test_the_commands_of_a_finding_are_about_it(
    open_page: OpenPage, pages: dict[str, Path], traces: dict[str, Path], name: str
) -> None:
    first = json.loads(report(traces[name], "--json"))["findings"][0]
    page = opened(open_page, pages[name])
    log, whatif = page.locator(".finding").first.locator(".command code").all_inner_texts()
    told = run(log)
    assert first["example"]["request"] in (told["id"], None)
    assert first["example"]["checkout"] in [one["id"] for one in told["checkouts"]]
    assert " whatif " in whatif
    assert run(whatif)


def test_a_command_is_copied(open_page: OpenPage, pages: dict[str, Path]) -> None:
    page = opened(open_page, pages["orders"])
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.text = text; }")
    for place in (".finding", ".life"):
        line = page.locator(f"{place} .command").first
        line.get_by_role("button").click()
        expect(line.get_by_role("button")).to_have_text("Copied")
        assert page.evaluate("text") == line.locator("code").inner_text()


def test_without_a_clipboard_it_is_copied_by_hand(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = opened(open_page, pages["orders"])
    page.evaluate(
        """() => {
          navigator.clipboard.writeText = () => Promise.reject(new Error("no"));
          document.addEventListener("copy", () => { window.text = getSelection().toString()
            || document.activeElement.value; });
        }"""
    )
    line = page.locator(".finding .command").first
    line.get_by_role("button").click()
    expect(line.get_by_role("button")).to_have_text("Copied")
    assert page.evaluate("text") == line.locator("code").inner_text()
    expect(page.locator("textarea")).to_have_count(0)


def made(trace: Path, file: Path, *options: object) -> Path:
    report(trace, "--html", file, *options)
    return file


def test_lines_open_in_the_editor(
    open_page: OpenPage, traces: dict[str, Path], tmp_path: Path
) -> None:
    folder = EXAMPLE.parent
    page = opened(open_page, made(traces["orders"], tmp_path / "a.html", "--source", folder))
    pattern = re.compile(rf"^vscode://file{re.escape(str(EXAMPLE))}:\d+$")
    for place in (".finding", "table[data-key='sites']", ".tree-table", ".life .log"):
        links = page.locator(f"{place} a.open").evaluate_all("(all) => all.map((one) => one.href)")
        assert links, place
        assert all(pattern.match(link) for link in links), links
    line = page.locator(".finding a.open").first
    number = (line.get_attribute("href") or "").rpartition(":")[2]
    expect(line).to_have_text(re.compile(rf"orders\.py:{number} in the editor$"))


def test_the_editor_can_be_another_one_or_none(
    open_page: OpenPage, traces: dict[str, Path], tmp_path: Path
) -> None:
    source = ("--source", EXAMPLE.parent)
    other = "idea://open?file={path}&line={line}"
    page = opened(
        open_page, made(traces["orders"], tmp_path / "a.html", *source, "--editor", other)
    )
    address = page.locator(".life .log a.open").first.get_attribute("href") or ""
    assert address.startswith(f"idea://open?file={EXAMPLE}&line=")
    assert (
        page.locator(".finding a.open")
        .first.get_attribute("href")
        .startswith(  # type: ignore[union-attr]
            f"idea://open?file={EXAMPLE}&line="
        )
    )
    page = opened(
        open_page, made(traces["orders"], tmp_path / "b.html", *source, "--editor", "none")
    )
    expect(page.locator("a.open")).to_have_count(0)


def test_where_the_file_is_not_here_nothing_is_linked(
    open_page: OpenPage, traces: dict[str, Path], tmp_path: Path
) -> None:
    page = opened(open_page, made(traces["orders"], tmp_path / "a.html", "--source", tmp_path))
    expect(page.locator("a.open")).to_have_count(0)
