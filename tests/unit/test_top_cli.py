"""``poolhog top`` and ``poolhog dump --watch`` from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from recorders import DEADLINE_S
from traces import hostile_trace
from verbs import poolhog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trace of a run that is over, the only one in poolhog-traces."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "poolhog-traces" / "20260101-000000-7"
    place.mkdir(parents=True)
    hostile_trace(place, "route")
    return place / "trace"


def test_it_is_printed_once_where_there_is_no_terminal(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("top", trace)
    out, err = capsys.readouterr()
    assert err == "poolhog: this is not a terminal: printed once, as with --once\n"
    assert out.startswith("poolhog top  poolhog-traces/20260101-000000-7/trace")
    assert "the run is over" in out.splitlines()[0]
    assert "parked-checkout" in out
    poolhog("top", trace, "--once")
    again, err = capsys.readouterr()
    assert err == ""
    assert again.splitlines()[1:-1] == out.splitlines()[1:-1]


def test_the_json_has_findings(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("top", trace, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["is_over"]
    assert found["findings"][0]["kind"] == "parked-checkout"
    assert [process["life"] for process in found["processes"]] == ["finished"]


def test_a_process_names_its_run(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trace.parent.parent / "run"
    trace.rename(run)
    poolhog("top", str(os.getpid()), "--once")
    assert capsys.readouterr().out.startswith("poolhog top  poolhog-traces/run")
    poolhog("top", "99999999", code=2)
    assert capsys.readouterr().err == (
        "poolhog: no trace of process 99999999 in ./poolhog-traces: "
        "name the directory that it is in\n"
    )


def test_a_users_mistakes_are_one_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = trace.parent / "newer"
    newer.mkdir()
    (newer / "7.sqlite").write_bytes(b"SQLite format 3\0" + b"cut off")
    for arguments, told in (
        (["nowhere"], "nowhere does not exist"),
        ([str(trace), "--pid", "1"], "no process 1 in"),
        ([str(newer)], "7.sqlite is damaged or no poolhog trace"),
        ([str(trace), "--interval", "0"], "--interval"),
    ):
        poolhog("top", *arguments, code=2)
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert told in err


def test_no_other_verb_loads_textual() -> None:
    code = "import sys, poolhog.cli; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_dump_is_printed_again_until_it_is_interrupted(trace: Path) -> None:
    command = [sys.executable, "-m", "poolhog", "dump", str(trace), "--watch", "--interval", "0.1"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(DEADLINE_S) == 0
    assert lines[0] == lines[1] == lines[2]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = 0
        while found < 2 and time.monotonic() - began < DEADLINE_S:
            found += process.stdout.readline().startswith("No connection is lent")
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(DEADLINE_S) == 0
    assert found == 2


def test_an_interval_without_a_watch_is_a_mistake(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("dump", trace, "--interval", "3", code=2)
    assert capsys.readouterr().err == (
        "poolhog: --interval is for a dump that is printed again: add --watch\n"
    )
