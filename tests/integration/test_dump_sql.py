"""``poolhog dump`` and ``poolhog sql``, asked about a service that hangs, and after its death."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import hanging_app
import pytest
from recorded_app import DEADLINE_S, eventually

import poolhog
from poolhog.analysis.dump import process_dump
from poolhog.analysis.findings_so_far import FindingsSoFar
from poolhog.analysis.live import LiveRun
from poolhog.analysis.liveness import Liveness
from poolhog.analysis.thresholds import Thresholds
from poolhog.cli.top_screen import Lines, TopScreen
from poolhog.render.dump_json import dump_json
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

ON_DISK_S = 0.25
"""What happened is on disk so much later, as the recorder promises."""

SLACK_S = 2.0
"""On a busy machine its thread may have to wait for the processor."""


class Service:
    """A process of ``hanging_app``, and its trace."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        command = [sys.executable, hanging_app.__file__, str(directory), url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self._asked = ExitStack()

    def get(self, path: str) -> int:
        """The status of the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def ask(self, path: str) -> None:
        """Ask, and do not wait for the answer."""
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        self._asked.enter_context(connection)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        self._asked.close()


@pytest.fixture
def service(database: LabDatabase, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "trace", database.url)
    with service.process:
        yield service
        service.kill()


def verb(*arguments: object, fails: bool = False) -> str:
    """What ``poolhog`` prints; if it fails, on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "poolhog", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == (2 if fails else 0), done.stderr
    if fails:
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("poolhog: ")
    return done.stderr if fails else done.stdout


def dumped(directory: Path) -> Any:
    """The only process of ``poolhog dump --json``."""
    (process,) = json.loads(verb("dump", directory, "--json"))["processes"]
    return process


def polled(service: Service) -> Any:
    """The same without a process for it; ``None`` if there is no trace yet."""
    try:
        (reader,) = stream_trace(service.directory)
    except poolhog.TraceError:
        return None
    (process,) = dump_json([process_dump(reader.read_open(), Liveness.RUNNING)])["processes"]
    return process


def hang(service: Service) -> None:
    """All connections are held, by different means, and two requests wait."""
    for count, path in enumerate(("/summary/1", "/summary/2", "/report"), 1):
        service.ask(path)
        wait_for_held(service, count)
    for _ in range(2):
        service.ask("/quick")
    eventually(lambda: is_hanging(service))


def wait_for_held(service: Service, count: int) -> None:
    eventually(lambda: len(states(service)) == count)


def states(service: Service) -> list[str | None]:
    """What the owners of connections do, the longest held first."""
    process = polled(service)
    pools = process["pools"] if process is not None else []
    return [held["state"] for pool in pools for held in pool["held"]]


def is_hanging(service: Service) -> bool:
    waiting = sum(len(pool["waiting"]) for pool in polled(service)["pools"])
    return states(service) == ["parked", "parked", "busy"] and waiting == 2


def functions(stack: list[dict[str, Any]]) -> list[str]:
    return [frame["function"].rpartition(".")[2] for frame in stack]


def test_who_holds_what_while_it_hangs_and_after_a_kill(service: Service) -> None:
    hang(service)
    alive = dumped(service.directory)
    assert (alive["life"], alive["pid"]) == ("running", service.process.pid)
    check_hang(alive)
    service.kill()
    dead = dumped(service.directory)
    assert dead["life"] == "dead"
    check_hang(dead)
    assert dead["written_at"] >= alive["written_at"]


def check_hang(process: Any) -> None:
    (pool,) = process["pools"]
    assert (pool["size"], pool["capacity"], pool["library"]) == (3, 3, "sqlalchemy")
    first, second, report = pool["held"]
    for asked, path in ((first, "/summary/1"), (second, "/summary/2")):
        assert asked["request"]["route"] == "/summary/{note_id}"
        assert asked["request"]["path"] == path
        assert asked["last_operation"] == "statement"
        assert asked["last_statement"].startswith("SELECT ? + $1")
        assert asked["in_transaction"]
        assert functions(asked["stack"])[:4] == [
            *("sleep", "wait_for_the_answer", "ask_the_model", "summarize")
        ]
        assert [frame["is_application"] for frame in asked["stack"][:4]] == [False, *[True] * 3]
        assert asked["stack"][1]["source"] == "await asyncio.sleep(3600)"
        assert 0 < asked["idle_s"] <= asked["held_s"]
    assert first["held_s"] > second["held_s"]
    assert {first["connection"], second["connection"], report["connection"]} == {1, 2, 3}
    assert report["last_statement"] == "SELECT pg_sleep(?)"
    assert report["idle_s"] == 0
    assert functions(report["stack"]) == ["report"]
    for waiting in pool["waiting"]:
        assert waiting["request"]["route"] == "/quick"
        assert waiting["wait_s"] > 0
        assert functions(waiting["asked_stack"]) == ["quick"]


def test_the_dump_for_a_person(service: Service) -> None:
    hang(service)
    text = verb("dump", service.directory)
    conclusion, first, *lines = text.splitlines()
    assert re.fullmatch(
        r"All 3 connections of pool postgresql\+asyncpg are lent: "
        r"2 parked at \S*hanging_app.py:\d+, 1 busy at \S*hanging_app.py:\d+.",
        conclusion,
    )
    assert first.startswith(
        "3 connections lent, 2 of them without an operation; 2 requests wait for one, the longest"
    )
    assert any(line.startswith(f"process {service.process.pid} running, as of ") for line in lines)
    assert "(sqlalchemy): 3 of 3 lent, exhausted, 2 waiting" in text
    at = [index for index, line in enumerate(lines) if "sleep (asyncio/tasks.py:" in line]
    assert len(at) == 1
    assert any(re.match(r"  2 connections \(\d, \d\)  held for up to ", line) for line in lines)
    assert any(line.startswith("  2 waiting  for up to ") for line in lines)
    every = verb("dump", service.directory, "--all").splitlines()
    assert sum("sleep (asyncio/tasks.py:" in line for line in every) == 2
    assert sum(line.startswith("  waiting  for ") for line in every) == 2
    for index, function in enumerate(("wait_for_the_answer", "ask_the_model", "make_service.")):
        assert lines[at[0] + 1 + index].strip().startswith(function)
    assert "await asyncio.sleep(3600)" in text
    assert "SELECT pg_sleep(?)" in text
    assert lines[-1] == f"For all that was recorded: poolhog report {service.directory}"
    assert "\x1b" not in text


def test_what_happens_is_on_disk_a_moment_later(service: Service) -> None:
    """Polled, as a person would who looks at a service that hangs."""
    assert service.get("/quick") == 200
    service.ask("/summary/1")
    began = time.monotonic()
    wait_for_held(service, 1)
    assert time.monotonic() - began < ON_DISK_S + SLACK_S
    time.sleep(ON_DISK_S)
    service.kill()
    (pool,) = dumped(service.directory)["pools"]
    assert [held["state"] for held in pool["held"]] == ["parked"]


def test_burning_the_processor_is_not_parked(service: Service) -> None:
    assert service.get("/quick") == 200
    service.ask("/burn/3600")
    eventually(lambda: states(service) == ["running"])
    service.ask("/quick")  # which the loop does not get to see
    service.kill()
    (pool,) = dumped(service.directory)["pools"]
    (burning,) = pool["held"]
    assert burning["state"] in ("running", "ready")
    assert functions(burning["stack"])[0] == "burn"
    assert pool["waiting"] == []


def test_a_process_that_is_stopped_is_silent(service: Service) -> None:
    assert service.get("/quick") == 200
    eventually(lambda: polled(service) is not None)
    assert dumped(service.directory)["life"] == "running"
    os.kill(service.process.pid, signal.SIGSTOP)
    eventually(lambda: dumped(service.directory)["life"] == "silent")
    assert "has written nothing since" in verb("dump", service.directory)
    os.kill(service.process.pid, signal.SIGCONT)
    eventually(lambda: dumped(service.directory)["life"] == "running")


def test_nothing_held_is_told_too(service: Service) -> None:
    assert service.get("/quick") == 200
    eventually(lambda: states(service) == [])
    told = "No connection is lent, and nobody waits for one."
    # A machine that is very busy may keep it from committing for a second.
    eventually(
        lambda: verb("dump", service.directory, "--pid", service.process.pid).startswith(told)
    )
    told = verb("dump", service.directory, "--pid", 1, fails=True)
    assert f"--pid takes one of {service.process.pid}" in told


def test_questions_are_answered_while_it_runs(service: Service) -> None:
    hang(service)
    (line,) = json.loads(verb("sql", service.directory, "lines", "--json"))
    assert line["source"] == "await asyncio.sleep(3600)"
    assert line["function"] == "wait_for_the_answer"
    assert line["checkouts"] == 2
    held = json.loads(verb("sql", service.directory, "held", "--json"))
    assert [row["in_use"] for row in held] == ["no", "no", "yes"]
    waits = json.loads(verb("sql", service.directory, "waits", "--json"))
    assert [row["outcome"] for row in waits[:2]] == ["waiting", "waiting"]
    text = verb("sql", service.directory, "lines")
    assert "await asyncio.sleep(3600)" in text
    assert "Which lines of the application hold connections parked" in text


def test_a_trace_is_not_changed_by_a_question(service: Service) -> None:
    assert service.get("/quick") == 200
    eventually(lambda: polled(service) is not None and states(service) == [])
    for query in ("DELETE FROM packed_checkouts", "DROP TABLE texts", "PRAGMA query_only = 0"):
        verb("sql", service.directory, query, fails=True)
    rows = json.loads(
        verb("sql", service.directory, "SELECT pid, outcome FROM checkouts", "--json")
    )
    assert rows == [{"pid": service.process.pid, "outcome": "returned"}]


HOG = """
import ctypes, sys
import sqlalchemy as sa
import poolhog

directory, database = sys.argv[1:]
poolhog.install(directory)
engine = sa.create_engine("sqlite:///" + database)
with engine.connect() as connection:
    connection.execute(sa.text("SELECT 1"))
print("used", flush=True)
sys.stdin.readline()
connection = engine.connect()
connection.execute(sa.text("SELECT 2"))
print("kept", flush=True)
ctypes.PyDLL(None).sleep(3600)  # which keeps the interpreter
"""


@pytest.fixture
def hog(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """C code that keeps the interpreter, right after a statement on a connection."""
    command = [sys.executable, "-c", HOG, str(tmp_path / "trace"), str(tmp_path / "data")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "used\n"
        eventually(lambda: is_written(tmp_path / "trace"))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "kept\n"
        yield process
        process.kill()


def is_written(directory: Path) -> bool:
    try:
        return bool(poolhog.open_trace(directory).checkouts)
    except poolhog.TraceError:
        return False


def test_a_dump_says_how_old_it_is(hog: subprocess.Popen[str], tmp_path: Path) -> None:
    directory = tmp_path / "trace"
    eventually(lambda: dumped(directory)["written_age_s"] > 1.5)
    alive = dumped(directory)
    assert alive["life"] in ("running", "silent")
    assert alive["is_minimum"]
    first, second, *rest = verb("dump", directory).splitlines()
    assert re.fullmatch(
        r"The last commit is \d.* s old: the interpreter has not run poolhog's thread since\. "
        r"What follows is the least that is lent; more may be\.",
        first,
    )
    check_then(second, rest)
    report = verb("report", directory).splitlines()[0]
    assert report.startswith(f"Process {hog.pid} is still running, but its last commit is ")
    hog.kill()
    hog.wait(DEADLINE_S)
    dead = dumped(directory)
    assert (dead["life"], dead["written_age_s"], dead["is_minimum"]) == ("dead", None, True)
    first, second, *rest = verb("dump", directory).splitlines()
    assert re.fullmatch(
        rf"Process {hog.pid} died\. What follows is known as of the last commit, [-\d:. ]+, "
        r"and is the least that was lent; more may have been\.",
        first,
    )
    check_then(second, rest)
    assert "exited abnormally" in verb("report", directory)


def check_then(verdict: str, rest: list[str]) -> None:
    """What was lent is told of then, and not of now."""
    assert verdict.startswith("At the last commit")
    assert not any("nothing is lent" in line for line in rest)


def test_the_screen_of_top_while_the_service_runs(service: Service) -> None:
    hang(service)
    findings = FindingsSoFar(service.directory, None, Thresholds)
    app = TopScreen(LiveRun(service.directory), findings, "hanging", 0.1)

    def lines() -> list[str]:
        return app.query_one(Lines).render().plain.split("\n")

    async def watch() -> None:
        async with app.run_test(size=(100, 30)) as pilot:
            findings.start()
            await pilot.pause()
            text = "\n".join(lines())
            assert "EXHAUSTED" in text
            assert "[checkouts 5]" in text
            assert sum("▒ parked" in line for line in lines()) == 2
            assert sum("░ waiting" in line and "GET /quick" in line for line in lines()) == 2
            assert sum("█ busy" in line and "GET /report" in line for line in lines()) == 1
            deadline = time.monotonic() + DEADLINE_S
            while findings.latest is None and time.monotonic() < deadline:
                await pilot.pause(0.1)
            service.kill()
            while "the process died" not in lines()[0] and time.monotonic() < deadline:
                await pilot.pause(0.1)
            assert "the process died" in lines()[0]
            assert "[checkouts 5]" in "\n".join(lines())
            await pilot.press("shift+tab")
            assert "parked-checkout" in "\n".join(lines())

    asyncio.run(watch())


def test_top_of_a_process(service: Service) -> None:
    hang(service)
    found = json.loads(verb("top", service.directory, "--pid", service.process.pid, "--json"))
    (process,) = found["processes"]
    check_hang(process)
    assert [route["route"] for route in found["routes"]] == [
        *("GET /summary/{note_id}", "GET /report", "GET /quick")
    ]
    assert [finding["kind"] for finding in found["findings"]] == ["parked-checkout"]
    text = verb("top", service.directory, "--once")
    assert "1 process running" in text.splitlines()[0]
    assert "GET /summary/{note_id}" in text
