"""How a file of a trace is opened: with its log, and without changing anything beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from poolhog.trace.files import ProcessFile, UnreadableError

ROWS = 3000
PAGE = 2048
FRAME = PAGE + 24
WRITER = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(f"PRAGMA page_size = {sys.argv[2]}")
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
for number in range(int(sys.argv[3])):
    database.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 500))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose log was folded in and begun anew, of a process that was killed."""
    file = tmp_path_factory.mktemp("killed") / "1.sqlite"
    command = [sys.executable, "-c", WRITER, str(file), str(PAGE), str(ROWS)]
    subprocess.run(command, check=False, timeout=60)
    assert Path(f"{file}-wal").stat().st_size > 100 * FRAME
    return file


@pytest.fixture
def file(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed.parent, tmp_path / "trace")
    return tmp_path / "trace" / killed.name


def log_of(file: Path) -> Path:
    return Path(f"{file}-wal")


def rows(file: Path) -> tuple[int, str | None]:
    """How many rows there are, and what is said of the log."""
    opened = ProcessFile(file)
    with opened.reading() as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ((count,),) = database.execute("SELECT count(*) FROM t")
    damage = opened.log_damage
    return count, damage.reason if damage is not None else None


def frames(file: Path) -> int:
    """How many frames of the log are of its present generation."""
    content = log_of(file).read_bytes()
    salts = content[16:24]
    found = 0
    while content[32 + found * FRAME + 8 : 32 + found * FRAME + 16] == salts:
        found += 1
    return found


def test_a_log_is_read_as_sqlite_reads_it_and_nothing_is_written(file: Path) -> None:
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in file.parent.iterdir()}
    assert rows(file) == (ROWS, None)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before
    assert {path.name: path.stat().st_mtime_ns for path in file.parent.iterdir()} == times
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)


@pytest.mark.parametrize("has_index", [True, False])
def test_a_log_that_is_not_sound_is_told(file: Path, *, has_index: bool) -> None:
    """Frames of a log are checked one after the other: all behind a broken one is lost."""
    if not has_index:
        Path(f"{file}-shm").unlink()
    with log_of(file).open("r+b") as log:
        log.seek(32 + 20 * FRAME + 100)
        log.write(b"\xff\x00\xff")
    count, reason = rows(file)
    assert count < ROWS
    assert reason is not None
    assert "is damaged at byte " in reason


@pytest.mark.parametrize("kept", [0, 16, 32, 32 + 30 * FRAME, 32 + 30 * FRAME + 500])
def test_a_log_that_is_cut_off_is_told(file: Path, kept: int) -> None:
    os.truncate(log_of(file), kept)
    count, reason = rows(file)
    assert count < ROWS
    assert reason is not None
    assert "is damaged" in reason or "is missing" in reason


def test_a_log_that_is_gone_is_told(file: Path) -> None:
    log_of(file).unlink()
    assert rows(file)[1] == "is missing, and what its process wrote last"


def test_a_frame_that_was_not_finished_is_no_damage(file: Path) -> None:
    """A process that is killed while it writes leaves one: no transaction ended in it or behind."""
    number = frames(file)
    with log_of(file).open("r+b") as log:
        header = log.read(32)
        log.seek(32 + number * FRAME)
        log.write(struct.pack(">II8sII", 2, 0, header[16:24], 1, 2))
    assert rows(file) == (ROWS, None)


def test_a_log_of_another_page_size_is_not_taken(file: Path) -> None:
    with log_of(file).open("r+b") as log:
        log.seek(8)
        log.write(struct.pack(">I", 3000))
    assert "from its beginning" in str(rows(file)[1])


@pytest.mark.parametrize("content", [b"", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(1000)])
def test_a_journal_is_refused_and_nothing_deleted(file: Path, content: bytes) -> None:
    journal = Path(f"{file}-journal")
    journal.write_bytes(content)
    with pytest.raises(UnreadableError, match="rollback journal"):
        rows(file)
    assert journal.read_bytes() == content


@pytest.mark.parametrize("name", ["1.sqlite", "1.sqlite-wal"])
def test_what_is_no_regular_file_does_not_keep_us(file: Path, name: str) -> None:
    pipe = file.with_name(name)
    pipe.unlink()
    os.mkfifo(pipe)
    if name == "1.sqlite":
        with pytest.raises(UnreadableError, match="not a regular file"):
            rows(file)
    else:  # a pipe has no size, as a log that is gone
        assert rows(file)[1] is not None


def test_a_file_that_its_process_has_open_is_read_with_it(tmp_path: Path) -> None:
    program = WRITER.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(flush=True); input()")
    file = tmp_path / "1.sqlite"
    command = [sys.executable, "-c", program, str(file), str(PAGE), "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        opened = ProcessFile(file)
        assert opened.is_shared
        names = {path.name for path in tmp_path.iterdir()}
        assert rows(file) == (10, None)
        assert {path.name for path in tmp_path.iterdir()} == names
        opened.copy_now()
        assert not opened.is_shared
        process.communicate(b"\n")
    assert not ProcessFile(file).is_shared
    with opened.reading() as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (10,)


def test_a_trace_is_read_without_the_functions_and_the_room_of_a_stranger(killed: Path) -> None:
    with ProcessFile(killed).reading() as database:
        assert database.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError):
            database.execute("DELETE FROM t")
        with pytest.raises(sqlite3.DataError):
            database.execute("SELECT zeroblob(20000000)")
