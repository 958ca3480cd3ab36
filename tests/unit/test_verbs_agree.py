"""All verbs say the same of one trace: their JSON is held against each other."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import Scenario
from traces import hostile_trace
from verbs import poolhog

DATA = Path(__file__).parents[1] / "data"
STATES = ("use_s", "busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
EXACT = 2e-5
"""Seconds are told to the microsecond, and there are at most some tens of them."""

Json = dict[str, Any]


def told(*arguments: str | Path) -> Json:
    """The JSON that a verb prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        poolhog(*arguments, "--json")
    found: Json = json.loads(printed.getvalue())
    return found


def check_report(report: Json) -> None:
    """Routes, pools and totals are sums of the same checkouts."""
    totals = report["totals"]
    for name in (*STATES, "wait_s", "checkouts", "timeouts", "open", "waiting"):
        for parts in (report["pools"], report["routes"]):
            assert sum(part[name] for part in parts) == pytest.approx(totals[name], abs=EXACT)
    assert sum(route["requests"] for route in report["routes"]) == totals["requests"]
    for part in (totals, *report["routes"], *report["pools"]):
        assert sum(part[name] for name in STATES[1:]) == pytest.approx(part["use_s"], abs=EXACT)


def check_timeline(report: Json, timeline: Json, *, is_invented: bool) -> None:
    totals = report["totals"]
    assert timeline["checkouts_total"] == totals["checkouts"]
    for name in (*STATES, "wait_s"):
        if is_invented:
            # One connection is lent twice at once there, or to an owner that waits: drawn once.
            assert timeline[name] <= totals[name] + EXACT
        else:
            assert timeline[name] == pytest.approx(totals[name], abs=EXACT)
    # One clock: that on which processes begin.
    began = min(process["began_s"] for process in report["processes"])
    written = max(process["written_s"] for process in report["processes"])
    assert began <= timeline["started_s"] + EXACT
    assert timeline["ended_s"] <= written + EXACT


def check_comparison(report: Json, comparison: Json) -> None:
    """A run compared with itself: what the report has as sums, by request."""
    totals, routes = report["totals"], {route["name"]: route for route in report["routes"]}
    assert comparison["before"] == comparison["after"] | {"name": comparison["before"]["name"]}
    assert comparison["before"]["checkouts"] == totals["checkouts"]
    of_run = comparison["totals"]
    wholes = [(of_run, totals)]
    # Requests without a connection are one row of the report.
    wholes += [(c, routes[c["name"]]) for c in comparison["routes"] if c["before"]["checkouts"]]
    for change, whole in wholes:
        measures, size = change["measures"], change["before"]
        units = size["requests"] or size["checkouts"]
        for name in (*STATES[:4], "wait_s"):
            assert measures[name]["before"] * units == pytest.approx(whole[name], abs=EXACT)
        for name in ("wait_p50_s", "wait_p95_s", "wait_max_s") if change is not of_run else ():
            assert measures[name]["before"] == pytest.approx(whole[name], abs=EXACT)


def check_whatif(report: Json, comparison: Json, whatif: Json, *, are_over: bool) -> None:
    recorded, totals = whatif["replay"]["recorded"], report["totals"]
    assert recorded["timeouts"] == totals["timeouts"]
    given = totals["returned"] + totals["open"] + totals["collected"] + totals["detached"]
    assert recorded["checkouts"] == given
    if are_over:
        rate = comparison["totals"]["measures"]["requests_per_s"]["before"]
        assert recorded["requests_per_s"] == pytest.approx(rate, rel=1e-6)


def check_log(report: Json, directory: Path) -> None:
    """What a finding names, the log knows by that name, and at that instant."""
    for finding in report["findings"]:
        example = finding["example"]
        if example["request"] is None:
            continue
        log = told("log", directory, "--request", example["request"])
        assert log["id"] == example["request"]
        assert log["pid"] == example["pid"]
        assert log["name"] in finding["routes"]
        assert log["started_s"] <= example["started_s"] + EXACT
        assert example["checkout"] in {checkout["id"] for checkout in log["checkouts"]}


def check(directory: Path, *, is_invented: bool = True, are_over: bool = False) -> None:
    """Of a run in which anything may have happened, or of which all requests are over."""
    report = told("report", directory)
    check_report(report)
    if not report["totals"]["checkouts"]:
        return
    check_timeline(report, told("timeline", directory), is_invented=is_invented)
    comparison = told("compare", directory, directory)
    check_comparison(report, comparison)
    check_whatif(report, comparison, told("whatif", directory), are_over=are_over)
    check_log(report, directory)


@pytest.mark.parametrize("name", ["schema-2", "schema-3"])
def test_they_agree_on_a_recorded_run(name: str, tmp_path: Path) -> None:
    check(Path(shutil.copytree(DATA / name, tmp_path / name)), is_invented=name == "schema-2")


@pytest.mark.parametrize(
    ("checkouts", "every_ms"),
    [(1, 150), (4, 150), (4, 201), (12, 150), (12, 230), (40, 150), (40, 205), (40, 400)],
)
def test_they_agree_on_a_run_that_is_over(checkouts: int, every_ms: int, tmp_path: Path) -> None:
    hostile_trace(tmp_path, "await the_tax_office(form)", checkouts=checkouts, every_ms=every_ms)
    check(tmp_path / "trace", are_over=True)


@settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.data())
def test_they_agree_on_whatever_happened(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        check(directory)
