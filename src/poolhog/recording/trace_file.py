"""One process's SQLite file, as its recorder writes it: rows and their checksum, all or none.

The file is in WAL mode: what was committed survives a kill -9 of the process, and can be read
while the process runs.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.checksum import KEY, MODULUS, row_checksum
from poolhog.recording.description import description, progress
from poolhog.recording.descriptors import OF_FILE, TAKEN
from poolhog.recording.numbers import Dialects, Numbers, encodable
from poolhog.recording.pools import PoolRecord
from poolhog.recording.records import MOST_IN_ROW, CheckoutRecord, statements_of
from poolhog.recording.requests import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from poolhog.recording.journal import Journal
    from poolhog.recording.record import Line, Record, Row

LOCKED_S = 0.1
"""How long the writer waits for a file that somebody has locked; then it tries again later. At the
end it may wait so long three times: to write what is left, to say so, and to fold the log."""

ROWS_AT_ONCE = (64, 8, 1)
"""Rows of a statement. SQLite lets go of the interpreter for each, and under load the writer waits
5 ms to have it back: row by row, it could not keep up, and would disturb the application."""

MOST_IN_META = 1_000
"""Pools of which ``meta`` says where they come from, about: it is added up at every commit."""

_SCHEMA = Path(__file__).parent.parent / "trace" / "schema.sql"


class TraceFile:
    """One process's SQLite file in a trace directory, at a path where there is none yet."""

    def __init__(self, journal: Journal, path: Path) -> None:
        self.began_ns = journal.began_ns
        self._journal = journal
        self._has_source = journal.options.source
        self._descriptors = journal.descriptors
        self._path = path
        # Of what was committed: the sum of all rows but those of meta, and these.
        self._checksum = 0
        self._meta: dict[str, str] = {}
        with self._descriptors.lent():
            schema = _SCHEMA.read_text(encoding="utf-8")
            described = description(journal)
        with self._descriptors.lent(TAKEN):
            # A file that only its owner can read.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(
                path, timeout=LOCKED_S, check_same_thread=False, isolation_level=None
            )
            self.numbers = Numbers(self._database)
            self.statements = Dialects(self.numbers)
            try:
                self._describe(schema, described)
                self._descriptors.of_files = OF_FILE
            except BaseException:
                # The next attempt makes another: a full disk must not be littered with empty ones.
                self.abandon()
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                raise

    def source_of(self, line: Line) -> str:
        """The text of a line of code, if it is wanted."""
        if not self._has_source:
            return ""
        with self._descriptors.lent():
            return line.source

    def learn(self, sent: Iterable[tuple[str | None, str]]) -> None:
        """Look up many statements at once, each with its dialect."""
        known: dict[str | None, set[str]] = {}
        for dialect, statement in sent:
            known.setdefault(dialect, set()).add(statement)
        for dialect, statements in known.items():
            self.statements[dialect].learn(statements)

    def write(self, records: Collection[Record]) -> list[Record]:
        """Commit the rows that are new or changed, or none; returns the records that may change.

        A pool is written with the first checkout that names it.
        """
        rows: dict[str, list[Row]] = {}
        changed: dict[Record, tuple[Row | None, int]] = {}
        unfinished = []
        parted = []
        pools = self._new_pools(records)
        checksum = self._checksum
        self.numbers.checksum = 0
        # If somebody has locked the file, this fails before all is put into rows.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self.learn(_latest_statements(records))
            for record in (*pools, *records):
                # Asked before the row is taken: what is done by now does not change any more.
                if not record.done:
                    unfinished.append(record)
                if isinstance(record, CheckoutRecord) and len(record.operations) > MOST_IN_ROW:
                    earlier = record.earlier_rows(self)
                    rows.setdefault("packed_operations", []).extend(earlier)
                    checksum += sum(map(row_checksum, earlier))
                    parted.append(record)
                # A site may come twice when a file is begun, and a pool.
                written, written_sum = changed.get(record, (record.written, record.checksum))
                new = self._new_row(record, written)
                if new is not None:
                    rows.setdefault(record.table, []).append(new[0])
                    changed[record] = new
                    checksum += new[1] - written_sum
            for table, some in rows.items():
                self._replace(table, some)
            checksum += self.numbers.checksum
            told = {**progress(self._journal), **({"finished": "0"} if changed else {})}
            for pool in pools if len(self._meta) < MOST_IN_META else ():
                told |= pool.origin
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
            if isinstance(record, PoolRecord):
                record.file = self
        for checkout in parted:
            checkout.forget()
        return unfinished

    def _new_pools(self, records: Iterable[Record]) -> list[PoolRecord]:
        """The pools of checkouts that are not in this file yet."""
        named = dict.fromkeys(r.pool for r in records if isinstance(r, CheckoutRecord))
        pools = [pool for pool in named if pool.file is not self]
        for pool in pools:
            pool.written, pool.checksum = None, 0
        return pools

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

    def finish(self) -> None:
        """Say that nothing is missing, and fold the log into the file."""
        try:
            told = {**progress(self._journal), "finished": "1"}
            self._meta = self._tell(told, self._checksum)
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            self._journal.failed()

    def _describe(self, schema: str, described: dict[str, str]) -> None:
        # Half of SQLite's own: most files are small, and each table begins with a page.
        self._database.execute("PRAGMA page_size = 2048")
        self._database.execute("PRAGMA journal_mode = WAL")
        # No file that comes and goes while rows are written.
        self._database.execute("PRAGMA temp_store = MEMORY")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("BEGIN")
        for statement in schema.split(";\n"):
            self._database.execute(statement)
        self._meta = self._tell(described, 0)
        self._database.execute("COMMIT")

    def _new_row(self, record: Record, written: Row | None) -> tuple[Row, int] | None:
        """The record's row now and its checksum; ``None`` if it is what was written.

        If it makes none, it is as if it had not changed, so that it does not stop others.
        """
        if written is None and isinstance(record, RequestRecord) and record.withdrawn:
            return None
        try:
            row = record.row(self)
            if row == written:
                return None
            try:
                return row, row_checksum(row)
            except (TypeError, UnicodeEncodeError):
                row = _storable(row)
                return (row, row_checksum(row)) if row != written else None
        except sqlite3.Error:
            raise
        except Exception:
            self._journal.failed()
            return None

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


def _latest_statements(records: Iterable[Record]) -> Iterator[tuple[str | None, str]]:
    """The statements that are in their checkouts' rows, each with its dialect."""
    for record in records:
        if isinstance(record, CheckoutRecord):
            yield from statements_of(record.operations[-MOST_IN_ROW:])


def _storable(row: Row) -> Row:
    """The row with text for what SQLite does not take; lone surrogates become question marks.

    An application can get those from a hostile client.
    """
    return tuple(
        value if value is None or isinstance(value, int | float) else encodable(str(value))
        for value in row
    )
