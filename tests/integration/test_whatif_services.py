"""What is predicted of a service is what its mended form measures, or nothing is predicted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).with_name("limited_service.py")


class Recorded:
    """A run of a service: its trace, and what it measured of itself."""

    def __init__(self, folder: Path, name: str, url: str, *words: str, code: int = 0) -> None:
        self.trace = folder / "-".join((name, *words))
        service = [sys.executable, str(SERVICE), name, url, *words]
        command = [sys.executable, "-m", "poolhog", "run", "-o", str(self.trace), "--", *service]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        lines = done.stdout.splitlines()
        self.measured: dict[str, Any] = json.loads(lines[-1]) if lines else {}

    def told(self, *words: str) -> Any:
        command = [sys.executable, "-m", "poolhog", words[0], str(self.trace), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout

    def whatif(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = self.told("whatif", *words, "--json")
        return found


def reasons(found: dict[str, Any]) -> list[str]:
    return [reason["kind"] for reason in found["not_predicted"]]


@pytest.mark.parametrize("name", ["fan_out", "threads"])
def test_the_prediction_is_what_the_mended_service_measures(
    name: str, tmp_path: Path, postgresql_url: str
) -> None:
    """On a busy machine, the replay may differ from the run: then nothing is predicted."""
    found: dict[str, Any] = {}
    for attempt in range(3):
        recorded = Recorded(tmp_path / str(attempt), name, postgresql_url)
        mended = Recorded(tmp_path / str(attempt), name, postgresql_url, "mended").measured
        found = recorded.whatif("--release", "all")
        assert found["replay"]["recorded"]["timeouts"] == recorded.measured["timeouts"]
        if found["predicted"] is not None:
            break
        assert reasons(found) == ["replay-error"]
    predicted = found["predicted"]
    assert predicted is not None, found["not_predicted"]
    assert predicted["timeouts"] == mended["timeouts"] == 0
    assert predicted["requests_per_s"] == pytest.approx(mended["requests_per_s"], rel=0.3)
    # It was at most half as much.
    assert predicted["requests_per_s"] > 2 * found["replay"]["recorded"]["requests_per_s"]


def test_the_report_begins_with_its_own_numbers(tmp_path: Path, postgresql_url: str) -> None:
    recorded = Recorded(tmp_path, "fan_out", postgresql_url)
    report = recorded.told("report", "--json")
    whatif = next(one["whatif"] for one in report["findings"] if one["whatif"] is not None)
    timeouts = sum(pool["timeouts"] for pool in report["pools"])
    assert timeouts == recorded.measured["timeouts"]
    assert whatif["replay"]["recorded"]["timeouts"] == timeouts
    if whatif["predicted"] is not None and timeouts:
        assert f"{timeouts} → {whatif['predicted']['timeouts']} timeouts" in whatif["told"]


def test_a_deadlock_that_calls_time_out_of_is_replayed(tmp_path: Path, postgresql_url: str) -> None:
    recorded = Recorded(tmp_path, "nested", postgresql_url)
    found = recorded.whatif("--release", "all")
    replayed = found["replay"]["replayed"]
    assert recorded.measured["timeouts"] > 3
    assert found["replay"]["recorded"]["timeouts"] == recorded.measured["timeouts"]
    # It goes on after each deadlock, as the service did.
    assert replayed["answers"] == found["replay"]["recorded"]["answers"] == 13
    assert replayed["timeouts"] >= 3
    assert found["formulas"]["recorded"]["depth"] == 2
    if found["predicted"] is not None:
        assert found["predicted"]["timeouts"] == 0


def test_a_process_that_hangs_has_no_prediction(tmp_path: Path, postgresql_url: str) -> None:
    recorded = Recorded(tmp_path, "hang", postgresql_url, code=-signal.SIGKILL)
    assert "hanging" in reasons(recorded.whatif("--pool-size", "4"))


def test_a_blocked_loop_has_no_prediction(tmp_path: Path, postgresql_url: str) -> None:
    recorded = Recorded(tmp_path, "blocked", postgresql_url)
    assert "blocked-loop" in reasons(recorded.whatif("--pool-size", "9"))


def test_requests_that_wait_for_threads_have_no_prediction(
    tmp_path: Path, postgresql_url: str
) -> None:
    recorded = Recorded(tmp_path, "endpoints", postgresql_url)
    assert recorded.measured["timeouts"] > 10
    found = recorded.whatif("--release", "all")
    (threads,) = (r for r in found["not_predicted"] if r["kind"] == "thread-limit")
    assert 30 <= threads["amount"] <= 40
    assert found["predicted"] is None
