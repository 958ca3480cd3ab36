from __future__ import annotations

import io

import pytest
from rich.console import Console

from poolhog.render.console import console, count, folded_lines, progress, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 s"),
        (0.000001, "<0.01 ms"),
        (0.00005, "0.05 ms"),
        (0.000994, "0.99 ms"),
        (0.000996, "1.00 ms"),
        (0.00123, "1.23 ms"),
        (0.0123, "12.3 ms"),
        (0.00999, "9.99 ms"),
        (0.009999, "10.0 ms"),
        (0.123, "123 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (5.02, "5.02 s"),
        (9.996, "10.0 s"),
        (99.96, "100 s"),
        (1234.5, "1,234 s"),
        (-0.0123, "-12.3 ms"),
    ],
)
def test_durations_have_three_digits(value: float, expected: str) -> None:
    assert seconds(value) == expected


def test_a_number_stays_with_its_unit_where_a_line_ends() -> None:
    for width in range(20, 60):
        lines = folded_lines("waited 12.5 s in all, busy 53.4 ms: 57 % of 3 seconds", width, 2)
        assert not any(line.endswith(("12.5", "53.4", "57")) for line in lines)
        assert all(len(line) <= width for line in lines)
        assert all(line.startswith("  ") for line in lines[1:])
        assert " ".join(" ".join(lines).split()).startswith("waited 12.5 s in all, busy 53.4 ms")


def test_counts_agree_with_their_noun() -> None:
    assert [count(n, "request") for n in (0, 1, 2, 1000)] == [
        "0 requests",
        "1 request",
        "2 requests",
        "1,000 requests",
    ]


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
