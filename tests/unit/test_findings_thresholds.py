"""Thresholds: their defaults, and what a user sets instead."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from poolhog import PoolhogError
from poolhog.analysis.findings import KINDS, LEAST_SHARE, known_thresholds
from poolhog.analysis.findings.parked_checkout import PARKED_S
from poolhog.analysis.findings.starved_loop import STARVED_S
from poolhog.analysis.thresholds import Thresholds

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def write(directory: Path, text: str) -> Path:
    (directory / "pyproject.toml").write_text(text)
    return directory


def read(directory: Path) -> Thresholds:
    return Thresholds.from_pyproject(directory, known_thresholds())


def test_defaults_without_a_file_or_a_table(tmp_path: Path) -> None:
    assert read(write(tmp_path, '[project]\nname = "x"\n')) == Thresholds()


def test_read_from_the_nearest_file_above(tmp_path: Path) -> None:
    write(tmp_path, "[tool.poolhog]\nparked_s = 1\nleast-share = 0.5\n")
    below = tmp_path / "src" / "service"
    below.mkdir(parents=True)
    found = read(below)
    assert (found[PARKED_S], found[LEAST_SHARE]) == (1.0, 0.5)
    assert found[STARVED_S] == Thresholds()[STARVED_S]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[tool.poolhog]\nparkd_s = 1",
            "parkd_s is no threshold; known are least_share, starved_s",
        ),
        ("[tool.poolhog]\nparked_s = '1'", "parked_s is a number of at least 0, not '1'"),
        ("[tool.poolhog]\nparked_s = true", "parked_s is a number of at least 0, not True"),
        ("[tool.poolhog]\nparked_s = -1", "parked_s is a number of at least 0, not -1"),
        ("[tool.poolhog]\nparked_s = nan", "parked_s is a number of at least 0, not nan"),
        ("[tool]\npoolhog = 3", "tool.poolhog is a table of thresholds, not 3"),
        ("[tool.poolhog", "cannot be read"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_in_a_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(PoolhogError) as caught:
        read(write(tmp_path, text))
    assert complaint in str(caught.value)
    assert "pyproject.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_come_over_what_was_set() -> None:
    given = Thresholds({"parked_s": 3.0}, known_thresholds())
    found = given.with_options(["least_share=0", "starved-s = 2.5"])
    assert (found[PARKED_S], found[LEAST_SHARE], found[STARVED_S]) == (3.0, 0.0, 2.5)


@pytest.mark.parametrize("option", ["parked_s", "parked_s=", "parked_s=much", "=1", "other=1"])
def test_what_is_wrong_in_an_option_is_told(option: str) -> None:
    with pytest.raises(PoolhogError, match="--threshold"):
        Thresholds(known=known_thresholds()).with_options([option])


def test_infinite_is_no_threshold() -> None:
    with pytest.raises(PoolhogError):
        Thresholds(known=known_thresholds()).with_options([f"parked_s={math.inf}"])


def test_names_and_defaults_are_those_of_the_page() -> None:
    """Users have written them down: none may change."""
    assert {threshold.name: threshold.default for threshold in known_thresholds()} == {
        "least_share": 0.01,
        "parked_s": 0.05,
        "blocked_s": 0.05,
        "after_response_s": 0.05,
        "streaming_s": 0.05,
        "starved_s": 0.1,
        "churn_share": 0.2,
        "churn_connects": 20,
        "many_pools": 5,
    }


def test_the_page_explains_every_threshold() -> None:
    page = PAGE.read_text()
    owners = {threshold: kind.name for kind in KINDS for threshold in kind.thresholds}
    for threshold in known_thresholds():
        about = f"`{owners[threshold]}`: " if threshold in owners else ""
        row = rf"^\| `{threshold.name}` \| {threshold.default:g} \| {about}\S.* \|$"
        assert len(re.findall(row, page, re.MULTILINE)) == 1, threshold
    rows = re.findall(r"^\| `(\w+)` \| [\d.]+ \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(threshold.name for threshold in known_thresholds())
