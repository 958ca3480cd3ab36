"""The file of one process: how it is opened for reading, whoever may have made it.

Nothing beside the output of a verb is ever written: a trace may be evidence, lie on a read-only
medium, or come from a stranger. So a file is opened in the one of three ways that needs no writing.

- One that its process has open is read together with it, by way of SQLite's locks.
- One without a log is read as one that nobody changes.
- One whose process ended without folding the log in is copied, with the log's pages, into a
  temporary directory (:mod:`poolhog.trace.log`): SQLite itself would write to take the log up.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import struct
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING

from poolhog.errors import TraceError
from poolhog.model import Unreadable
from poolhog.texts import visible
from poolhog.trace.log import fold_in, what_is_missing
from poolhog.trace.sql_texts import teach

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 16_000_000
"""The longest text that SQLite may make of a trace: the recorder writes none of a tenth of it."""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MOST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

_LONGEST_REASON = 120

_OUT_OF_DESCRIPTORS = frozenset([errno.EMFILE, errno.ENFILE])

# SQLite's lock byte ranges (os.h): whoever has a file in WAL mode open has the shared ones.
_SHARED_FIRST = 0x40000000 + 2
_SHARED_SIZE = 510


class UnreadableError(TraceError):
    """One file of a trace cannot be read; the others may be."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.file = file
        self.unreadable = Unreadable(visible(str(file)), visible(reason))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn whatever is wrong with the file into an :class:`UnreadableError`.

    Raises :class:`poolhog.TraceError` if this process has no descriptor left, or the disk no room:
    that is no fault of the file's.
    """
    try:
        yield
    except (sqlite3.Error, KeyError, TypeError, ValueError, RecursionError) as error:
        _check_descriptors()
        # SQLite quotes what it cannot read, which may be long.
        told = shorten(str(error), _LONGEST_REASON, placeholder=" …")
        reason = f"is damaged or no poolhog trace ({told}); record again"
        raise UnreadableError(file, reason) from error
    except OSError as error:
        if error.errno in _OUT_OF_DESCRIPTORS:
            raise _too_many_files(error) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TraceError(
                f"{file} has to be copied to be read, and there is no room for it: set TMPDIR to a "
                "directory on a larger disk"
            ) from error
        raise UnreadableError(file, f"cannot be read ({error.strerror or error})") from error


class ProcessFile:
    """A process's file, which is read and never changed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.log_damage: Unreadable | None = None
        self._copy: TemporaryDirectory[str] | None = None
        self._copied = ""

    @property
    def is_shared(self) -> bool:
        """Whether it is read together with a process that has it open, such as the recorded one."""
        if self._copied:
            return False
        if _pid(self.file) == os.getpid():
            # To open and close it would take this process's own locks on it away.
            return _size(self._index) > 0
        return _size(self._index) > 0 and _is_locked(self.file)

    @property
    def uri(self) -> str:
        """What SQLite opens to read the file as it is now."""
        if self._copied:
            return self._copied
        self._refuse_journal()
        if self.is_shared:
            uri = _uri(self.file, "mode=ro")
            if _can_be_shared(uri):
                return uri
        if not _size(self._log):
            _check_regular(self.file)
            missing = what_is_missing(self._index)
            self.log_damage = Unreadable(visible(str(self._log)), missing) if missing else None
            return _uri(self.file, "mode=ro&immutable=1")
        return self._copy_with_log()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open the file; what is wrong with it becomes an :class:`UnreadableError`."""
        with readable(self.file), closing(self.open()) as database:
            yield database

    def open(self) -> sqlite3.Connection:
        """Open the file, to be closed by the caller."""
        return _guarded(sqlite3.connect(self.uri, uri=True))

    def copy_now(self) -> None:
        """Read from a private copy of the present state from now on, which takes one descriptor."""
        # Asked once: when the copy is there, there is less room.
        place = self._place()
        with closing(self.open()) as database, closing(sqlite3.connect(place)) as copy:
            database.backup(copy)
        self._copied = _uri(place, "mode=ro&immutable=1")

    @property
    def _log(self) -> Path:
        return self.file.with_name(f"{self.file.name}-wal")

    @property
    def _index(self) -> Path:
        return self.file.with_name(f"{self.file.name}-shm")

    def _refuse_journal(self) -> None:
        # SQLite would roll it back, and delete another file that it may name. We never make one.
        if os.path.lexists(f"{self.file}-journal"):
            raise UnreadableError(
                self.file,
                f"has a rollback journal beside it, which poolhog never makes: open it with "
                f"sqlite3 if you trust {self.file.name}-journal, or delete that",
            )

    def _copy_with_log(self) -> str:
        place = self._place()
        damage = fold_in(self.file, self._log, self._index, place)
        if damage:
            self.log_damage = Unreadable(visible(str(self._log)), damage)
        self._copied = _uri(place, "mode=ro&immutable=1")
        return self._copied

    def _place(self) -> Path:
        """Where a copy goes. Raises ``OSError`` if there is no room for it."""
        if self._copy is None:
            self._copy = TemporaryDirectory(prefix="poolhog-", ignore_cleanup_errors=True)
        if shutil.disk_usage(self._copy.name).free < 2 * (_size(self.file) + _size(self._log)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Path(self._copy.name) / "copy.sqlite"


def _guarded(database: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, set up for a file that a stranger may have made."""
    teach(database)
    for limit, value in _LIMITS.items():
        database.setlimit(limit, value)
    if sys.version_info >= (3, 12):
        database.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        database.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        database.execute(f"PRAGMA {setting}")
    return database


def _can_be_shared(uri: str) -> bool:
    """Whether SQLite can read the file together with its process.

    It cannot where the locks' file is out of reach, such as in somebody else's directory.
    """
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (
            *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
            *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR),
        ):
            return False
        raise
    return True


def _check_regular(file: Path) -> None:
    """Raise ``OSError`` unless it is a file that can be read: a pipe would keep us waiting."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
    finally:
        os.close(descriptor)


def _is_locked(file: Path) -> bool:
    """Whether another process has SQLite's lock on the file, which one that has it open has."""
    if sys.platform != "linux":
        return True
    import fcntl

    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
        (kind, *_) = struct.unpack(_LOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return False  # a file system without locks: SQLite could not share it either
    finally:
        os.close(descriptor)
    return bool(kind != fcntl.F_UNLCK)


_LOCK = "hhqqi4x"
"""Linux's ``struct flock``: type, whence, start, length, pid."""


def _check_descriptors() -> None:
    """Raise ``TraceError`` if no file can be opened: SQLite does not tell why it could not."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in _OUT_OF_DESCRIPTORS:
            raise _too_many_files(error) from error


def _too_many_files(error: OSError) -> TraceError:
    return TraceError(
        f"no other file can be opened ({error.strerror}): raise the limit (ulimit -n 256), or name "
        "a process with --pid"
    )


def _pid(file: Path) -> int | None:
    number = file.stem.partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() and len(number) < 20 else None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _uri(file: Path, how: str) -> str:
    return f"{file.absolute().as_uri()}?{how}"
