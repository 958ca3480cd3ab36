"""Runs of more processes than files can be open at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hard_ends import forked, is_recorded, rows, work
from recorded_app import eventually

import poolhog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERY = "SELECT count(*) AS checkouts FROM checkouts"
PROCESSES = 70
VERBS: tuple[tuple[str, ...], ...] = (
    *(("report", "--json"), ("timeline", "--json"), ("log", "--json"), ("dump", "--json")),
    *(("sql", QUERY, "--json"), ("export", "--format", "csv", "-o", "OUT", "--json")),
    ("compare", "TRACE", "--json"),
)


def asked(trace: Path, verb: tuple[str, ...], descriptors: int, out: Path) -> Any:
    """The answer of a verb that may open so many files at once."""
    filled = {"OUT": str(out), "TRACE": str(trace)}
    words = [verb[0], str(trace), *(filled.get(word, word) for word in verb[1:])]
    done = subprocess.run(
        [sys.executable, "-m", "poolhog", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of many processes, all of which were killed."""
    one = tmp_path_factory.mktemp("one") / "trace"
    child = forked(lambda: work(one))
    eventually(lambda: is_recorded(one))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    directory = tmp_path_factory.mktemp("many")
    for number in range(PROCESSES):
        for file in one.iterdir():
            shutil.copy(file, directory / f"{10_000 + number}{file.name[file.name.index('.') :]}")
    return directory


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_many_processes_are_read_with_few_descriptors(
    many: Path, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    found = asked(many, verb, 64, tmp_path / "out")
    match verb[0]:
        case "export":
            assert len(found["processes"]) == PROCESSES
        case "dump":
            assert (len(found["processes"]), found["unreadable"]) == (PROCESSES, [])
        case "report":
            assert (len(found["processes"]), found["unreadable"]) == (PROCESSES, [])
        case "timeline" | "log":
            assert found["unreadable"] == []


def is_written(trace: Path) -> list[poolhog.Process]:
    """The processes of which something is in the trace."""
    try:
        return list(poolhog.open_trace(trace).processes)
    except poolhog.TraceError:
        return []


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Path]:
    """A run of processes that go on."""
    trace = tmp_path / "trace"
    children = [forked(lambda: work(trace, 0.1)) for _ in range(30)]
    eventually(lambda: len(is_written(trace)) == len(children))
    yield trace
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_many_processes_that_go_on_are_exported(living: Path, tmp_path: Path) -> None:
    verb = ("export", "--format", "csv", "-o", "OUT", "--json")
    found = asked(living, verb, 128, tmp_path / "out")
    assert len(found["processes"]) == 30
    assert rows(tmp_path / "out", "checkouts.csv") == found["checkouts"]


def test_a_reader_without_descriptors_calls_no_file_damaged(many: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NONE_LEFT, str(many)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no other file can be opened" in done.stderr
    assert "damaged" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


NONE_LEFT = """
import os, resource, sys
from poolhog.cli import main
import poolhog.cli.report, poolhog.analysis.report, poolhog.render.report, poolhog.trace.reader
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    os.close(held.pop())
main(["dump", sys.argv[1]])
"""
