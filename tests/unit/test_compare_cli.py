"""``poolhog compare``: mistakes are one line, and conditions decide how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from traces import hostile_trace
from verbs import poolhog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    hostile_trace(tmp_path, "await the_tax_office(form)")
    return tmp_path / "trace"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["{trace}"], "AFTER"),
        (["{trace}", "{trace}/nowhere"], "does not exist"),
        (["{trace}", "{trace}", "--json", "--markdown"], "choose one"),
        (["{trace}", "{trace}", "--fail-on", "slow>1s"], "slow is no measure"),
        (
            ["{trace}", "{trace}", "--route", "nowhere"],
            "no route contains 'nowhere': recorded were",
        ),
        (["{trace}", "{trace}", "--threshold", "x=1"], "threshold"),
        (["{trace}", "{trace}", "--html", "{trace}"], "not an ordinary file"),
        (["{trace}", "{trace}", "--html", "{trace}/out.html", "--route", "nowhere"], "no route"),
        (["{trace}", "{trace}", "--top", "0"], "--top"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    options: Sequence[str], problem: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(trace.iterdir())
    poolhog("compare", *(option.format(trace=trace) for option in options), code=2)
    told = capsys.readouterr()
    assert told.out == ""
    assert problem in told.err
    assert told.err.count("\n") == 1
    assert sorted(trace.iterdir()) == before


def test_a_gate_does_not_open_for_a_run_that_recorded_nothing(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unused = tmp_path / "new"
    unused.mkdir()
    page = tmp_path / "out.html"
    for one, other in ((trace, unused), (unused, trace)):
        for more in ((), ("--html", page)):
            poolhog("compare", one, other, *more, code=2)
            assert "new has recorded nothing yet" in capsys.readouterr().err
    assert not page.exists()


def test_pipes_get_no_colour(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("compare", trace, trace)
    assert "\x1b" not in capsys.readouterr().out


def test_the_page_of_the_report_says_the_same_first(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("compare", trace, trace, "--html", tmp_path / "one.html")
    first = capsys.readouterr().out.splitlines()[0]
    poolhog("report", trace, "--against", trace, "--html", tmp_path / "other.html")
    assert capsys.readouterr().out.splitlines()[0] == first
    for page in ("one.html", "other.html"):
        assert first in (tmp_path / page).read_text()
