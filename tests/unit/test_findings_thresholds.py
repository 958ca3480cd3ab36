"""Thresholds: their defaults, and what a user sets instead."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from poolhog import PoolhogError
from poolhog.analysis.findings import FindingKind
from poolhog.analysis.thresholds import Thresholds

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def write(directory: Path, text: str) -> Path:
    (directory / "pyproject.toml").write_text(text)
    return directory


def test_defaults_without_a_file_or_a_table(tmp_path: Path) -> None:
    assert Thresholds.from_pyproject(write(tmp_path, '[project]\nname = "x"\n')) == Thresholds()


def test_read_from_the_nearest_file_above(tmp_path: Path) -> None:
    write(tmp_path, "[tool.poolhog]\nparked_s = 1\nleast-share = 0.5\n")
    below = tmp_path / "src" / "service"
    below.mkdir(parents=True)
    found = Thresholds.from_pyproject(below)
    assert (found.parked_s, found.least_share) == (1.0, 0.5)
    assert found.starved_s == Thresholds().starved_s


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tool.poolhog]\nparkd_s = 1", "parkd_s is no threshold; known are least_share, parked_s"),
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
        Thresholds.from_pyproject(write(tmp_path, text))
    assert complaint in str(caught.value)
    assert "pyproject.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_come_over_what_was_set() -> None:
    found = Thresholds(parked_s=3.0).with_options(["least_share=0", "starved-s = 2.5"])
    assert (found.parked_s, found.least_share, found.starved_s) == (3.0, 0.0, 2.5)


@pytest.mark.parametrize("option", ["parked_s", "parked_s=", "parked_s=much", "=1", "other=1"])
def test_what_is_wrong_in_an_option_is_told(option: str) -> None:
    with pytest.raises(PoolhogError, match="--threshold"):
        Thresholds().with_options([option])


def test_infinite_is_no_threshold() -> None:
    with pytest.raises(PoolhogError):
        Thresholds().with_options([f"parked_s={math.inf}"])


def test_the_page_tells_all_thresholds_and_kinds() -> None:
    page = PAGE.read_text()
    for name, default in asdict(Thresholds()).items():
        (meaning,) = (f.metadata["meaning"] for f in fields(Thresholds) if f.name == name)
        assert f"| `{name}` | {default:g} | {meaning} |" in page
    for kind in FindingKind:
        assert f"\n## {kind.value}\n" in page
