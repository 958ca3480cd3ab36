"""``--help`` lists verbs in the order of their use, with an example each and no empty types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from verbs import poolhog

from poolhog.cli import app

FIRST = ["run", "report", "timeline", "log", "whatif", "compare", "dump"]
VERBS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group


@pytest.mark.parametrize("columns", [80, 140])
def test_the_help_lists_the_verbs_as_a_user_needs_them(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    poolhog("--help")
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[1] for line in lines if re.match(r"│ [a-z]+ ", line)]
    assert [verb for verb in listed if verb in FIRST] == FIRST
    assert listed[0] == "run"
    assert listed[-1] == "lab"
    assert sorted(listed) == sorted(VERBS)
    assert all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_begins_with_an_example(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    poolhog(verb, "--help")
    printed = capsys.readouterr().out
    paragraphs = [line.strip() for line in printed.splitlines() if line.startswith(" ")]
    told = [line for line in paragraphs if line]
    assert told[2].startswith(f"Example: poolhog {verb}")
    assert "<" not in re.sub(r"\[\d.*?\]", "", printed)  # a range, not a type


def test_the_last_seconds_are_more_than_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("timeline", tmp_path, "--last", "0", code=2)
    assert "--last 0: give a number of seconds above 0" in capsys.readouterr().err


def test_the_reference_lists_every_verb_in_that_order() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference.md"
    rows = re.findall(r"^\| \[`(\w+)`\]", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == VERBS
