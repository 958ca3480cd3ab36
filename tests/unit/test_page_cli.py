"""``poolhog report --html``: writes the page whole or not at all, and says what it did."""

from __future__ import annotations

import json
import re
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


def data_of(page: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_it_says_the_file_its_size_and_how_to_look_at_it(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out of this.html"
    poolhog("report", trace, "--html", page)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("The pool of 1 was exhausted")
    assert last == f"Look at it: python3 -m webbrowser '{page}'"
    size = page.stat().st_size
    poolhog("report", trace, "--html", page)
    assert f"{page}: {round(size / 1000)} KB" in capsys.readouterr().out
    assert page.stat().st_size == size


def test_two_traces(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out.html"
    poolhog("report", trace, "--against", trace, "--html", page)
    sides = data_of(page)["sides"]
    assert isinstance(sides, list)
    assert [side["label"] for side in sides] == ["trace", "trace"]
    out = capsys.readouterr().out
    assert "trace: The pool of 1" in out


def test_a_run_that_asked_for_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    poolhog("report", tmp_path / "run", "--html", tmp_path / "out.html")
    assert "No connection was asked for" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--html", "{new}", "--json"], "leave --json"),
        (["--html", "{new}", "--route", "x"], "--route"),
        (["--html", "{new}", "--top", "3"], "--top"),
        (["--against", "{trace}"], "--html"),
        (["--html", "{new}", "--against", "{trace}/nowhere"], "does not exist"),
        (["--html", "{new}", "--threshold", "x=1"], "threshold"),
        (["--html", "{trace}"], "not an ordinary file"),
        (["--html", "{trace}/nowhere/out.html"], "cannot be written"),
        (["--html", "{new}", "--pid", "1"], "no process 1"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    options: Sequence[str],
    problem: str,
    trace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = tmp_path / "out.html"
    poolhog("report", trace, *(o.format(new=new, trace=trace) for o in options), code=2)
    told = capsys.readouterr()
    assert told.out == ""
    assert problem in told.err
    assert told.err.count("\n") == 1
    assert not new.exists()
    assert not [file for file in tmp_path.iterdir() if ".html" in file.name]
