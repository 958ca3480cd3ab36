"""``poolhog compare`` on services that ran: what it says, how it ends, and what it writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from poolhog.lab import children
from poolhog.lab.burst import run_burst
from poolhog.lab.service.settings import Settings, Style

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

REQUESTS = 20
LATENCY_S = 0.2
BUSY = ("--threshold", "starved_s=60", "--threshold", "after_response_s=60")
"""A busy machine may keep the loop from running for long, which is no matter of style."""
FINDING = r"parked-checkout at service/implicit\.py:\d+ in synchronize_note"


@pytest.fixture(scope="module")
def traces(
    database: LabDatabase, log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the traces ``implicit`` and ``explicit``, of the same requests."""
    folder = tmp_path_factory.mktemp("compared")
    paths = [f"/notes/{note}/synchronize" for note in range(1, REQUESTS + 1)]
    with children.external_api(LATENCY_S, 0.0, 0.0, log_directory) as api:
        for style in (Style.IMPLICIT, Style.EXPLICIT):
            settings = Settings(style, database.url, api.url, database.schema, pool_size=10)
            with children.service(settings, None, 1, log_directory, folder / style) as server:
                burst = run_burst(server.url, "POST", paths)
            assert len(burst.responses) == REQUESTS
    return folder


def compare(traces: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "poolhog", "compare", *arguments, *BUSY],
        capture_output=True,
        text=True,
        check=False,
        cwd=traces,
    )
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def as_json(traces: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compare(traces, *arguments, "--json", code=code))
    return found


def test_explicit_transactions_make_the_finding_go(traces: Path) -> None:
    first, *rest = compare(traces, "implicit", "explicit").splitlines()
    assert re.match(rf"gone: {FINDING}; 0 new\. ", first)
    assert any(re.match(rf"gone +{FINDING.replace(' at ', '  ')}", line) for line in rest)
    assert rest[-1] == "Next: poolhog compare implicit explicit --html compare.html"


def test_the_other_way_round_it_is_new_and_fails(traces: Path) -> None:
    first, second, *rest = compare(traces, "explicit", "implicit", code=1).splitlines()
    assert re.match(rf"new: {FINDING}\. ", first)
    assert second == "failed  new-findings: yes, 1 new"
    assert rest[-1] == "Next: poolhog log implicit --route 'POST /notes/{note_id}/synchronize'"
    compare(traces, "explicit", "implicit", "--fail-on", "never")


def test_the_numbers_are_those_of_the_external_call(traces: Path) -> None:
    found = as_json(traces, "implicit", "explicit")
    assert [f["verdict"] for f in found["findings"]] == ["gone"]
    for side in ("before", "after"):
        assert found[side]["requests"] == REQUESTS
    parked = found["totals"]["measures"]["parked_s"]
    assert parked["verdict"] == "better"
    assert LATENCY_S * 0.9 < parked["before"] < LATENCY_S * 3
    assert parked["after"] < LATENCY_S / 4
    (route,) = found["routes"]
    assert route["measures"] == found["totals"]["measures"]


def test_conditions(traces: Path) -> None:
    both = ("--route", "synchronize", "--fail-on", "parked>+10%,parked>100ms")
    found = as_json(traces, "explicit", "implicit", *both, code=1)
    assert [outcome["holds"] for outcome in found["conditions"]] == [True, True]


def test_a_trace_beside_itself_is_the_same(traces: Path) -> None:
    found = as_json(traces, "implicit", "implicit")
    verdicts = {m["verdict"] for m in found["totals"]["measures"].values()}
    assert verdicts <= {"same", None}
    assert [f["verdict"] for f in found["findings"]] == ["same"]


def test_markdown_and_a_page(traces: Path) -> None:
    page = traces / "both.html"
    written = compare(traces, "implicit", "explicit", "--markdown", "--html", str(page))
    assert written.startswith("### poolhog: gone: parked-checkout at service/implicit.py:")
    text = page.read_text()
    assert re.search(rf'id="changes">gone: {FINDING}; 0 new\.', text)


def test_what_cannot_be_read_is_told(traces: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(traces / "explicit", broken)
    (broken / "1.sqlite").write_bytes(b"no database")
    assert compare(traces, "implicit", str(broken)).startswith("broken: Not in this: ")
