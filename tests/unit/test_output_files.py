"""What a verb writes is for its owner alone, as the trace is; a replaced file keeps its mode."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from test_lab_claims import results
from traces import enlarge, hostile_trace
from verbs import poolhog

from poolhog.lab.report import publish
from poolhog.lab.results_json import write_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERBS = {
    "report": ("report", "TRACE", "--html", "FILE"),
    "compare": ("compare", "TRACE", "TRACE", "--html", "FILE"),
    "timeline": ("timeline", "TRACE", "--svg", "FILE"),
    "whatif": ("whatif", "TRACE", "--pool-size", "1..3", "--svg", "FILE"),
    "speedscope": ("export", "TRACE", "--format", "speedscope", "-o", "FILE"),
    "chrome-trace": ("export", "TRACE", "--format", "chrome-trace", "-o", "FILE"),
    "csv": ("export", "TRACE", "--format", "csv", "-o", "FILE"),
}


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """Nothing is taken away from what a file is made with."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    hostile_trace(tmp_path, "await the_tax_office(form)", every_ms=250)
    enlarge(tmp_path / "trace")
    return tmp_path / "trace"


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def write(verb: str, trace: Path, file: Path) -> None:
    poolhog(*({"TRACE": trace, "FILE": file}.get(word, word) for word in VERBS[verb]))
    assert file.stat().st_size > 0


@pytest.mark.parametrize("verb", VERBS)
def test_a_new_file_is_its_owners(verb: str, trace: Path, tmp_path: Path) -> None:
    write(verb, trace, tmp_path / "new")
    assert mode_of(tmp_path / "new") == 0o600


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o400])
def test_one_in_the_place_of_another_is_for_whom_that_was(
    verb: str, mode: int, trace: Path, tmp_path: Path
) -> None:
    file = tmp_path / "old"
    file.touch(mode=mode)
    write(verb, trace, file)
    assert mode_of(file) == mode
    write(verb, trace, file)
    assert mode_of(file) == mode


def test_what_the_lab_writes(tmp_path: Path) -> None:
    made = results()
    write_results(made, (), tmp_path / "results.json")
    publish(made, tmp_path)
    written = list(tmp_path.iterdir())
    assert {"results.json", "report.html"} <= {file.name for file in written}
    assert {mode_of(file) for file in written} == {0o600}
