"""``poolhog report`` of a real service: while it hangs, and after it was killed; and mistakes."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import recorded_app
from recorded_app import DEADLINE_S, eventually

from poolhog import TraceError, open_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.postgres import LabDatabase

SLEEPING = "GET /sleep/{seconds}"
LINE = next(
    number
    for number, line in enumerate(Path(recorded_app.__file__).read_text().splitlines(), 1)
    if "await asyncio.sleep(seconds)" in line
)
"""The line of the service that holds connections without using them."""


class Service:
    """A process of ``recorded_app``, which has a pool of two."""

    def __init__(self, directory: Path, url: str) -> None:
        command = [sys.executable, recorded_app.__file__, str(directory), url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def get(self, path: str) -> int:
        """The status of the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def ask(self, path: str) -> socket.socket:
        """Ask, and do not wait for the answer."""
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        return connection


@dataclass(frozen=True)
class Recorded:
    """What a service left, and what was reported while it hung."""

    directory: Path
    pid: int
    while_running: dict[str, Any]
    text_while_running: list[str]


def poolhog(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> str:
    """What the command prints; of a failed one what it says of the error."""
    command = [sys.executable, "-m", "poolhog", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert (done.stdout if code else done.stderr) == ""
    return done.stderr if code else done.stdout


def report(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(poolhog("report", *arguments, "--json"))
    return found


def hangs(directory: Path) -> bool:
    """Whether both connections are held since a second, and three requests wait."""
    try:
        trace = open_trace(directory)
    except TraceError:
        return False
    found = [c for c in trace.checkouts if c.returned is None and trace.until - c.asked > 1]
    return len(found) == 5


@pytest.fixture(scope="module")
def recorded(database: LabDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A service that held both connections while three requests waited, until it was killed."""
    directory = tmp_path_factory.mktemp("reported") / "trace"
    service = Service(directory, database.url)
    with service.process, ExitStack() as stack:
        stack.callback(service.process.kill)
        for path in ("/sleep/0.3", "/sleep/0", "/healthz"):
            assert service.get(path) == 200
        for _ in range(5):
            stack.enter_context(service.ask("/sleep/3600"))

        eventually(lambda: hangs(directory))
        text = poolhog("report", directory).splitlines()
        while_running = report(directory)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(DEADLINE_S)
        yield Recorded(directory, service.process.pid, while_running, text)


def test_the_line_that_holds_the_connections_is_named_first(recorded: Recorded) -> None:
    text = poolhog("report", recorded.directory).splitlines()
    assert text[0] == f"Process {recorded.pid} exited abnormally: the last moments may be missing."
    assert text[1] == "At its end: 2 connections not returned, 3 requests waiting for one."
    assert f"recorded_app.py:{LINE} held connections for" in text[2]
    assert f"This made {SLEEPING} wait " in text[2]
    assert any("all 2 out" in line and "3 waiting now" in line for line in text)
    assert any(line.strip().endswith("await asyncio.sleep(seconds)") for line in text)
    (row,) = (line for line in text if line.startswith(SLEEPING))
    assert row.split()[2:4] == ["7", "7"]
    assert text[-1].startswith(f"Next: poolhog dump {recorded.directory}")


def test_the_same_was_seen_while_it_ran(recorded: Recorded) -> None:
    assert recorded.text_while_running[0].startswith(f"Process {recorded.pid} is still running")
    assert f"recorded_app.py:{LINE} held connections" in recorded.text_while_running[2]
    before, after = recorded.while_running, report(recorded.directory)
    assert before["findings"][0]["site"] == after["findings"][0]["site"]
    assert after["totals"]["parked_s"] >= before["totals"]["parked_s"] > 1


def test_the_json_says_who_held_what(recorded: Recorded) -> None:
    found = report(recorded.directory)
    totals = found["totals"]
    assert (totals["requests"], totals["checkouts"]) == (8, 7)
    assert (totals["returned"], totals["open"], totals["waiting"]) == (2, 2, 3)
    assert totals["dropped"] == totals["recorder_errors"] == 0
    states = ("busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    assert sum(totals[state] for state in states) == pytest.approx(totals["use_s"], abs=1e-6)
    assert totals["parked_s"] > 0.9 * totals["use_s"]
    (pool,) = found["pools"]
    assert (pool["capacity"], pool["peak_lent"]) == (2, 2)
    # All five at once at the most: the pool opens connections for the first two.
    assert 3 <= pool["peak_waiting"] <= 5
    assert 0 < pool["saturated_s"] <= pool["observed_s"]
    assert pool["contention"] >= pool["saturation"] * 0.5
    routes = {route["name"]: route for route in found["routes"]}
    assert set(routes) == {SLEEPING, "without a connection"}
    assert routes[SLEEPING]["idle_share"] > 0.9
    assert routes[SLEEPING]["wait_max_s"] > 1 > routes[SLEEPING]["wait_p50_s"]
    worst = found["findings"][0]
    assert worst["kind"] == "parked-checkout"
    assert worst["site"]["file"] == recorded_app.__file__
    assert worst["site"]["line"] == LINE
    assert worst["site"]["source"] == "await asyncio.sleep(seconds)"
    assert worst["routes"] == [SLEEPING]
    assert worst["waiters"] == [SLEEPING]
    assert worst["made_wait_s"] == pytest.approx(totals["queueing_s"], rel=0.2)
    assert worst["seconds"] == pytest.approx(totals["parked_s"], rel=0.05)
    blame = found["blame"]
    microseconds = sum(round(row["seconds"] * 1e6) for row in blame)
    assert microseconds == round(totals["wait_s"] * 1e6)
    at_its_line = [
        row["seconds"] for row in blame if row["site"] is not None and row["site"]["line"] == LINE
    ]
    assert sum(at_its_line) == pytest.approx(worst["made_wait_s"], rel=0.02)
    own = {
        key: sum(r["seconds"] for r in blame if r["holding"] is None and r["state"] == key)
        for key in ("connecting", "pinging")
    }
    assert own == pytest.approx({key: totals[f"{key}_s"] for key in own}, abs=1e-6)


def test_a_threshold_makes_it_fine(recorded: Recorded) -> None:
    arguments = recorded.directory, "--threshold", "parked_s=86400"
    kinds = [finding["kind"] for finding in report(*arguments)["findings"]]
    assert "parked-checkout" not in kinds


def test_processes_and_routes_can_be_picked(recorded: Recorded, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(recorded.directory, both)
    for file in list(both.glob("*.sqlite*")):
        shutil.copyfile(file, both / f"1{file.name[file.name.index('.') :]}")
    other = both / "1.sqlite"
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("UPDATE meta SET value = '1' WHERE key = 'pid'")
        database.execute("DELETE FROM meta WHERE key = 'checksum'")
    assert report(both)["totals"]["checkouts"] == 14
    assert [pool["pid"] for pool in report(both)["pools"]] == [1, recorded.pid]
    assert report(both, "--pid", "1")["totals"]["checkouts"] == 7
    assert [p["pid"] for p in report(both, "--pid", "1")["processes"]] == [1]
    text = poolhog("report", both, "--pid", "1", "--top", "1")
    assert text.splitlines()[-1].startswith(f"Next: poolhog dump {both} --pid 1")
    (route,) = report(both, "--route", "/SLEEP")["routes"]
    assert route["name"] == SLEEPING
    wrong = poolhog("report", both, "--pid", "2", code=2)
    assert len(wrong.splitlines()) == 1
    assert "no process 2" in wrong


def test_the_newest_trace_is_found(recorded: Recorded, tmp_path: Path) -> None:
    shutil.copytree(recorded.directory, tmp_path / "poolhog-traces" / "20260101-120000-1")
    text = poolhog("report", cwd=tmp_path)
    assert f"recorded_app.py:{LINE} held connections" in text
    assert text.splitlines()[-1].startswith("Next: poolhog dump  ")


def test_mistakes_are_one_line_and_exit_with_2(recorded: Recorded, tmp_path: Path) -> None:
    damaged, newer = tmp_path / "damaged", tmp_path / "newer"
    damaged.mkdir()
    (damaged / "1.sqlite").write_bytes(b"SQLite format 3\0" + b"nonsense" * 500)
    shutil.copytree(recorded.directory, newer)
    (file,) = newer.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    (tmp_path / "something").mkdir()
    (tmp_path / "something" / "else").touch()
    for arguments, told in (
        ([tmp_path / "nowhere"], "does not exist"),
        ([tmp_path / "something"], "no trace in"),
        ([damaged], "damaged"),
        ([newer], "newer poolhog"),
        ([recorded.directory, "--route", "/nothing"], "no route contains '/nothing'"),
        ([recorded.directory, "--threshold", "patience=3"], "patience is no threshold"),
        ([recorded.directory, "--threshold", "parked_s"], "expected name=number"),
    ):
        wrong = poolhog("report", *arguments, code=2)
        assert len(wrong.splitlines()) == 1
        assert wrong.startswith("poolhog: ")
        assert told in wrong


def test_output_that_cannot_be_written_is_a_mistake_too(recorded: Recorded) -> None:
    command = [sys.executable, "-m", "poolhog", "report", str(recorded.directory)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("poolhog: the output cannot be written (No space left on device)")
    assert len(done.stderr.splitlines()) == 1


def test_what_the_encoding_of_the_output_lacks_is_a_question_mark(recorded: Recorded) -> None:
    command = [sys.executable, "-m", "poolhog", "timeline", str(recorded.directory)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert done.stdout.isascii()
    assert b"?" in done.stdout


def test_a_run_that_used_no_pool_yet_is_no_mistake(tmp_path: Path) -> None:
    told = "No connection was asked for yet: let the application work, and ask again.\n"
    assert poolhog("report", tmp_path) == told
    (tmp_path / "poolhog-traces" / "20260101-120000-1").mkdir(parents=True)
    assert poolhog("report", cwd=tmp_path) == told
    shutil.rmtree(tmp_path / "poolhog-traces")
    found = report(tmp_path)
    assert found["findings"] == found["pools"] == found["routes"] == []
    assert found["totals"]["checkouts"] == 0
