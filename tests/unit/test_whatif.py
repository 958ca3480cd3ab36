"""``poolhog whatif``: what it prints, and how it refuses."""

from __future__ import annotations

import json
import re
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenarios import Scenario
from traces import enlarge, hostile_trace
from verbs import poolhog

from poolhog import open_trace
from poolhog.analysis.replay.chains import read_part, read_workload, workload_of
from poolhog.analysis.replay.simulation import simulate
from poolhog.analysis.replay.study import values_between
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from poolhog.analysis.replay.workload import Observed


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A run in which two connections, of two, are parked at times."""
    hostile_trace(tmp_path, "await the_tax_office(form)")
    enlarge(tmp_path / "trace")
    return tmp_path / "trace"


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    poolhog("whatif", *arguments)
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told(capsys, *arguments, "--json"))
    return found


def test_no_prediction_without_the_error_of_the_replay(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_, last = told(capsys, trace, "--release", "app.py:2").splitlines()
    assert first.startswith("If ")
    assert "app.py:2 gave its connection back first: p95 wait" in first
    assert second.startswith("The replay of the run as it was differs from what was recorded by")
    assert last.startswith("Next: poolhog whatif")
    without = told(capsys, trace)
    assert without.startswith("The run as it was:")
    assert f"--release app.py:{2}" in without.splitlines()[-1]


@pytest.mark.parametrize("site", ["app.py:2", "all", "1", "hold"])
def test_a_line_is_named_as_findings_name_it(
    site: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, trace, "--release", site)
    assert [re.sub(r".*/", "", line) for line in found["terms"]["release"]] == ["app.py:2"]
    before, after = found["replay"]["replayed"], found["predicted"]
    assert after["use"] < before["use"]
    assert after["wait_p95_s"] <= before["wait_p95_s"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--release", "other.py:3"], "no connection was parked there, but at"),
        (["--release", "9"], "the report has"),
        (["--pool-size", "many"], "expected a number such as 20"),
        (["--pool-size", "9..3"], "the lower one first"),
        (["--pool-size", "0"], "expected numbers from 1"),
        (["--pool-size", "1..3", "--workers", "1..2"], "only one of them can be a range"),
        (["--svg", "curve.svg"], "give a range"),
        (["--wait-target", "soon"], "expected a duration such as 50ms"),
        (["--open", "--users", "3"], "--open has no users"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], says: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("whatif", trace, *arguments, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("poolhog: ")
    assert says in line


def test_a_curve(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curve.svg"
    found = as_json(capsys, trace, "--pool-size", "1..4", "--svg", picture)
    assert [point["pool_size"] for point in found["curve"]] == [1, 2, 3, 4]
    waits = [point["wait_p95_s"] for point in found["curve"]]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > waits[-1] == 0
    drawn = ET.parse(picture).getroot()
    circles = [one for one in drawn.iter() if one.tag.endswith("circle")]
    assert len(circles) == 2 * 4
    assert "pool size  requests/s" in told(capsys, trace, "--pool-size", "1..4")


def test_a_long_range_keeps_its_ends() -> None:
    assert values_between(3, 6) == (3, 4, 5, 6)
    found = values_between(5, 500)
    assert (found[0], found[-1]) == (5, 500)
    assert len(found) <= 16


def test_the_server_has_to_allow_all_connections(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[str | Path] = [
        trace,
        "--pool-size",
        "20",
        "--hosts",
        "3",
        "--max-connections",
        "50",
    ]
    assert "60 connections in total on 3 hosts, of max_connections 50: 10 too many" in told(
        capsys, *words
    )


def test_the_report_has_it_beside_its_first_finding(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("report", trace)
    out = capsys.readouterr().out
    assert "If this line released its connection (estimate): p95 wait" in out
    command = next(line.strip() for line in out.splitlines() if "poolhog whatif" in line)
    assert command.endswith("--release app.py:2")
    poolhog("report", trace, "--json")
    first, *others = json.loads(capsys.readouterr().out)["findings"]
    assert first["whatif"]["predicted"]["use"] < first["whatif"]["replay"]["replayed"]["use"]
    assert all(one["whatif"] is None for one in others)
    page = tmp_path / "out.html"
    poolhog("report", trace, "--html", page)
    text = page.read_text()
    assert 'id="what-if"' in text
    assert text.count('class="curves"') == 2


def _sums(observed: Observed) -> list[float]:
    instants = (observed.answered, observed.responses, observed.granted, observed.waits)
    kept = [value for each in instants for value in sorted(each)]
    return [*kept, observed.lent, observed.used, observed.returned, observed.timeouts]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_happened_is_the_same_workload_in_brief(data: st.DataObject) -> None:
    """Most checkouts never become objects; that changes nothing of what is known."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        briefly = read_workload(stream_trace(directory))
        trace = open_trace(directory)
        one_by_one = workload_of(trace)
        part = read_part(stream_trace(directory), 0.0, trace.until + 1)
    assert _sums(briefly.recorded) == pytest.approx(_sums(one_by_one.recorded), abs=1e-5)
    assert len(briefly.chains) == len(one_by_one.chains) == len(part.chains)
    assert briefly.steps.kinds.count(6) == one_by_one.steps.kinds.count(6)
    assert sum(briefly.steps.seconds) == pytest.approx(sum(one_by_one.steps.seconds), abs=1e-4)
    # Whatever it is, it comes to an end, and all that was lent and came back was used.
    observed = simulate(briefly)
    assert observed.used <= observed.lent + 1e-6
    assert observed.returned <= len(observed.granted)
