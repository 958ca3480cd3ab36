from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from poolhog.render.output import aligned, console, in_blocks, next_line, progress

if TYPE_CHECKING:
    import pytest


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color


def test_results_and_progress_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("result 42", style="bold")
    console(stderr=True).print("progress")
    assert capsys.readouterr() == ("result 42\n", "progress\n")


def test_a_text_is_neither_style_nor_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold]a[/bold] [link=http://e.example]b[/closing] :smiley:"
    console().print(text)
    assert capsys.readouterr().out == f"{text}\n"
    target = Console(file=io.StringIO(), width=200)
    with progress(target) as bar:
        bar.add_task(text, total=10)
    assert isinstance(target.file, io.StringIO)
    assert text in target.file.getvalue()


def test_a_progress_bar_says_what_and_how_far() -> None:
    target = Console(file=io.StringIO(), width=100)
    with progress(target) as bar:
        task = bar.add_task("burst", total=10)
        bar.update(task, completed=4)
    assert isinstance(target.file, io.StringIO)
    shown = target.file.getvalue()
    assert "burst" in shown
    assert "4/10" in shown


def test_a_progress_bar_goes_to_standard_error() -> None:
    assert progress().console.stderr


def test_blocks_are_apart_and_empty_ones_leave_no_gap() -> None:
    lines = in_blocks([[Text("a"), Text("b")], [], [Text("c")]])
    assert [line.plain for line in lines] == ["a", "b", "", "c"]


def test_the_first_column_of_a_table_gives_way() -> None:
    rows = [("route", "use s", ""), ("GET /a/rather/long/path", "1.5", "same"), ("x", "20", "no")]
    assert [line.plain for line in aligned(rows, left=(2,))] == [
        "route                    use s",
        "GET /a/rather/long/path    1.5  same",
        "x                           20  no",
    ]
    narrow = [line.plain for line in aligned(rows, width=25, left=(2,))]
    assert narrow[1] == "GET /a/rath…    1.5  same"
    assert (
        len({line.index(cell) for line, cell in zip(narrow[1:], ("same", "no"), strict=True)}) == 1
    )


def test_the_next_command_stays_whole_where_there_is_no_room_for_its_reason() -> None:
    words = ["log", "traces", "--route", "GET /a"]
    command = "Next: poolhog log traces --route 'GET /a'"
    assert next_line(words, "step by step", 100).plain == f"{command}  step by step"
    assert next_line(words, "step by step", 50).plain == command
    assert next_line(words).plain == command
