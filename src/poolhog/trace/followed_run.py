"""A run that is read again and again while it is recorded, at the cost of what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.errors import PoolhogError
from poolhog.trace.files import UnreadableError
from poolhog.trace.missing import SUFFIX
from poolhog.trace.reader import find_processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poolhog.model import Trace, Unreadable
    from poolhog.trace.reader import ProcessReader

    Stamp = tuple[tuple[int, int, int], ...]
    """Inode, size and time of change of a file, its log and its marker; zeros without one."""


class FollowedRun:
    """A run in a directory, or one process of it. Processes may join it meanwhile."""

    def __init__(self, directory: Path, pid: int | None = None) -> None:
        self._directory = directory
        self._pid = pid
        self._stamps: dict[Path, Stamp] = {}
        self._processes: dict[Path, _FollowedProcess] = {}
        self._unreadable: tuple[Unreadable, ...] = ()

    @property
    def readers(self) -> tuple[ProcessReader, ...]:
        """The processes that were read last."""
        return tuple(process.reader for process in self._processes.values())

    def read_open(self) -> tuple[list[Trace], tuple[Unreadable, ...]]:
        """What is open in each process now, and the files that cannot be read.

        Each part is of one process. Raises :class:`poolhog.TraceError` if there is no trace, or
        nothing of it can be read, and :class:`PoolhogError` if there is no such process.
        """
        stamps = {file: _stamp(file) for file in self._directory.glob("*.sqlite")}
        if self._is_news(stamps):
            self._find(stamps)
        self._stamps = stamps
        found: list[Trace] = []
        errors: list[UnreadableError] = []
        for file, process in self._processes.items():
            try:
                found.append(process.read_open(stamps.get(file)))
            except UnreadableError as error:
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found, (*self._unreadable, *(error.unreadable for error in errors))

    def _is_news(self, stamps: Mapping[Path, Stamp]) -> bool:
        """Whether files came, went or were replaced, or one that could not be read changed."""
        if not self._processes or _inodes(stamps) != _inodes(self._stamps):
            return True
        return any(
            stamp != self._stamps[file]
            for file, stamp in stamps.items()
            if file not in self._processes and self._pid is None
        )

    def _find(self, stamps: Mapping[Path, Stamp]) -> None:
        before, known = _inodes(self._stamps), self._processes
        readers, self._unreadable = find_processes(self._directory)
        wanted = [one for one in readers if self._pid in (None, one.process.pid)]
        if not wanted:
            raise PoolhogError(f"no process {self._pid} in {self._directory}")
        inodes = _inodes(stamps)
        self._processes = {
            one.file: known[one.file]
            if one.file in known and before.get(one.file) == inodes.get(one.file)
            else _FollowedProcess(one)
            for one in wanted
        }


class _FollowedProcess:
    def __init__(self, reader: ProcessReader) -> None:
        self.reader = reader
        self._read: tuple[Stamp | None, Trace] | None = None

    def read_open(self, stamp: Stamp | None) -> Trace:
        """What is open; a file with the same stamp is not read again."""
        if self._read is None or stamp is None or self._read[0] != stamp:
            self._read = stamp, self.reader.read_open()
        return self._read[1]


def _inodes(stamps: Mapping[Path, Stamp]) -> dict[Path, int]:
    return {file: stamp[0][0] for file, stamp in stamps.items()}


def _stamp(file: Path) -> Stamp:
    beside = file, file.with_name(f"{file.name}-wal"), file.with_suffix(SUFFIX)
    return tuple(map(_stamp_of, beside))


def _stamp_of(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
