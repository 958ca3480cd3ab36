"""The file of one process: how it is opened, also where nothing can be written beside it.

SQLite keeps an index of the log beside the file, and makes it when there is none. It cannot on a
read-only medium, in somebody else's directory, or on a network share without root. There a file
without a log is opened as one that nobody changes. One whose log has something in it, which is what
a process leaves behind that was killed, is copied with its log, or the end of it would be missing.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from poolhog.errors import TraceError
from poolhog.model import Unreadable
from poolhog.texts import visible
from poolhog.trace.sql_texts import teach

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_COPIES = 5
_REFUSALS = frozenset(
    [
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR),
    ]
)
"""What SQLite says where it may not write."""


class UnreadableError(TraceError):
    """One file of a trace cannot be read; the others may be."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.file = file
        self.unreadable = Unreadable(visible(str(file)), visible(reason))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Whatever is wrong with the file becomes an :class:`UnreadableError`."""
    try:
        yield
    except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
        reason = f"is damaged or no poolhog trace ({error}); record again"
        raise UnreadableError(file, reason) from error
    except OSError as error:
        raise UnreadableError(file, f"cannot be read ({error.strerror or error})") from error


class ProcessFile:
    """A process's file, which is read and never changed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._uri: str | None = None
        self._copy: TemporaryDirectory[str] | None = None

    @property
    def uri(self) -> str:
        """What SQLite opens to read it; found out once, and then good as long as this object is."""
        if self._uri is None:
            self._uri = self._find()
        return self._uri

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The open file; what is wrong with it becomes an :class:`UnreadableError`."""
        with readable(self.file), closing(self.open()) as database:
            yield database

    def open(self) -> sqlite3.Connection:
        """The file, to be closed by the caller."""
        database = sqlite3.connect(self.uri, uri=True)
        teach(database)
        return database

    def _find(self) -> str:
        # Not "mode=ro": reading a crashed process's log needs its index to be rebuilt.
        uri = _uri(self.file, "mode=rw")
        try:
            _look(uri)
        except sqlite3.Error as error:
            if _code(error) not in _REFUSALS or not self.file.is_file():
                raise
            return self._without_writing()
        return uri

    def _without_writing(self) -> str:
        with self.file.open("rb"):
            pass  # raises what SQLite would not tell
        if not _size(_log(self.file)):
            return _uri(self.file, "mode=ro&immutable=1")
        self._copy = TemporaryDirectory(prefix="poolhog-")
        return _uri(_copied(self.file, Path(self._copy.name)), "mode=rw")


def _look(uri: str) -> None:
    with closing(sqlite3.connect(uri, uri=True)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchall()


def _copied(file: Path, directory: Path) -> Path:
    """A copy of the file and its log, of one moment: the process may be writing them."""
    copy = directory / file.name
    for _ in range(_MOST_COPIES):
        before = _stamps(file)
        shutil.copyfile(file, copy)
        shutil.copyfile(_log(file), _log(copy))
        if _stamps(file) == before:
            break
    return copy


def _stamps(file: Path) -> list[tuple[int, int]]:
    return [(stat.st_size, stat.st_mtime_ns) for stat in (file.stat(), _log(file).stat())]


def _log(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _uri(file: Path, how: str) -> str:
    return f"{file.absolute().as_uri()}?{how}"


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code of the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
