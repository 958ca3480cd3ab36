from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from poolhog.render.console import console, progress

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
