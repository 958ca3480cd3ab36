"""``poolhog log`` and ``poolhog timeline`` of a real service that was killed while it hung."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorded_app import DEADLINE_S, eventually

from poolhog import TraceError, open_trace

if TYPE_CHECKING:
    from poolhog.lab.postgres import LabDatabase

APP = Path(__file__).with_name("busy_app.py")
QUICK = 80
CALL_S, CRUNCH_S = 0.3, 0.1
"""What a hog of the application does while it holds a connection."""

HUNG_S = 3.0


@pytest.fixture(scope="module")
def trace(database: LabDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("busy") / "trace"
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(directory), "--"]
    command += [sys.executable, str(APP), database.url, str(QUICK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            assert service.stdout.readline() == "hanging\n"
            eventually(lambda: hangs(directory))
        finally:
            service.kill()
    return directory


def hangs(directory: Path) -> bool:
    """Whether the last request holds its connection for longer than any other did."""
    try:
        trace = open_trace(directory)
    except TraceError:
        return False
    last = trace.checkouts[-1]
    return last.returned is None and bool(last.samples) and trace.until - last.asked > HUNG_S


def poolhog(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> str:
    """What the command prints; of a failed one what it says of the error."""
    command = [sys.executable, "-m", "poolhog", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=cwd)
    assert done.returncode == code, done.stderr
    if code:
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr
    return done.stdout


def log(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(poolhog("log", *arguments, "--json"))
    return found


def timeline(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(poolhog("timeline", *arguments, "--json"))
    return found


def test_the_log_of_a_hog_says_where_its_time_went(trace: Path) -> None:
    found = log(trace, "--route", "POST /hog/{number}")
    assert found["name"] == "POST /hog/{number}"
    assert found["request"]["status"] == 200
    states = [line for line in found["log"] if line["state"] not in (None, "waiting")]
    parked = max(states, key=lambda line: line["duration_s"] * (line["state"] == "parked"))
    running = [line for line in states if line["state"] == "running"]
    assert parked["site"]["source"] == "await asyncio.sleep(seconds)"
    assert parked["site"]["function"] == "call_the_llm"
    assert parked["duration_s"] == pytest.approx(found["parked_s"], rel=0.2)
    assert CALL_S * 0.9 < found["parked_s"] < CALL_S * 1.5
    assert any(line["site"] and line["site"]["function"] == "crunch" for line in running)
    assert found["running_s"] > CRUNCH_S / 2
    parts = sum(found[f"{part}_s"] for part in ("busy", "blocked", "parked", "running", "ready"))
    assert parts == pytest.approx(found["use_s"], abs=1e-8)
    whats = [line["what"] for line in found["log"]]
    order = ["Connection checked out from pool", "SELECT ?", "SELECT pg_sleep(?)", "COMMIT"]
    assert [what for what in whats if what in order] == order
    assert [line["at_s"] for line in found["log"]] == sorted(line["at_s"] for line in found["log"])


def test_the_slowest_hangs_still(trace: Path) -> None:
    found = log(trace)
    assert found == log(trace, "--slowest") == log(trace, "--request", found["id"])
    assert found["name"] == "POST /hang"
    assert found["open"]
    assert found["request"]["ended_s"] is None
    (checkout,) = found["checkouts"]
    assert checkout["outcome"] == "open"
    assert checkout["returned_s"] is None
    assert found["parked_s"] > 0.9 * found["use_s"]


def test_the_log_on_paper(trace: Path) -> None:
    shown = poolhog("log", trace, "--route", "hog").splitlines()
    assert shown[0].startswith("POST /hog/")
    assert " · 200 OK · took " in shown[0]
    assert ", held a connection " in shown[1]
    (parked,) = [line for line in shown if "▒ parked" in line]
    assert "busy_app.py:" in parked
    assert parked.rstrip().endswith("await asyncio.sleep(seconds)")
    assert any(line.strip().startswith("called at") for line in shown)
    (response,) = [line for line in shown if "→" in line]
    assert response.rstrip().endswith('HTTP/1.1" 200 OK')
    assert any("request execution" in line for line in shown)
    assert shown[-1].startswith(f"poolhog timeline {trace} --from ")


def test_work_without_a_request_has_a_log(trace: Path) -> None:
    (owner,) = {c.owner for c in open_trace(trace).checkouts if c.request is None}
    found = log(trace, "--request", owner)
    assert found["request"] is None
    assert found["checkouts_total"] == 1
    assert "Connection opened" in [line["what"] for line in found["log"]]
    assert poolhog("log", trace, "--request", owner).startswith(f"{owner}: an owner without")


def test_a_long_log_is_cut_in_the_middle(trace: Path) -> None:
    shown = poolhog("log", trace, "--route", "hog", "--limit", "2")
    assert "lines not shown" in shown
    assert "→" in shown
    assert "SELECT pg_sleep" not in shown


def test_few_requests_are_lanes(trace: Path) -> None:
    found = timeline(trace, "--route", "hog")
    assert found["drawn"] == "lanes"
    assert found["requests_total"] == len(found["requests"]) == 3
    assert {lane["name"] for lane in found["requests"]} == {"POST /hog/{number}"}
    assert [lane["number"] for lane in found["connections"]] == [1, 2]
    assert max(step["count"] for step in found["waiting"]) >= 1
    for lane in found["requests"]:
        assert log(trace, "--request", lane["id"])["name"] == lane["name"]
    logs = [log(trace, "--request", lane["id"]) for lane in found["requests"]]
    for part in ("busy", "blocked", "parked", "running", "ready", "use", "wait"):
        of_logs = sum(one[f"{part}_s"] for one in logs)
        # The splits of gaps that nobody looked at are estimates, each of its own siblings.
        assert found[f"{part}_s"] == pytest.approx(of_logs, rel=0.02, abs=0.005)


def test_many_requests_are_bins(trace: Path) -> None:
    found = timeline(trace)
    assert found["drawn"] == "bins"
    assert found["requests_total"] == 3 + QUICK + 1
    assert found["owners_total"] == 1
    assert found["capacity"] == found["connections_total"] == 2
    for part in ("busy", "blocked", "parked", "running", "ready"):
        of_bins = sum(one[part] * (one["ended_s"] - one["started_s"]) for one in found["bins"])
        of_lanes = sum(one[f"{part}_s"] for lane in found["connections"] for one in lane["bins"])
        assert found[f"{part}_s"] == pytest.approx(of_bins, abs=1e-6)
        assert found[f"{part}_s"] == pytest.approx(of_lanes, abs=1e-6)
    shown = poolhog("timeline", trace)
    assert "Too many requests to draw one by one" in shown
    assert "85 requests" not in shown
    assert f"{3 + QUICK + 1} requests" in shown


def test_a_window_is_part_of_the_whole(trace: Path) -> None:
    whole = timeline(trace)
    half = (whole["started_s"] + whole["ended_s"]) / 2
    parts = [timeline(trace, "--to", f"{half:.6f}"), timeline(trace, "--from", f"{half:.6f}")]
    for what in ("use_s", "wait_s", "busy_s"):
        assert sum(part[what] for part in parts) == pytest.approx(whole[what], abs=1e-5)
    last = timeline(trace, "--last", "0.1")
    assert last["ended_s"] - last["started_s"] == pytest.approx(0.1)
    assert last["parked_s"] == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("options", [(), ("--route", "hog")])
def test_the_picture_is_whole_and_says_what_it_shows(
    trace: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    file = tmp_path / "picture.svg"
    file.write_text("an older picture")
    poolhog("timeline", trace, "--svg", file, *options)
    root = ET.fromstring(file.read_text())
    words = " ".join(node.text or "" for node in root.iter())
    assert "parked: held, awaiting something else" in words
    assert ("Too many requests" in words) is (not options)
    assert list(tmp_path.iterdir()) == [file]


def test_the_newest_trace_is_found(trace: Path) -> None:
    found = log("--slowest", trace.parent)
    assert found == log(trace)
    shown = poolhog("timeline", cwd=trace.parent, code=2)
    assert "no trace in ./poolhog-traces" in shown


def test_mistakes_are_one_line_and_exit_with_2(trace: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    for arguments, told in (
        (("log", trace, "--route", "nowhere"), "no route contains 'nowhere': recorded were GET"),
        (("log", trace, "--request", "0.0"), "no request '0.0'"),
        (("log", trace, "--request", "1", "--slowest"), "leave --slowest and --route out"),
        (("log", trace, "--pid", "1"), "--pid takes one of"),
        (("log", tmp_path), "record one with: poolhog run"),
        (("timeline", trace, "--from", "9999"), "--from and --to leave nothing"),
        (("timeline", trace, "--last", "1", "--to", "2"), "leave --from and --to out"),
        (("timeline", trace, "--svg", blocked / "x.svg"), "cannot be written"),
        (("timeline", trace, "--svg", tmp_path), "is not an ordinary file"),
        (("timeline", trace, "--route", "nowhere"), "no route contains"),
    ):
        wrong = poolhog(*arguments, code=2)
        assert wrong.startswith("poolhog: ")
        assert told in wrong
    assert list(tmp_path.iterdir()) == [blocked]
