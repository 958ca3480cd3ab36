"""Which trace a verb means."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from recorders import pool_record

from poolhog.cli.target import UnusedError, processes, trace_directory
from poolhog.errors import PoolhogError
from poolhog.recording.attach.directory import TRACES
from poolhog.recording.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


def record(directory: Path, modified_ago: float = 0.0) -> Path:
    """A trace; its files look as if they were changed so many seconds ago."""
    recorder = Recorder(directory)
    checkout = recorder.ask(recorder.pool(pool_record()))
    recorder.grant(checkout, 1)
    recorder.end(checkout)
    recorder.stop()
    then = time.time() - modified_ago
    for file in directory.iterdir():
        os.utime(file, (then, then))
    return directory


def test_a_trace_that_is_named_is_taken(tmp_path: Path) -> None:
    assert trace_directory(record(tmp_path / "run")) == tmp_path / "run"


def test_of_a_directory_of_traces_the_newest_is(tmp_path: Path) -> None:
    record(tmp_path / "b")
    newest = record(tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "notes.txt").touch()
    assert trace_directory(tmp_path) == newest


def test_without_a_name_the_newest_of_the_working_directory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / TRACES / "1")
    record(tmp_path / TRACES / "2")
    assert trace_directory(None) == TRACES / "2"


def test_reading_an_old_trace_does_not_make_it_the_newest(tmp_path: Path) -> None:
    """Reading what a killed process left behind changes its file."""
    record(tmp_path / "old")
    newest = record(tmp_path / "new")
    later = time.time() + 60
    for file in (tmp_path / "old").iterdir():
        os.utime(file, (later, later))
    assert trace_directory(tmp_path) == newest


def test_a_trace_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    readable = record(tmp_path / "readable", modified_ago=60)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "1.sqlite").write_text("no database " * 100)
    assert trace_directory(tmp_path) == readable
    (only,) = readable.glob("*.sqlite")
    only.unlink()
    assert trace_directory(tmp_path) == tmp_path / "damaged"  # reading it says why


def test_where_there_is_none_it_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoolhogError, match=r"^no trace in \./poolhog-traces: record one with:"):
        trace_directory(None)
    (tmp_path / "file").touch()
    with pytest.raises(PoolhogError, match="poolhog run -- COMMAND"):
        trace_directory(tmp_path)
    with pytest.raises(PoolhogError, match="does not exist"):
        trace_directory(tmp_path / "gone")
    with pytest.raises(PoolhogError, match="is a file"):
        trace_directory(tmp_path / "file")


def test_a_run_that_recorded_nothing_is_told_and_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or one would take the trace of yesterday's code for that of the command just started."""
    unused = tmp_path / "unused"
    unused.mkdir()
    with pytest.raises(UnusedError, match=f"^{unused} has recorded nothing yet: let the"):
        trace_directory(tmp_path)
    with pytest.raises(UnusedError, match=f"^{unused} has recorded nothing yet: let the"):
        trace_directory(unused)
    before = time.time() - 60
    os.utime(unused, (before, before))
    trace = record(tmp_path / "trace")
    assert trace_directory(tmp_path) == trace
    assert capsys.readouterr().err == ""
    later = time.time() + 60
    os.utime(unused, (later, later))
    assert trace_directory(tmp_path) == trace
    told = f"the newest run, {unused}, has recorded nothing yet: this is {trace}"
    assert capsys.readouterr().err == f"poolhog: {told}\n"


def test_one_process_of_a_run(tmp_path: Path) -> None:
    directory = record(tmp_path / "run")
    assert [reader.process.pid for reader in processes(directory)] == [os.getpid()]
    assert [reader.process.pid for reader in processes(directory, os.getpid())] == [os.getpid()]
    with pytest.raises(PoolhogError, match=rf"--pid takes one of {os.getpid()}$"):
        processes(directory, 1)
