"""Questions in SQL to a trace: one schema over the files of all its processes.

The views of ``schema.sql`` are there with a column ``pid`` in front. Ids are those of the first
file; those of each other one are moved by a billion or more, so that what belongs together joins
within its process.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from poolhog.errors import Interrupted, PoolhogError
from poolhog.trace.files import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from poolhog.trace.reader import ProcessReader

VIEWS = (
    *("requests", "checkouts", "operations", "samples", "lock_waits", "stages"),
    *("pools", "sites", "meta"),
)
"""What can be asked, in the order in which it is shown."""

MOST_ATTACHED = 9
"""Files that SQLite can look into at once are ten; the others are copied into the tenth."""

_NO_LOCK_WAITS = (
    "SELECT NULL AS pid, NULL AS checkout_id, NULL AS blocker_id, NULL AS session,"
    " NULL AS started_ns, NULL AS ended_ns WHERE FALSE"
)

_APART = 1_000_000_000_000
_PROGRESS_STEPS = 100_000
_QUESTIONS = Path(__file__).with_name("questions.sql")
_READING = frozenset(
    [
        *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ),
        *(sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE),
    ]
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answer in plain SQL; it can be asked of one file as well."""

    name: str
    title: str
    sql: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of an answer, and its rows as they come."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def questions() -> tuple[Question, ...]:
    """The questions that poolhog comes with."""
    text = _QUESTIONS.read_text(encoding="utf-8")
    found = re.findall(r"^-- (\w+): (.+)\n((?:.+\n)+?)(?=\n|\Z)", text, re.MULTILINE)
    return tuple(Question(name, title, sql) for name, title, sql in found)


class Database:
    """The files of some processes, opened for reading only; a context manager."""

    def __init__(self, readers: Sequence[ProcessReader]) -> None:
        self._readers = readers

    def __enter__(self) -> Self:
        self._connection = sqlite3.connect("", uri=True, isolation_level=None)
        try:
            self._make_views()
        except BaseException:
            self._connection.close()
            raise
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.set_authorizer(_authorize)
        # Ctrl-C gets its turn in between, which ends the query.
        self._connection.set_progress_handler(lambda: 0, _PROGRESS_STEPS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """The columns of each view."""
        return {view: self.ask(f"SELECT * FROM {view} LIMIT 0").columns for view in VIEWS}  # noqa: S608

    def ask(self, sql: str) -> Answer:
        """Run a query. Raises :class:`PoolhogError` with SQLite's words if it is wrong."""
        try:
            cursor = self._connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _wrong(error) from error
        if cursor.description is None:
            raise PoolhogError("there is no query: ask with a SELECT, or with one of the questions")
        return Answer(tuple(column[0] for column in cursor.description), _rows(cursor))

    def _make_views(self) -> None:
        parts: dict[str, list[str]] = {view: [] for view in VIEWS}
        copied = {reader.file for reader in self._smallest()}
        for index, reader in enumerate(self._readers):
            try:
                for view, part in self._parts(reader, index, copy=reader.file in copied):
                    if part not in parts[view]:
                        parts[view].append(part)
            except sqlite3.Error as error:
                raise _unreadable(reader, error) from error
        for view in VIEWS:
            self._connection.execute(
                f"CREATE TEMP VIEW {view} AS {' UNION ALL '.join(parts[view] or [_NO_LOCK_WAITS])}"
            )

    def _smallest(self) -> Sequence[ProcessReader]:
        """Those whose files cannot be attached beside the others."""
        return sorted(self._readers, key=_size)[:-MOST_ATTACHED]

    def _parts(self, reader: ProcessReader, index: int, *, copy: bool) -> Iterator[tuple[str, str]]:
        """The rows of a process that belong to each view, as a query."""
        schema = f"process_{index}"
        self._connection.execute(f"ATTACH ? AS {schema}", [reader.uri])
        for view in VIEWS:
            if view == "lock_waits" and not self._has(schema, view):
                continue  # of an older schema
            part = self._part(view, schema, reader.process.pid, index)
            yield view, self._copy(view, part) if copy else part
        if copy:
            self._connection.execute(f"DETACH {schema}")

    def _has(self, schema: str, view: str) -> bool:
        query = f"SELECT EXISTS (SELECT 1 FROM {schema}.sqlite_master WHERE name = ?)"  # noqa: S608
        (found,) = self._connection.execute(query, [view]).fetchone()
        return bool(found)

    def _part(self, view: str, schema: str, pid: int, index: int) -> str:
        nothing = self._connection.execute(f"SELECT * FROM {schema}.{view} LIMIT 0")  # noqa: S608
        names = [column[0] for column in nothing.description]
        columns = [
            f"{name} + {index * _APART} AS {name}" if index and _is_id(name) else name
            for name in names
        ]
        return f"SELECT {pid} AS pid, {', '.join(columns)} FROM {schema}.{view}"  # noqa: S608

    def _copy(self, view: str, part: str) -> str:
        """The same rows, of a file that is closed again."""
        table = f"main.copied_{view}"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} AS {part} LIMIT 0")
        self._connection.execute(f"INSERT INTO {table} {part}")
        return f"SELECT * FROM {table}"  # noqa: S608


def _size(reader: ProcessReader) -> int:
    try:
        return reader.file.stat().st_size
    except OSError as error:
        raise _unreadable(reader, error) from error


def _unreadable(reader: ProcessReader, error: Exception) -> UnreadableError:
    return UnreadableError(reader.file, f"cannot be read ({error}); record again")


def _is_id(column: str) -> bool:
    return column == "id" or column.endswith("_id")


def _authorize(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _rows(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    try:
        # Not "yield from": that closes the cursor with the generator, maybe after its connection.
        for row in cursor:  # noqa: UP028
            yield row
    except sqlite3.Error as error:
        raise _wrong(error) from error


def _wrong(error: Exception) -> PoolhogError:
    if str(error) == "interrupted":
        return Interrupted("interrupted")
    if "not authorized" in str(error) or "prohibited" in str(error):
        return PoolhogError("a trace is only read: ask with a SELECT")
    return PoolhogError(f"the query cannot be answered: {error}")
