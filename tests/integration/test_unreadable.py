"""Traces of which a part is damaged, and traces where nothing can be written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import poolhog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = """
import os, signal, sys, time
import poolhog
from sqlalchemy import create_engine, text

poolhog.install(sys.argv[1])
engine = create_engine("sqlite:///:memory:")
for _ in range(10):
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        time.sleep(0.02)
time.sleep(0.4)  # the writer's turn
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""
CHECKOUTS = 10


def record(directory: Path, *, killed: bool = False) -> Path:
    """The file of a process that exited normally, or was killed."""
    how = "killed" if killed else "ended"
    command = [sys.executable, "-c", APP, str(directory), how]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if killed else 0)
    (file,) = directory.glob("*.sqlite")
    return file


def ask(*arguments: object, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, "-m", "poolhog", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "trace")


def _truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _garbage(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def _newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")


def _damaged_inside(file: Path) -> None:
    """The checkouts cannot be read, which is noticed when all else was."""
    with closing(sqlite3.connect(file)) as database:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'packed_checkouts'"
        ((page,),) = database.execute(sql)
        ((size,),) = database.execute("PRAGMA page_size")
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size)
        opened.write(b"\xff" * size)


DAMAGES: dict[Callable[[Path], None], str] = {
    _truncated: "is damaged or no poolhog trace",
    _empty: "is empty",
    _garbage: "is damaged or no poolhog trace",
    _newer: "was written by a newer poolhog",
    _damaged_inside: "is damaged",
}
VERBS: tuple[tuple[str, ...], ...] = (
    *(("report",), ("log",), ("timeline",), ("dump",)),
    ("sql", "SELECT count(*) AS n FROM checkouts"),
)


def words(verb: tuple[str, ...], trace: Path) -> list[object]:
    return [verb[0], trace, *verb[1:]]


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def partly(request: pytest.FixtureRequest, recorded: Path, tmp_path: Path) -> tuple[Path, str]:
    """A trace of a good file and a bad one, and what is wrong with the bad one."""
    trace = tmp_path / "trace"
    shutil.copytree(recorded.parent, trace)
    shutil.copy(recorded, trace / "7.sqlite")
    request.param(trace / "7.sqlite")
    return trace, DAMAGES[request.param]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_the_rest_of_a_run_is_read_and_what_is_not_is_told(
    partly: tuple[Path, str], verb: tuple[str, ...]
) -> None:
    trace, reason = partly
    text, errors = ask(*words(verb, trace))
    told = errors if verb[0] == "sql" else text
    assert told.startswith(("Not in this:", "poolhog: not in this:"))
    assert "7.sqlite" in told
    assert reason in told.replace("\n", " ")
    assert "Traceback" not in errors
    if verb[0] == "sql":
        assert text.split()[-1] == str(CHECKOUTS)


@pytest.mark.parametrize("verb", VERBS[:-1], ids=lambda verb: verb[0])
def test_a_program_is_told_as_well(partly: tuple[Path, str], verb: tuple[str, ...]) -> None:
    trace, reason = partly
    found: dict[str, Any] = json.loads(ask(*words(verb, trace), "--json")[0])
    (one,) = found["unreadable"]
    assert one["file"] == str(trace / "7.sqlite")
    assert reason in one["reason"]


def test_what_is_read_in_python_says_what_is_missing(partly: tuple[Path, str]) -> None:
    trace = poolhog.open_trace(partly[0])
    assert len(trace.checkouts) == CHECKOUTS
    (one,) = trace.unreadable
    assert one.file.endswith("7.sqlite")
    assert partly[1] in one.reason


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_it_is_a_mistake_only_if_nothing_can_be_read(
    partly: tuple[Path, str], recorded: Path, verb: tuple[str, ...]
) -> None:
    trace, reason = partly
    (trace / recorded.name).unlink()
    text, errors = ask(*words(verb, trace), code=2)
    assert not text
    assert len(errors.splitlines()) == 1
    assert reason in errors


def test_a_process_whose_file_is_damaged_is_named_by_its_pid(
    recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded.parent, tmp_path / "trace")
    (tmp_path / "trace" / "7.sqlite").write_text("nothing of the kind")
    _, errors = ask("report", tmp_path / "trace", "--pid", 7, code=2)
    assert "7.sqlite is damaged" in errors


@contextmanager
def read_only(directory: Path, at: Path) -> Iterator[Path]:
    """The directory as it is on a medium that nothing can be written to."""
    at.mkdir()
    mounts = ["--bind", str(directory), str(at)], ["-o", "remount,ro,bind", str(at)]
    for command in (["mount", *words] for words in mounts):
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            subprocess.run(["umount", at], check=False, stderr=subprocess.DEVNULL)
            pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (at / "anything").touch()
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize(
    ("killed", "index"),
    [(False, False), (True, True), (True, False)],
    ids=["ended", "killed", "killed-without-index"],
)
def test_a_trace_on_a_read_only_medium(tmp_path: Path, *, killed: bool, index: bool) -> None:
    file = record(tmp_path / "trace", killed=killed)
    log = file.with_name(f"{file.name}-wal")
    assert log.exists() is killed
    if not index:
        file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with read_only(file.parent, tmp_path / "mounted") as mounted:
        before = {path.name: path.stat().st_size for path in mounted.iterdir()}
        assert len(poolhog.open_trace(mounted).checkouts) == CHECKOUTS
        for verb in VERBS:
            command = [sys.executable, "-m", "poolhog", *map(str, words(verb, mounted))]
            environment = {**os.environ, "TMPDIR": str(temporary)}
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment, timeout=60
            )
            assert done.stderr == ""
            if verb[0] == "sql":
                assert done.stdout.split()[-1] == str(CHECKOUTS)
        assert {path.name: path.stat().st_size for path in mounted.iterdir()} == before
    # What was copied is gone.
    assert list(temporary.iterdir()) == []
