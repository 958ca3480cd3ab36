"""The writer: a thread that puts records into a SQLite file, ten times a second.

The file is in WAL mode: what was committed survives a kill -9 of the process, and can be read
while the process runs. What happened after the last commit is lost with the process, which is
fine: it is a tenth of a second.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from importlib import metadata
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.checksum import KEY, MODULUS, row_checksum
from poolhog.recording.arguments import kept_arguments
from poolhog.recording.attach.directory import make_private
from poolhog.recording.descriptors import OF_FILE, TAKEN
from poolhog.recording.marker import Missing, Tally, new_marker, reason_of
from poolhog.recording.records import MOST_IN_ROW, CheckoutRecord, bytes_of
from poolhog.recording.sql import kept_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from poolhog.recording.marker import Marker
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import OperationRecord, PoolRecord, Record, Row, SiteRecord

SCHEMA_VERSION = 2
COMMIT_INTERVAL_S = 0.1
HEARTBEAT_NS = 500_000_000
"""What is silent for twice as long does not run, or cannot write: a dump says so."""

MOST_SHARE_IN_VAIN = 0.05
"""The writer's share of a core at the most while nothing can be written: it tries less often."""

MOST_TEXTS = 20_000
"""Distinct texts, and statements, whose number is remembered; an application that puts values into
its SQL makes a new text for each."""

MOST_CHARACTERS = 10_000_000
"""The characters of the texts that are remembered, and of the statements."""

TEXTS_AT_ONCE = 400
"""Texts of a query, of which an older SQLite takes no more than twice as many values."""

RECORDS_AT_ONCE = 1_000
"""Records of a transaction."""

LOCKED_S = 0.1
"""How long the writer waits for a file that somebody has locked; then it tries again later. At the
end it may wait so long three times: to write what is left, to say so, and to fold the log."""

ROWS_AT_ONCE = (64, 8, 1)
"""Rows of a statement. SQLite lets go of the interpreter for each, and under load the writer waits
5 ms to have it back: row by row, it could not keep up, and would disturb the application."""

_LAST = -100
_SCHEMA = Path(__file__).parent.parent / "trace" / "schema.sql"
_WATCHED = (
    *("sqlalchemy", "asyncpg", "psycopg", "psycopg_pool", "psycopg2", "aiosqlite"),
    *("fastapi", "starlette", "litestar", "uvicorn", "gunicorn", "celery", "pytest"),
)


class Writer(threading.Thread):
    """Writes a recorder's queue until it is stopped.

    A failed commit is counted, and its records are tried again with the next: nothing is lost
    until the recorder's buffer is full. Meanwhile a marker beside the file says how much is not in
    it, and it stays if the process ends so.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(name="poolhog-writer", daemon=True)
        self._recorder = recorder
        self._wake = threading.Event()
        self._stopping = False
        self._settling: threading.Event | None = None
        self._pending: list[Record] = []
        # The first ones are in the file as they once were; the others were never written.
        self._known = 0
        self._pending_tally, self._queue_tally = Tally(), Tally()
        self._file: TraceFile | None = None
        self._marker: Marker | None = None
        self._committed_ns = 0
        self._failed = False
        self._reason = ""

    def start(self) -> None:
        """Start writing, until the process ends."""
        super().start()
        atexit.register(self.stop)
        # Children that multiprocessing forks end without an exit hook, but with its finalizers.
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.Finalize(None, self.stop, exitpriority=_LAST)

    def run(self) -> None:
        """Commit at every tick; once more at the end."""
        pause_s = COMMIT_INTERVAL_S
        while not self._stopping:
            self._pause(pause_s)
            began = time.thread_time()
            self._tick()
            spent_s = time.thread_time() - began
            # What waits to be written becomes more and more, and is put into rows at every attempt.
            in_vain_s = spent_s / MOST_SHARE_IN_VAIN if self._failed else 0.0
            pause_s = max(COMMIT_INTERVAL_S, in_vain_s)
            if self._settling is not None:
                self._finish()
                self._settling.set()
                self._settling = None
        # The process may not wait for the last attempt to its end.
        self._tell_missing()
        self._tick()
        self._finish()
        if self._file is not None:
            self._file.abandon()
        if self._marker is not None and not self._failed:
            self._marker.remove()
        self._recorder.descriptors.give_back()

    def stop(self) -> None:
        """Write what is left, and wait until it is on disk (5 seconds at the most)."""
        atexit.unregister(self.stop)
        self._stopping = True
        self._wake.set()
        self.join(timeout=5)

    def disown(self) -> None:
        """Have the end of this process, a forked child, not wait for the parent's writer."""
        # The parent may have held the lock of the event that wakes it, which none lets go of here.
        atexit.unregister(self.stop)

    def settle(self) -> None:
        """Have everything on disk, and the file say so (within a second at the most)."""
        settled = self._settling = threading.Event()
        self._wake.set()
        settled.wait(timeout=1)

    def _finish(self) -> None:
        # What could not be written is missing, although there may be room to say the contrary.
        if self._file is not None and not self._failed:
            self._file.finish(self._recorder)

    def _pause(self, seconds: float) -> None:
        """Wait, or be woken; however long that is, what is missing is told at every tick."""
        until = time.monotonic() + seconds
        while not self._wake.wait(min(seconds, COMMIT_INTERVAL_S)):
            seconds = until - time.monotonic()
            if seconds <= 0:
                break
            self._tell_missing()
        self._wake.clear()

    def _tick(self) -> None:
        taken = self._recorder.taken
        self._recorder.descriptors.hold()
        self._drain()
        if not self._pending and not self._silent_too_long():
            return
        try:
            self._write(self._writable())
            self._recorder.free(taken, bytes_of(self._pending))
            self._committed_ns = time.monotonic_ns()
            self._failed = False
        except Exception as error:  # a full disk or a lost folder must not end the thread
            self._failed = True
            self._reason = reason_of(error)
            self._recorder.failed()
        self._tell_missing()

    def _tell_missing(self) -> None:
        """Have the marker say what is not in the file; it has nothing to say while all is well."""
        marker = self._marker
        if marker is None:
            return
        try:
            if self._failed or marker.is_telling:
                with self._recorder.descriptors.lent():
                    if self._failed:
                        marker.tell(self._missing(), self._reason)
                    else:
                        marker.clear()
        except Exception:  # the next tick tries again
            self._recorder.failed()

    def _missing(self) -> Missing:
        recorder, known = self._recorder, self._known
        pending = self._pending_tally.count(self._pending[known:])
        # Copied in one step of the interpreter: the application adds to it meanwhile.
        queued = self._queue_tally.count([*recorder.queue])
        changed = sum(record.done for record in islice(self._pending, known))
        dropped = recorder.dropped - recorder.dropped_checkouts
        return Missing(
            pending.checkouts + queued.checkouts + recorder.dropped_checkouts,
            pending.facts + queued.facts + changed + dropped,
        )

    def _knows(self, number: int) -> None:
        """So many of what is pending are in the file, as they once were: the first ones."""
        self._known = number
        self._pending_tally.forget()

    def _write(self, file: TraceFile) -> None:
        """Commit what is pending, some at a time: an attempt in vain costs no more than these."""
        unfinished: list[Record] = []
        written = 0
        try:
            while True:
                some = self._pending[:RECORDS_AT_ONCE]
                unfinished += file.write(some, self._recorder)
                del self._pending[:RECORDS_AT_ONCE]
                written += len(some)
                if not self._pending:
                    break
        finally:
            self._pending[:0] = unfinished
            if written:
                self._knows(len(unfinished) + max(self._known - written, 0))

    def _writable(self) -> TraceFile:
        """The file, or a new one if there is none or somebody deleted it."""
        if self._file is not None:
            if self._file.exists():
                return self._file
            self._file.abandon()
            self._file = None
            raise FileNotFoundError(
                "the trace was deleted while it was written: beginning a new one"
            )
        self._file = TraceFile(self._recorder, self._new_file())
        # Whatever is unfinished goes on in the new file.
        self._pending = list(dict.fromkeys([*self._recorder.learned, *self._pending]))
        self._knows(0)
        for record in self._pending:
            record.written = None
            record.checksum = 0
        return self._file

    def _new_file(self) -> Path:
        """Where a new file goes; its marker is made before, so that there is room for that."""
        if self._marker is not None and not self._marker.file.exists():
            # There was no room for the file, or somebody deleted it.
            make_private(self._recorder.directory)
            with contextlib.suppress(FileExistsError):
                self._marker.make()
            return self._marker.file
        if self._marker is not None:
            self._marker.remove()
        with self._recorder.descriptors.lent():
            self._marker = new_marker(self._recorder.directory)
        return self._marker.file

    def _silent_too_long(self) -> bool:
        """Whether to commit although nothing happened, so that a reader sees the process alive."""
        silent_ns = time.monotonic_ns() - self._committed_ns
        return self._file is not None and silent_ns >= HEARTBEAT_NS

    def _drain(self) -> None:
        queue = self._recorder.queue
        if queue:
            self._queue_tally.forget()
        self._pending.extend(queue.popleft() for _ in range(len(queue)))


class _Rows(dict[str, int]):
    """The rows of texts, as many as may be remembered."""

    def __init__(self) -> None:
        self._characters = 0

    def remember(self, text: str, number: int) -> None:
        """The text has the row of this number."""
        self._characters += len(text)
        if len(self) >= MOST_TEXTS or self._characters > MOST_CHARACTERS:
            self.forget()
            self._characters = len(text)
        self[text] = number

    def forget(self) -> None:
        """Nothing is known any more."""
        self.clear()
        self._characters = 0


class _Numbers(_Rows):
    """The rows of texts; a new one is written when it is looked up, in the open transaction.

    ``checksum`` is the sum of the new ones' since it was last made 0.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        super().__init__()
        self._database = database
        self.checksum = 0

    def learn(self, texts: Iterable[str]) -> None:
        """Look up many at once: for each query, the interpreter may have to be waited for."""
        new = list({_encodable(text) for text in texts if text not in self})
        for first in range(0, len(new), TEXTS_AT_ONCE):
            some = new[first : first + TEXTS_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT text, id FROM texts WHERE text IN ({marks})"  # noqa: S608 - only marks
            known = dict(self._database.execute(query, some).fetchall())
            added = self._add([text for text in some if text not in known])
            for text, number in chain(known.items(), added):
                self.remember(text, number)

    def _add(self, texts: list[str]) -> list[tuple[str, int]]:
        """Write rows of texts that have none."""
        if not texts:
            return []
        query = "SELECT coalesce(max(id), 0) FROM texts"
        ((last,),) = self._database.execute(query).fetchall()
        added = list(zip(texts, count(last + 1), strict=False))
        rows = ",".join(["(?,?)"] * len(added))
        insert = f"INSERT INTO texts (text, id) VALUES {rows}"  # noqa: S608 - only marks
        self._database.execute(insert, list(chain.from_iterable(added)))
        self.checksum += sum(row_checksum((number, text)) for text, number in added)
        return added

    def __missing__(self, text: str) -> int:
        kept = _encodable(text)
        self.learn([kept])
        number = self[kept]
        if kept != text:
            self.remember(text, number)
        return number


class _Statements(_Rows):
    """The rows of statements of a dialect, by their text as it was sent.

    It is kept without its literals, which depend on the dialect.
    """

    def __init__(self, numbers: _Numbers, dialect: str | None) -> None:
        super().__init__()
        self._numbers = numbers
        self._dialect = dialect

    def learn(self, statements: Iterable[str]) -> None:
        """Look up many at once."""
        new = {sql: kept_of(sql, self._dialect) for sql in statements if sql not in self}
        self._numbers.learn(new.values())
        for sql, kept in new.items():
            self.remember(sql, self._numbers[kept])

    def __missing__(self, sql: str) -> int:
        number = self._numbers[kept_of(sql, self._dialect)]
        self.remember(sql, number)
        return number


class _Dialects(dict[str | None, _Statements]):
    """The rows of statements by their dialect."""

    def __init__(self, numbers: _Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, dialect: str | None) -> _Statements:
        statements = self[dialect] = _Statements(self._numbers, dialect)
        return statements


class TraceFile:
    """One process's SQLite file in a trace directory, at a path where there is none yet."""

    def __init__(self, recorder: Recorder, path: Path) -> None:
        self.began_ns = recorder.began_ns
        self._has_source = recorder.options.source
        self._descriptors = recorder.descriptors
        self._path = path
        # Of what was committed: the sum of all rows but those of meta, and these.
        self._checksum = 0
        self._meta: dict[str, str] = {}
        with self._descriptors.lent():
            schema = _SCHEMA.read_text(encoding="utf-8")
            description = _description(recorder)
        with self._descriptors.lent(TAKEN):
            # A file that only its owner can read.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(
                path, timeout=LOCKED_S, check_same_thread=False, isolation_level=None
            )
            self.numbers = _Numbers(self._database)
            self.statements = _Dialects(self.numbers)
            try:
                self._describe(schema, description)
                self._descriptors.of_files = OF_FILE
            except BaseException:
                # The next attempt makes another: a full disk must not be littered with empty ones.
                self.abandon()
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                raise

    def source_of(self, site: SiteRecord) -> str:
        """The text of a site's line, if it is wanted."""
        if not self._has_source:
            return ""
        with self._descriptors.lent():
            return site.source

    def learn(self, operations: Iterable[OperationRecord]) -> None:
        """Look up the statements of many operations at once."""
        sent: dict[str | None, set[str]] = {}
        for operation in operations:
            if operation.statement is not None:
                dialect = operation.checkout.pool.dialect
                sent.setdefault(dialect, set()).add(operation.statement)
        for dialect, statements in sent.items():
            self.statements[dialect].learn(statements)

    def write(self, records: Collection[Record], recorder: Recorder) -> list[Record]:
        """Commit the rows that are new or changed, or none; returns the records that may change.

        A pool is written with the first checkout that names it.
        """
        rows: dict[str, list[Row]] = {}
        changed: dict[Record, tuple[Row, int]] = {}
        unfinished = []
        parted = []
        pools: dict[int, PoolRecord] = {}
        checksum = self._checksum
        self.numbers.checksum = 0
        # If somebody has locked the file, this fails before all is put into rows.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self.learn(_latest_operations(records))
            for record in records:
                # Asked before the row is taken: what is done by now does not change any more.
                if not record.done:
                    unfinished.append(record)
                if isinstance(record, CheckoutRecord):
                    if record.pool.file is not self:
                        pools[record.pool.id] = record.pool
                    if len(record.operations) > MOST_IN_ROW:
                        earlier = record.earlier_rows(self)
                        rows.setdefault("packed_operations", []).extend(earlier)
                        checksum += sum(map(row_checksum, earlier))
                        parted.append(record)
                row, row_sum = self._row(record, recorder)
                # A site may come twice when a file is begun.
                written, written_sum = changed.get(record, (record.written, record.checksum))
                if row is not None and row != written:
                    rows.setdefault(record.table, []).append(row)
                    changed[record] = row, row_sum
                    checksum += row_sum - written_sum
            for pool in pools.values():
                row, row_sum = _with_checksum(pool.row(self))
                rows.setdefault(pool.table, []).append(row)
                checksum += row_sum
            for table, new in rows.items():
                self._replace(table, new)
            checksum += self.numbers.checksum
            told = {**_progress(recorder), **({"finished": "0"} if changed else {})}
            meta = self._tell(told, checksum)
            self._database.execute("COMMIT")
        except BaseException:
            self._forget_texts()
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._checksum, self._meta = checksum, meta
        for record, (row, row_sum) in changed.items():
            record.written, record.checksum = row, row_sum
        for checkout in parted:
            checkout.forget()
        for pool in pools.values():
            pool.file = self
        return unfinished

    def exists(self) -> bool:
        """Whether the file still has its name; SQLite would write into a deleted one."""
        return self._path.exists()

    def abandon(self) -> None:
        """Close the file as it is."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._descriptors.of_files = 0
        self._descriptors.hold()

    def _forget_texts(self) -> None:
        self.numbers.forget()
        self.statements.clear()

    def finish(self, recorder: Recorder) -> None:
        """Say that nothing is missing, and fold the log into the file."""
        try:
            told = {**_progress(recorder), "finished": "1"}
            self._meta = self._tell(told, self._checksum)
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            recorder.failed()

    def _describe(self, schema: str, description: dict[str, str]) -> None:
        # Half of SQLite's own: most files are small, and each table begins with a page.
        self._database.execute("PRAGMA page_size = 2048")
        self._database.execute("PRAGMA journal_mode = WAL")
        # No file that comes and goes while rows are written.
        self._database.execute("PRAGMA temp_store = MEMORY")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("BEGIN")
        for statement in schema.split(";\n"):
            self._database.execute(statement)
        self._meta = self._tell(description, 0)
        self._database.execute("COMMIT")

    def _row(self, record: Record, recorder: Recorder) -> tuple[Row | None, int]:
        """The record's row now, and its checksum.

        If it makes none, they are what they were, so that it does not stop others.
        """
        try:
            return _with_checksum(record.row(self))
        except sqlite3.Error:
            raise
        except Exception:
            recorder.failed()
            return record.written, record.checksum

    def _replace(self, table: str, rows: list[Row]) -> None:
        at = 0
        while at < len(rows):
            size = next(size for size in ROWS_AT_ONCE if size <= len(rows) - at)
            self._insert(table, rows[at : at + size])
            at += size

    def _insert(self, table: str, rows: list[Row]) -> None:
        marks = ",".join("?" * len(rows[0]))
        every = ",".join([f"({marks})"] * len(rows))
        insert = f"INSERT OR REPLACE INTO {table} VALUES {every}"  # noqa: S608 - a name of ours
        self._database.execute(insert, list(chain.from_iterable(rows)))

    def _tell(self, values: dict[str, str], checksum: int) -> dict[str, str]:
        """Write what the process says of itself, and the sum of all rows; returns all of meta."""
        meta = {**self._meta, **values}
        total = checksum + sum(map(row_checksum, meta.items()))
        self._insert("meta", [*values.items(), (KEY, str(total % MODULUS))])
        return meta


def _description(recorder: Recorder) -> dict[str, str]:
    """What never changes about this process."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "poolhog_version": _own_version(),
        "pid": str(os.getpid()),
        "parent_pid": str(os.getppid()),
        # An interpreter inside of another program has none.
        "argv": json.dumps([sys.executable, *kept_arguments(getattr(sys, "argv", ()))]),
        "wall_ns": str(recorder.began_wall_ns),
        "monotonic_ns": str(recorder.began_ns),
        "sampling_interval_s": str(recorder.options.sampling_interval_s),
        "versions": json.dumps(_versions()),
    }


def _progress(recorder: Recorder) -> dict[str, str]:
    return {
        "written_ns": str(time.monotonic_ns()),
        "dropped": str(recorder.dropped),
        "dropped_checkouts": str(recorder.dropped_checkouts),
        "errors": str(recorder.errors),
    }


def _versions() -> dict[str, str]:
    """The versions of what runs here, of the libraries that poolhog watches or cares about."""
    found = {"python": sys.version.split()[0]}
    for name in _WATCHED:
        version = _version(name) if name in sys.modules else None
        if version is not None:
            found[name] = version
    return found


def _own_version() -> str:
    """The version of poolhog, which is often loaded from beside the application's path."""
    beside = str(Path(__file__).parents[2])
    for found in metadata.distributions(name="poolhog", path=[beside]):
        return found.version
    return _version("poolhog") or "unknown"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _latest_operations(records: Iterable[Record]) -> Iterator[OperationRecord]:
    """The operations that are in their checkouts' rows."""
    for record in records:
        if isinstance(record, CheckoutRecord):
            yield from record.operations[-MOST_IN_ROW:]


def _encodable(text: str) -> str:
    """The text, with question marks for lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _with_checksum(row: Row) -> tuple[Row, int]:
    """The row as it can be stored, and its checksum."""
    try:
        return row, row_checksum(row)
    except (TypeError, UnicodeEncodeError):
        row = _storable(row)
        return row, row_checksum(row)


def _storable(row: Row) -> Row:
    """The row with text for what SQLite does not take; lone surrogates become question marks.

    An application can get those from a hostile client.
    """
    return tuple(
        value if value is None or isinstance(value, int | float) else _encodable(str(value))
        for value in row
    )
