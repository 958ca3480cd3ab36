"""Reads a trace: a directory of SQLite files, one per process, into one model.

``open_trace`` has all of it in memory. ``stream_trace`` hands out one checkout after the other, for
traces that are larger. Operations and stages are unpacked when they are looked at.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from poolhog.errors import TraceError
from poolhog.layout import OLDEST_SCHEMA_VERSION, SCHEMA_VERSION
from poolhog.model import Trace
from poolhog.trace.files import ProcessFile, UnreadableError, readable
from poolhog.trace.following import OpenCheckouts
from poolhog.trace.missing import UnwrittenError, missing_of, unwritten
from poolhog.trace.schema import check_meta, check_schema, check_table
from poolhog.trace.snapshot import Snapshot, meta_of, name_of, pools_of, process_of
from poolhog.trace.unpacking import SharedSites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Checkout, Request, Unreadable
    from poolhog.trace.snapshot import Values
    from poolhog.trace.tables import Columns
    from poolhog.trace.unpacking import Unpacker

__all__ = [
    "ProcessReader",
    "UnreadableError",
    "find_processes",
    "open_trace",
    "read_each",
    "stream_trace",
]

T = TypeVar("T")
U = TypeVar("U")


def open_trace(directory: str | os.PathLike[str]) -> Trace:
    """Read all that was recorded in ``directory``, also while it is being recorded.

    What is damaged or too new is left out, and named in the trace's ``unreadable``. Raises
    :class:`poolhog.TraceError` if there is no trace, or nothing of it can be read.
    """
    readers, unreadable = find_processes(directory)
    parts, broken = read_each(readers, ProcessReader.read_checked)
    return Trace(
        processes=tuple(process for part in parts for process in part.processes),
        pools=tuple(pool for part in parts for pool in part.pools),
        requests=tuple(
            sorted((r for part in parts for r in part.requests), key=lambda r: r.started)
        ),
        checkouts=tuple(
            sorted((c for part in parts for c in part.checkouts), key=lambda c: c.asked)
        ),
        until=max(part.until for part in parts),
        unreadable=unreadable + broken,
        clock_origin_ns=readers[0].origin_ns,
    )


def stream_trace(directory: str | os.PathLike[str]) -> tuple[ProcessReader, ...]:
    """A reader for each process that was recorded in ``directory``, whose rows are not checked yet.

    Raises :class:`poolhog.TraceError` as ``open_trace`` does, here or while it is read.
    """
    return find_processes(directory)[0]


def find_processes(
    directory: str | os.PathLike[str],
) -> tuple[tuple[ProcessReader, ...], tuple[Unreadable, ...]]:
    """A reader for each process that was recorded in ``directory``, and what cannot be read.

    Their rows have not been checked: :meth:`ProcessReader.check` does. Raises
    :class:`poolhog.TraceError` if there is none.
    """
    files = sorted(Path(directory).glob("*.sqlite")) if Path(directory).is_dir() else []
    gone = _without_file(Path(directory))
    gone += [UnwrittenError(*one) for one in unwritten(Path(directory))]
    if not files and not gone:
        raise TraceError(f"no trace in {directory}: name a directory that a run was recorded into")
    opened = [ProcessFile(file) for file in files]
    began, broken = _each(opened, _began_ns)
    known = [(file, began_ns) for file, began_ns in zip(opened, began, strict=True) if began_ns]
    sites = SharedSites()
    origin = min((began_ns for _, began_ns in known), default=0)
    made, damaged = _each([file for file, _ in known], lambda f: ProcessReader(f, origin, sites))
    readers = tuple(reader for reader in made if reader is not None)
    errors = [*gone, *broken, *damaged]
    if not readers:
        raise _nothing(directory, errors)
    cut = [file.log_damage for file in opened if file.log_damage is not None]
    return readers, (*(error.unreadable for error in errors), *cut)


def read_each(
    readers: Iterable[ProcessReader], read: Callable[[ProcessReader], T]
) -> tuple[list[T], tuple[Unreadable, ...]]:
    """What is read of each process, and the files of which nothing is, as they are damaged.

    Raises :class:`poolhog.TraceError` if all of them are.
    """
    found, errors = _each(readers, read)
    parts = [part for part in found if part is not None]
    if not parts:
        raise errors[0]
    return parts, tuple(error.unreadable for error in errors)


def _each(
    items: Iterable[U], read: Callable[[U], T]
) -> tuple[list[T | None], list[UnreadableError]]:
    """What is read of each, ``None`` where that fails, and why it did."""
    found: list[T | None] = []
    errors: list[UnreadableError] = []
    for item in items:
        try:
            found.append(read(item))
        except UnreadableError as error:
            found.append(None)
            errors.append(error)
    return found, errors


def _nothing(directory: str | os.PathLike[str], errors: Sequence[UnreadableError]) -> TraceError:
    """That no file can be read."""
    told = [error for error in errors if error.unreadable.reason != EMPTY]
    if not told:
        return TraceError(f"the trace in {directory} {EMPTY}; copy both, or record again")
    if len(errors) == 1:
        return told[0]
    others = len(errors) - 1
    noun = "file" if others == 1 else "files"
    return TraceError(f"{told[0]}; {others} other {noun} cannot be read either")


EMPTY = (
    "is empty: its process ended before it recorded, or the file was copied without the -wal file "
    "beside it"
)
"""What is said of a file in which nothing is."""


def _without_file(directory: Path) -> list[UnreadableError]:
    """The logs in a directory whose files are not there."""
    logs = sorted(directory.glob("*.sqlite-wal")) if directory.is_dir() else []
    files = [log.with_name(log.name.removesuffix("-wal")) for log in logs]
    return [
        UnreadableError(file, "is missing: only its log is there; copy both")
        for file in files
        if not os.path.lexists(file)
    ]


def _began_ns(file: ProcessFile) -> int:
    """When the process was first recorded."""
    with file.reading() as database:
        if not check_table(database, "meta"):
            missing = missing_of(file.file)
            if missing is not None:
                raise UnwrittenError(file.file, missing)
            raise UnreadableError(file.file, EMPTY)
        meta = meta_of(database)
        version = int(meta["schema_version"])
        began_ns = int(meta["monotonic_ns"])
        if not OLDEST_SCHEMA_VERSION <= version <= SCHEMA_VERSION:
            raise UnreadableError(file.file, _foreign(meta, version))
        check_schema(database, version)
        check_meta(meta)
    return began_ns


def _foreign(meta: Mapping[str, str], version: int) -> str:
    """What is said of a file of another poolhog's."""
    writer = meta.get("poolhog_version", "unknown")
    is_older = version < OLDEST_SCHEMA_VERSION
    return (
        f"was written by {'an older' if is_older else 'a newer'} poolhog ({writer}): it has schema "
        f"{version}, this one reads {SCHEMA_VERSION}; "
        f"{'record again' if is_older else 'upgrade poolhog'}"
    )


class ProcessReader:
    """Reads one process's file, ``file``, onto the run's clock."""

    def __init__(self, file: ProcessFile, origin_ns: int, sites: SharedSites) -> None:
        self.origin_ns = origin_ns
        self.file = file.file
        self._file = file
        self._sites = sites
        self._held: Snapshot | None = None
        self._open = OpenCheckouts()
        self._columns: Columns | None = None
        missing = missing_of(file.file)
        with file.reading() as database:
            self.process = process_of(meta_of(database), origin_ns, missing)
            self.pools = tuple(pools_of(database, self.file, self.process).values())

    @property
    def name(self) -> str:
        """What the ids of what is in the file begin with."""
        return name_of(self.file)

    @property
    def uri(self) -> str:
        """What SQLite opens to read the file."""
        return self._file.uri

    @property
    def is_shared(self) -> bool:
        """Whether a process has the file open, such as the one that records into it."""
        return self._file.is_shared

    def check(self) -> None:
        """Read all of the file, and raise :class:`poolhog.TraceError` if it is damaged."""
        with self.snapshot() as snapshot:
            columns = snapshot.check()
        if not self.is_shared:
            self._columns = columns

    def forget(self) -> None:
        """Let go of the columns that a check has read: whoever needs them again reads them."""
        self._columns = None

    @contextmanager
    def frozen(self, *, by_copy: bool = False) -> Iterator[None]:
        """Meanwhile, all that is read is of one moment, however often and long it is read.

        The file of a process that goes on is held open for that, or copied.
        """
        if by_copy and self.is_shared:
            with readable(self.file):
                self._file.copy_now()
        is_shared = self.is_shared
        with self.snapshot() as snapshot:
            self.process = snapshot.process
            self.pools = tuple(snapshot.pools.values())
            if is_shared:
                self._held = snapshot
                try:
                    yield
                finally:
                    self._held = None
        if not is_shared:
            yield

    @contextmanager
    def snapshot(self, unpack: Unpacker | None = None) -> Iterator[Snapshot]:
        """The file as it is now; the process may go on meanwhile.

        What an earlier one has unpacked is not read again, if that is given.
        """
        if self._held is not None:
            yield self._held
            return
        with ExitStack() as stack:
            with readable(self.file):
                database = stack.enter_context(closing(self._file.open()))
                known = self._sites, self._columns, unpack
                found = Snapshot(database, self.file, self.origin_ns, *known)
            yield found

    def read_checked(self) -> Trace:
        """The process's part of the trace, all of it, unless it is damaged."""
        self.check()
        return self.read()

    def read(self) -> Trace:
        """The process's part of the trace, all of it."""
        with self.snapshot() as snapshot:
            self.process = snapshot.process
            requests = snapshot.requests()
            checkouts = tuple(snapshot.checkouts(requests=requests))
            return self._trace(snapshot, requests.values(), checkouts)

    def read_open(self) -> Trace:
        """What was going on when the process last wrote: what waits or is open, and its requests.

        Takes as long as looking for these in its file, however much is in it; doing so again takes
        as long as there is something new.
        """
        with self.snapshot(self._open.unpack) as snapshot:
            self.process = snapshot.process
            checkouts = self._open.read(snapshot)
            requests = {c.request.id: c.request for c in checkouts if c.request is not None}
            return self._trace(snapshot, requests.values(), checkouts)

    def checkouts(self) -> Iterator[Checkout]:
        """The process's checkouts in the order of their asking."""
        return self.select("")

    def select(self, which: str, values: Values = ()) -> Iterator[Checkout]:
        """The checkouts that a WHERE on ``packed_checkouts`` picks, in order of their asking."""
        with self.snapshot() as snapshot:
            yield from snapshot.checkouts(which, values)

    def numbered(self, numbers: Iterable[int]) -> Iterator[Checkout]:
        """The checkouts with these numbers, in order of their asking."""
        with self.snapshot() as snapshot:
            yield from snapshot.numbered(numbers)

    def select_requests(self, which: str, values: Values = ()) -> Iterator[Request]:
        """The requests that a WHERE on ``packed_requests`` picks, in order of their start."""
        with self.snapshot() as snapshot:
            yield from snapshot.each_request(which, values)

    def query(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """The answer of the process's file to a question in SQL."""
        if self._held is not None:
            return self._held.query(sql, values)
        with self._file.reading() as database:
            return database.execute(sql, values).fetchall()

    def request_counts(self) -> dict[str, int]:
        """How many requests of each name were recorded, with a checkout or without."""
        with self.snapshot() as snapshot:
            return snapshot.request_counts()

    def _trace(
        self, snapshot: Snapshot, requests: Iterable[Request], checkouts: tuple[Checkout, ...]
    ) -> Trace:
        return Trace(
            processes=(snapshot.process,),
            pools=tuple(snapshot.pools.values()),
            requests=tuple(requests),
            checkouts=checkouts,
            until=snapshot.process.written,
            clock_origin_ns=self.origin_ns,
        )
