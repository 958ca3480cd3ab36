"""What a recorder could not write: the trace says how much that is, and concludes nothing from it.

The disk is a small file system where one can be mounted, and a limit on the size of files.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from recorded_app import DEADLINE_S, eventually

import poolhog
from poolhog import Outcome, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import os, resource, sys, threading
import sqlalchemy as sa
import poolhog

directory, database = sys.argv[1:]
poolhog.install(directory)
engine = sa.create_engine("sqlite:///" + database, connect_args={"check_same_thread": False})
kept = []

def use(times):
    for number in range(times):
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

def keep(times):
    connection = engine.connect()
    connection.execute(sa.text("SELECT 2"))
    kept.append(connection)

def lend(times):
    thread = threading.Thread(target=keep, args=[times])
    thread.start()
    thread.join()

def give(times):
    kept.pop().close()

def limit(size):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size if size >= 0 else hard, hard))

def fork(times):
    child = os.fork()
    if child == 0:
        engine.dispose(close=False)
        use(times)
        sys.exit()
    os.waitpid(child, 0)

for line in sys.stdin:
    word, number = line.split()
    globals()[word](int(number))
    print("done", flush=True)
"""


class Program:
    """An application that does what it is told, and records into ``directory``."""

    def __init__(self, directory: Path, database: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory), str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def do(self, word: str, number: int = 0) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        """Let it exit normally."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(DEADLINE_S) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def kept(self) -> int:
        """The checkouts that are in its file by now."""
        try:
            return len(poolhog.open_trace(self.directory).checkouts)
        except poolhog.TraceError:
            return 0


class Disk(Protocol):
    """Where a trace goes, which can be full."""

    directory: Path

    def fill(self, program: Program, *, wholly: bool = False) -> None:
        """Leave no room: none for what is written in place either if that is ``wholly``."""

    def make_room(self, program: Program) -> None: ...


class SmallDisk:
    """A file system of some hundred kilobytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, program: Program, *, wholly: bool = False) -> None:
        with suppress(OSError), (self.directory / "other").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def make_room(self, program: Program) -> None:
        remount = ["mount", "-o", "remount,size=16m", str(self.directory)]
        subprocess.run(remount, check=True)


class Limit:
    """A limit on the size of files, which holds for all that the process writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, program: Program, *, wholly: bool = False) -> None:
        program.do("limit", 0 if wholly else 4096)

    def make_room(self, program: Program) -> None:
        program.do("limit", -1)


@pytest.fixture(params=["small disk", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    if request.param == "limit":
        yield Limit(directory)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(directory)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system can only be mounted by root: {error}")
    yield SmallDisk(directory)
    subprocess.run(["umount", str(directory)], check=True)


@pytest.fixture
def program(disk: Disk, tmp_path: Path) -> Iterator[Program]:
    program = Program(disk.directory / "trace", tmp_path / "data")
    with program.process:
        yield program
        program.process.kill()


def verb(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "poolhog", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def reported(directory: Path) -> Any:
    return json.loads(verb("report", directory, "--json").stdout)


def only_process(directory: Path) -> Process:
    (process,) = poolhog.open_trace(directory).processes
    return process


def begin(program: Program) -> None:
    """A first checkout is written."""
    program.do("use", 1)
    eventually(lambda: program.kept() == 1)


def markers(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("*.missing")]


def test_what_could_not_be_written_is_counted_and_nothing_is_concluded_from_it(
    disk: Disk, program: Program
) -> None:
    program.do("lend")

    def kinds() -> set[str]:
        found = reported(program.directory) if program.kept() else {"findings": []}
        return {finding["kind"] for finding in found["findings"]}

    eventually(lambda: kinds() == {"never-returned"})
    disk.fill(program)
    program.do("give")
    program.do("use", 5000)
    program.end()

    found = reported(program.directory)
    (missing,) = found["missing"]
    kept = found["totals"]["checkouts"]
    assert missing["checkouts"] > 1000
    assert kept + missing["checkouts"] == 5001
    assert missing["facts"] >= 1
    assert found["totals"]["open"] >= 1
    assert "never-returned" not in {finding["kind"] for finding in found["findings"]}
    lines = verb("report", program.directory).stdout.splitlines()
    reason = missing["reason"]
    assert lines[0] == (
        f"{missing['checkouts']:,} of 5,001 checkouts could not be written ({reason}): "
        "totals are too low."
    )
    text = "\n".join(lines)
    assert "not returned" not in text
    assert "abnormally" not in text
    page = disk.directory.parent / "page.html"
    verb("report", program.directory, "--html", page)
    assert lines[0].replace("(", "").split(" written ")[0] in page.read_text()


def test_a_kill_while_writing_fails_leaves_the_latest_count(disk: Disk, program: Program) -> None:
    begin(program)
    disk.fill(program)
    program.do("use", 5000)

    def told() -> int:
        trace = poolhog.open_trace(program.directory)
        return len(trace.checkouts) + trace.processes[0].missing_checkouts

    eventually(lambda: told() == 5001)
    program.do("keep")
    eventually(lambda: told() == 5002)
    program.kill()
    assert told() == 5002
    process = only_process(program.directory)
    assert not process.finished
    assert process.is_cut_off


def test_nothing_is_missing_once_there_is_room(disk: Disk, program: Program) -> None:
    begin(program)
    disk.fill(program)
    program.do("use", 3000)
    eventually(lambda: only_process(program.directory).missing_checkouts > 0)
    disk.make_room(program)
    eventually(lambda: program.kept() == 3001)
    eventually(lambda: only_process(program.directory).missing_reason is None)
    program.do("use", 10)
    program.end()
    trace = poolhog.open_trace(program.directory)
    assert [c.outcome for c in trace.checkouts] == [Outcome.RETURNED] * 3011
    assert trace.processes[0].finished
    assert trace.processes[0].missing_reason is None
    assert trace.processes[0].errors > 0
    assert markers(program.directory) == []
    assert reported(program.directory)["missing"] == []


def test_a_start_on_a_full_disk_is_told(disk: Disk, program: Program) -> None:
    disk.fill(program, wholly=True)
    program.do("use", 50)
    eventually(lambda: markers(program.directory) == [f"{program.process.pid}.missing"])
    check_that_nothing_was_written(program)
    program.end()
    check_that_nothing_was_written(program)


def check_that_nothing_was_written(program: Program) -> None:
    pid = program.process.pid
    for words in (["report"], ["report", "--json"], ["dump"], ["log"]):
        done = verb(words[0], program.directory, *words[1:], status=2)
        told = (
            f"poolhog: process {pid} could write nothing (disk full): make room, and record again"
        )
        assert done.stderr.splitlines()[-1] == told
        assert done.stdout == ""


def test_a_start_on_a_full_disk_loses_nothing_once_there_is_room(
    disk: Disk, program: Program
) -> None:
    disk.fill(program, wholly=True)
    program.do("use", 50)
    eventually(lambda: bool(markers(program.directory)))
    disk.make_room(program)
    eventually(lambda: program.kept() == 50)
    eventually(lambda: only_process(program.directory).missing_reason is None)
    program.end()
    assert only_process(program.directory).finished
    assert markers(program.directory) == []


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path / "trace", tmp_path / "data")
    with program.process:
        yield program
        program.process.kill()


def test_every_verb_says_what_could_not_be_written(limited: Program) -> None:
    begin(limited)
    limited.do("limit", 4096)
    limited.do("use", 5000)
    limited.end()
    directory = limited.directory
    missing = only_process(directory).missing_checkouts
    assert missing > 1000
    told = re.compile(rf"{missing:,}( of 5,001)? checkouts could not be written \(")
    for words in (["report"], ["dump"], ["log"], ["timeline"], ["whatif"]):
        assert told.match(verb(*words, directory).stdout), words
        answer = json.loads(verb(*words, directory, "--json").stdout)
        assert [one["checkouts"] for one in answer["missing"]] == [missing], words
    both = verb("compare", directory, directory).stdout.splitlines()[:2]
    assert all(told.match(line.removeprefix("trace: ")) for line in both)
    assert "could not be written" in verb("compare", directory, directory, "--markdown").stdout
    answer = json.loads(verb("compare", directory, directory, "--json").stdout)
    assert answer["after"]["missing"][0]["checkouts"] == missing
    asked = verb("sql", directory, "SELECT 1")
    assert told.match(asked.stderr.removeprefix("poolhog: "))


def test_a_trace_that_is_deleted_while_the_disk_is_full(limited: Program) -> None:
    begin(limited)
    limited.do("limit", 4096)
    limited.do("use", 20)
    shutil.rmtree(limited.directory)
    limited.do("use", 30)
    limited.end()
    # What was deleted was the user's to delete; what waited then, and came later, is missing.
    assert markers(limited.directory) == [f"{limited.process.pid}.missing"]
    with pytest.raises(poolhog.TraceError, match="could write nothing"):
        poolhog.open_trace(limited.directory)
    (marker,) = limited.directory.iterdir()
    assert "checkouts=0000000050 " in marker.read_text()


def test_a_forked_child_says_what_it_could_not_write_itself(limited: Program) -> None:
    begin(limited)
    limited.do("limit", 4096)
    limited.do("fork", 40)
    limited.do("use", 5)
    limited.end()
    found = reported(limited.directory)
    assert [(one["pid"], one["checkouts"]) for one in found["missing"]] == [
        (limited.process.pid, 5)
    ]
    (child,) = found["unreadable"]
    assert str(limited.process.pid) not in child["file"].rpartition("/")[2]
    assert re.match(r"could not be written \(.*\): 40 checkouts are missing; ", child["reason"])
