"""Processes that are killed at any moment, and more of them than files can be open at once."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from recorded_app import eventually

import poolhog
from poolhog.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLS = 60
AT_ONCE = 12
QUERY = "SELECT count(*) AS checkouts FROM checkouts"


def work(directory: Path, pause: float = 0.002) -> None:
    """Use a pool of two from three threads until somebody ends this process."""
    import threading

    poolhog.install(directory)
    engine = sa.create_engine("sqlite://", pool_size=1, max_overflow=1, poolclass=sa.QueuePool)

    def use() -> None:
        number = 0
        while True:
            number += 1
            with suppress(sa.exc.SQLAlchemyError), engine.connect() as connection:
                connection.execute(sa.text(f"SELECT {number}, :row"), {"row": 1})
                time.sleep(pause)

    for _ in range(3):
        threading.Thread(target=use, daemon=True).start()
    signal.pause()


def is_recorded(trace: Path) -> bool:
    """Whether something is in the trace."""
    try:
        return bool(poolhog.open_trace(trace).checkouts)
    except poolhog.TraceError:
        return False


def forked(act: Callable[[], None]) -> int:
    """The id of a new process that does so, and is not the test's any more."""
    child = os.fork()
    if child:
        return child
    try:
        os.close(1)
        os.close(2)
        act()
    finally:
        os._exit(1)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The traces of processes that were killed while they worked."""
    directory = tmp_path_factory.mktemp("killed")
    chance = random.Random(1)
    traces = [directory / str(number) for number in range(KILLS)]
    for first in range(0, KILLS, AT_ONCE):
        now = traces[first : first + AT_ONCE]
        children = [forked(lambda trace=trace: work(trace)) for trace in now]  # type: ignore[misc]
        for trace in now:
            eventually(lambda trace=trace: is_recorded(trace))  # type: ignore[misc]
        for child in chance.sample(children, len(children)):
            time.sleep(chance.random() / 10)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return traces


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a verb prints, which succeeds and complains of nothing."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 0
    assert "poolhog:" not in err
    assert "ot in this" not in out
    return out


def rows(file: Path, table: str) -> int:
    """Rows of a table of an export."""
    with zipfile.ZipFile(file) as tables, tables.open(table) as opened:
        return sum(1 for _ in csv.reader(io.TextIOWrapper(opened))) - 1


def test_every_verb_answers_of_whatever_was_killed(
    killed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = 0
    for number, trace in enumerate(killed):
        report = json.loads(said(capsys, "report", trace, "--json"))
        checkouts = report["totals"]["checkouts"]
        counted += checkouts
        assert checkouts == len(poolhog.open_trace(trace).checkouts)
        assert json.loads(said(capsys, "sql", trace, QUERY, "--json")) == [{"checkouts": checkouts}]
        said(capsys, "export", trace, "--format", "csv", "-o", tmp_path / "out.csv.zip")
        assert rows(tmp_path / "out.csv.zip", "checkouts.csv") == checkouts
        for verb in (("report",), ("report", "--blame"), ("log",), ("timeline",), ("dump",)):
            said(capsys, verb[0], trace, *verb[1:])
        said(capsys, "whatif", trace, "--pool-size", "3")
        said(capsys, "compare", trace, trace)
        if number % 6 == 0:
            said(capsys, "report", trace, "--html", tmp_path / "page.html")
            said(capsys, "timeline", trace, "--svg", tmp_path / "picture.svg")
            for form in ("speedscope", "chrome-trace"):
                said(capsys, "export", trace, "--format", form, "-o", tmp_path / form)
    assert counted > KILLS


PROCESSES = 100
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
def many(killed: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of many processes, some of which were killed."""
    directory = tmp_path_factory.mktemp("many")
    for number in range(PROCESSES):
        for file in killed[number % KILLS].iterdir():
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
