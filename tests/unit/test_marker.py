"""The marker of a process: what the recorder puts in it is read, and nothing else is."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from recorders import eventually, pool_record, the_file

import poolhog
from poolhog.cli.target import UnusedError, trace_directory
from poolhog.errors import OutputError
from poolhog.recording import marker as recorded
from poolhog.recording import trace_file
from poolhog.recording.attach.directory import check_unused
from poolhog.recording.marker import Marker, new_marker, reason_of
from poolhog.recording.recorder import Recorder
from poolhog.trace.missing import missing_of, unwritten

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = "database or disk is full"


def record(directory: Path) -> None:
    """A trace of a process that exited normally."""
    recorder = Recorder(directory)
    recorder.end(recorder.ask(recorder.pool(pool_record())))
    recorder.stop()


@pytest.fixture
def marker(tmp_path: Path) -> Marker:
    return new_marker(tmp_path / "trace")


def test_what_is_told_is_read(marker: Marker) -> None:
    assert stat.S_IMODE(marker.path.stat().st_mode) == 0o600
    assert missing_of(marker.file) is None
    size = marker.path.stat().st_size
    marker.tell(recorded.MissingCounts(12, 345), "disk full")
    found = missing_of(marker.file)
    assert found is not None
    assert found[:3] == (12, 345, "disk full")
    assert list(unwritten(marker.path.parent)) == [(marker.file, found)]
    marker.tell(recorded.MissingCounts(10**12, 10**12), "x" * 32)
    found = missing_of(marker.file)
    assert found is not None
    assert found[:2] == (10**10 - 1, 10**10 - 1)
    # In place: a full disk has no room for more.
    assert marker.path.stat().st_size == size
    marker.clear()
    assert missing_of(marker.file) is None
    assert not marker.is_telling


def test_a_marker_that_somebody_deleted_is_made_again(marker: Marker) -> None:
    shutil.rmtree(marker.path.parent)
    marker.tell(recorded.MissingCounts(1, 0), "disk full")  # there is no directory for it
    marker.path.parent.mkdir()
    marker.tell(recorded.MissingCounts(2, 0), "disk full")
    found = missing_of(marker.file)
    assert found is not None
    assert found.checkouts == 2


def test_what_another_put_there_is_not_written_to(marker: Marker, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    marker.path.unlink()
    marker.path.symlink_to(other)
    marker.tell(recorded.MissingCounts(2, 0), "disk full")
    assert other.read_text() == "kept"


def test_a_pid_that_is_used_again_gets_another_marker(marker: Marker) -> None:
    again = new_marker(marker.path.parent)
    assert (marker.path.stem, again.path.stem) == (f"{os.getpid()}", f"{os.getpid()}-2")
    marker.remove()
    marker.file.touch()
    assert new_marker(marker.path.parent).path.stem == f"{os.getpid()}-3"


GOOD = recorded.LINE.format(5, 6, 7, "disk full").encode()


def _link(path: Path) -> None:
    (path.parent / "real").write_bytes(GOOD)
    path.symlink_to(path.parent / "real")


@pytest.mark.parametrize(
    "put",
    [
        _link,
        os.mkfifo,
        Path.mkdir,
        *(
            lambda path, content=content: path.write_bytes(content)
            for content in (
                GOOD * 2,
                GOOD[:-1],
                GOOD + b"x" * 200,
                GOOD.replace(b"disk full", b"<b>\x1b[1m"),
                GOOD.replace(b"disk", "dìsk".encode()),
                GOOD.replace(b"missing 1", b"missing 2"),
                GOOD.replace(b"0000000005", b"-000000005"),
                GOOD.replace(b"0000000005", "\u0660\u0660\u0660\u0660\u0660".encode()),
                b"{}",
            )
        ),
    ],
)
def test_what_no_recorder_wrote_is_ignored(put: Callable[[Path], object], tmp_path: Path) -> None:
    record(tmp_path)
    (file,) = tmp_path.glob("*.sqlite")
    put(file.with_suffix(".missing"))
    assert missing_of(file) is None
    (process,) = poolhog.open_trace(tmp_path).processes
    assert (process.missing_reason, process.finished) == (None, True)


def test_a_later_commit_knows_better_than_a_marker(tmp_path: Path) -> None:
    record(tmp_path)
    (file,) = tmp_path.glob("*.sqlite")
    before = GOOD.replace(b"at_ns=00000000000000000007", b"at_ns=00000000000000000001")
    file.with_suffix(".missing").write_bytes(before)
    assert poolhog.open_trace(tmp_path).processes[0].finished
    after = GOOD.replace(b"at_ns=00000000000000000007", b"at_ns=99999999999999999999")
    file.with_suffix(".missing").write_bytes(after)
    (process,) = poolhog.open_trace(tmp_path).processes
    assert (process.missing_checkouts, process.missing_facts) == (5, 6)
    assert process.is_cut_off


def test_names_that_no_process_has_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes.missing").write_bytes(GOOD)
    assert list(unwritten(tmp_path)) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "secret"), "disk full"),
        (OSError(errno.EACCES, "secret"), "EACCES"),
        (OSError("secret"), "OSError"),
        (sqlite3.OperationalError("secret"), "OperationalError"),
        (ValueError("secret"), "ValueError"),
    ],
)
def test_the_reason_tells_nothing_secret(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_the_reason_of_sqlite_is_its_own(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "file", isolation_level=None)
    database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as found:
        database.executescript("CREATE TABLE a (b); CREATE TABLE c (d); CREATE TABLE e (f)")
    database.close()
    assert reason_of(found.value) == "disk full"


def test_what_was_dropped_is_counted_also_if_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: trace_file.TraceFile, values: object, checksum: int) -> None:
        raise sqlite3.OperationalError(FULL)

    recorder = Recorder(tmp_path / "trace", most_waiting=200_000)
    pool = recorder.pool(pool_record())
    recorder.end(recorder.ask(pool))
    the_file(recorder.directory)
    eventually(lambda: len(poolhog.open_trace(recorder.directory).checkouts) == 1)
    with monkeypatch.context() as patched:
        patched.setattr(trace_file.TraceFile, "_tell", fail)
        for _ in range(999):
            recorder.end(recorder.ask(pool))

        def told() -> int:
            trace = poolhog.open_trace(recorder.directory)
            return len(trace.checkouts) + trace.processes[0].missing_checkouts

        eventually(lambda: told() == 1000)
        assert recorder.journal.dropped_checkouts > 0
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    (process,) = trace.processes
    assert process.finished
    assert process.missing_checkouts == recorder.journal.dropped_checkouts
    assert len(trace.checkouts) + process.missing_checkouts == 1000
    assert process.missing_reason == "buffer full"
    assert list(recorder.directory.glob("*.missing")) == []


def test_a_run_that_could_write_nothing_is_told_and_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    marker = new_marker(run)
    with pytest.raises(UnusedError):
        trace_directory(run)  # it has only begun
    marker.tell(recorded.MissingCounts(7, 0), "disk full")
    told = (
        rf"^process {os.getpid()} could write nothing \(disk full\): make room, and record again$"
    )
    for given in (run, tmp_path):
        with pytest.raises(poolhog.TraceError, match=told):
            poolhog.open_trace(trace_directory(given))
    with pytest.raises(OutputError, match="holds a trace already"):
        check_unused(run)
    older = tmp_path / "older"
    record(older)
    for file in older.iterdir():
        os.utime(file, (1, 1))
    os.utime(run, (9e9, 9e9))
    assert trace_directory(tmp_path) == older
    assert f"the newest run, {run}, could write nothing: this is {older}" in capsys.readouterr().err
    record(run)
    found = poolhog.open_trace(run)
    assert [Path(one.file).name for one in found.unreadable] == [marker.file.name]
    assert found.unreadable[0].reason == (
        "could not be written (disk full): 7 checkouts are missing; make room, and record again"
    )
