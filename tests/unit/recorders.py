"""Recorders that a test fills by hand, and a look at what they wrote."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from poolhog.recording.pools import PoolRecord
from poolhog.recording.requests import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 20.0
"""Far more than anything here takes: a test that waits this long has failed."""


def pool_record(name: str = "main") -> PoolRecord:
    return PoolRecord(
        library="sqlalchemy",
        kind="QueuePool",
        name=name,
        size=5,
        max_overflow=0,
        timeout_s=30.0,
        dialect="postgresql",
    )


def request_record(path: str = "/notes/1", route: str | None = None) -> RequestRecord:
    record = RequestRecord("http", "GET", path)
    record.route = route
    return record


def rows(file: Path, sql: str) -> list[Any]:
    """The rows that another process would read, which leaves the file's writer alone."""
    database = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def meta(file: Path) -> dict[str, str]:
    return dict(rows(file, "SELECT * FROM meta"))


def the_file(directory: Path) -> Path:
    """The one trace file of the directory, once it has its schema."""
    eventually(lambda: any(_has_schema(file) for file in directory.glob("*.sqlite")))
    (file,) = directory.glob("*.sqlite")
    return file


def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; the test fails if it never does."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def _has_schema(file: Path) -> bool:
    try:
        return bool(rows(file, "SELECT 1 FROM sqlite_master WHERE name = 'meta'"))
    except sqlite3.OperationalError:
        return False
