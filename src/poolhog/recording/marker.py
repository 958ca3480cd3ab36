"""The marker of a process: a small file beside its trace that says how much could not be written.

A recorder that cannot write cannot say so in its file either. So the marker is made before the
file, while there is room, and is overwritten in place with a line of the same length, which needs
no more room. Where even its first line does not fit, it stays empty: that tells as well.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from poolhog.recording.attach.directory import make_private
from poolhog.recording.records import CheckoutRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from poolhog.recording.record import Record

LINE = "poolhog-missing 1 checkouts={:010} facts={:010} at_ns={:020} reason={:<32}\n"
"""What a marker holds: documented in ``docs/trace-format.md``, and read by ``poolhog.trace``."""

_MOST = 10**10 - 1
_MOST_REASON = 32
_UNSPEAKABLE = re.compile(r"[^A-Za-z0-9_ /]")

_WORDS: dict[int | str, str] = {
    **dict.fromkeys((sqlite3.SQLITE_FULL, errno.errorcode[errno.ENOSPC]), "disk full"),
    sqlite3.SQLITE_IOERR: "I/O error",
    sqlite3.SQLITE_READONLY: "read only",
    sqlite3.SQLITE_CANTOPEN: "cannot open the file",
    sqlite3.SQLITE_NOMEM: "out of memory",
    errno.errorcode[errno.EDQUOT]: "disk quota exceeded",
    errno.errorcode[errno.EFBIG]: "file too large",
}


class MissingCounts(NamedTuple):
    """How many checkouts, and how many other facts, are not in the file of a process."""

    checkouts: int = 0
    facts: int = 0


class Tally:
    """Counts the checkouts among records to which more are added at the end; each is seen once.

    The records are of another sequence after ``forget``.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._checkouts = 0

    def forget(self) -> None:
        """Begin anew."""
        self._seen = self._checkouts = 0

    def count(self, records: Sequence[Record]) -> MissingCounts:
        """How many checkouts there are by now, and how many others."""
        new = records[self._seen :]
        self._seen += len(new)
        self._checkouts += sum(type(record) is CheckoutRecord for record in new)
        return MissingCounts(self._checkouts, self._seen - self._checkouts)


class Marker:
    """The marker at ``path``, whose process records into ``file``.

    ``is_telling`` says that it may hold something else than that nothing is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.with_suffix(".sqlite")
        self.is_telling = False

    def make(self) -> None:
        """Make it, with its line, for its owner only; it may stay empty, or not be made.

        Raises ``FileExistsError`` if there is one.
        """
        try:
            made = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            raise
        except OSError:  # the file cannot be made either, and that will be told
            return
        # Without its line it says that there was no room, until it is written in the end.
        self.is_telling = True
        try:
            self.is_telling = not _put(made, MissingCounts(), "", is_lasting=True)
        finally:
            os.close(made)

    def tell(self, missing: MissingCounts, reason: str) -> None:
        """Say how much is missing now, and why; a marker that somebody deleted is made again."""
        self._write(missing, reason)
        self.is_telling = True

    def clear(self) -> None:
        """Say that nothing is missing any more."""
        self.is_telling = not self._write(MissingCounts(), "")

    def remove(self) -> None:
        """Take it away: everything was written."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, missing: MissingCounts, reason: str) -> bool:
        try:
            try:
                opened = self._open()
            except FileNotFoundError:
                self.make()
                opened = self._open()
        except OSError:
            return False
        try:
            return _put(opened, missing, reason)
        finally:
            os.close(opened)

    def _open(self) -> int:
        # Anew each time: an application that closes all files would have ours written into its own.
        return os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)


def new_marker(directory: Path) -> Marker:
    """The marker of a new file of this process in the directory, which is made if it is missing.

    A process that reuses a pid reuses neither marker nor file.
    """
    make_private(directory)
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        marker = Marker(directory / f"{os.getpid()}{suffix}.missing")
        if marker.file.exists():
            continue
        try:
            marker.make()
        except FileExistsError:
            continue
        return marker
    raise FileExistsError(f"no free name for a trace of process {os.getpid()} in {directory}")


def reason_of(error: BaseException) -> str:
    """Why something was not written, in a few words that tell nothing of the application."""
    told = type(error).__name__
    if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorcode"):
        told = _WORDS.get(error.sqlite_errorcode & 0xFF, error.sqlite_errorname)
    elif isinstance(error, OSError) and error.errno is not None:
        name = errno.errorcode.get(error.errno, f"errno {error.errno}")
        told = _WORDS.get(name, name)
    return _UNSPEAKABLE.sub("_", told)[:_MOST_REASON]


def _put(opened: int, missing: MissingCounts, reason: str, *, is_lasting: bool = False) -> bool:
    """Write the line, and have room for it on disk; if that fails, leave nothing that is wrong."""
    counts = (min(number, _MOST) for number in missing)
    line = LINE.format(*counts, time.monotonic_ns(), reason).encode()
    try:
        if os.pwrite(opened, line, 0) == len(line):
            if is_lasting:
                os.fsync(opened)
            return True
    except OSError:
        pass
    with suppress(OSError):
        os.ftruncate(opened, 0)
    return False
