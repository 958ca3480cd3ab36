"""The page on versions claims what is tested: the pinned versions, and the existing probes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from poolhog import probes
from poolhog.probes import PROBES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
PINNED = dict(
    re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
)
ROWS = re.findall(r"^\| ([\w-]+) \| [^|]+ \| ([\d.]+) \| `(probes/\S+)` \|$", PAGE, re.MULTILINE)


def test_the_versions_are_those_that_the_tests_run_with() -> None:
    claimed = {library: version for library, version, _ in ROWS}
    claimed |= re.findall(r"\b([a-z][a-z-]+) (\d+\.\d+\.\d+)\b", PAGE)
    assert claimed
    assert claimed == {library: PINNED.get(library) for library in claimed}


def test_every_library_of_a_probe_is_in_the_table() -> None:
    named = {library.removesuffix("-binary").replace("-", "_") for library, _, _ in ROWS}
    assert {name for probe in PROBES for name in probe.distributions} <= named


def test_every_probe_of_the_table_exists() -> None:
    package = Path(probes.__file__).parent
    assert [place for _, _, place in ROWS if not (package.parent / place).exists()] == []


def test_the_classifiers_claim_the_tested_python_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    claimed = [text.rpartition(":: ")[2] for text in project["classifiers"] if ":: 3." in text]
    (tested,) = re.findall(r"^\| Python \| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert claimed == [tested]
