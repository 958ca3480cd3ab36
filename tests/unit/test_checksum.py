"""The sum of a file's rows: what the recorder keeps is what the reader finds, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorders import pool_record, request_record

import poolhog
from poolhog.checksum import PRIME, WEIGHTS, row_checksum
from poolhog.model import OperationKind
from poolhog.recording.recorder import Recorder
from poolhog.trace.check import check_rows

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = st.integers(0, 2**53)
TEXTS = st.text(min_size=1)
COLUMNS = st.none() | NUMBERS | TEXTS


@given(st.lists(COLUMNS, min_size=1, max_size=15), st.data())
def test_one_changed_column_changes_the_sum(row: list[object], data: st.DataObject) -> None:
    """Of the type that it has: another is not what belongs there, which is checked apart."""
    at = data.draw(st.integers(0, len(row) - 1))
    alike = TEXTS if isinstance(row[at], str) else NUMBERS
    other = data.draw((st.none() | alike).filter(lambda value: value != row[at]))
    changed = [*row[:at], other, *row[at + 1 :]]
    numbers = [-1 if value is None else value for value in (row[at], other)]
    if any(isinstance(value, str) for value in numbers):
        assert row_checksum(row) != row_checksum(changed)
    else:
        is_multiple = (numbers[0] - numbers[1]) % PRIME == 0  # type: ignore[operator]
        assert is_multiple == (row_checksum(row) == row_checksum(changed))


def test_no_bit_of_a_number_can_flip() -> None:
    for weight, bit in ((w, 1 << b) for w in WEIGHTS for b in range(63)):
        assert weight * bit % PRIME != 0


PLACES = (
    ("pools", "size", 3),
    ("texts", "text", "GET!"),
    ("sites", "line", 77),
    ("packed_requests", "started", 12_345),
    ("packed_requests", "path", "/other"),
    ("packed_checkouts", "granted", 1),
    ("packed_checkouts", "busy", 999_999),
    ("packed_checkouts", "operations", None),
    ("meta", "value", "7"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    for path in ("/notes", "/\0", "/\ud800", "/ä" * 300):
        request = recorder.request(request_record(path))
        checkout = recorder.ask(pool)
        recorder.grant(checkout, 1)
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
        assert operation is not None
        operation.end()
        recorder.settle()  # what goes on is written, and written again
        recorder.end(checkout)
        request.end()
    recorder.stop()
    (found,) = recorder.directory.glob("*.sqlite")
    return found


def test_what_is_written_adds_up(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        check_rows(database)
        assert database.execute("SELECT count(*) FROM meta WHERE key = 'checksum'").fetchone() == (
            1,
        )


@pytest.mark.parametrize(("table", "column", "value"), PLACES)
def test_a_change_that_makes_sense_is_noticed(
    file: Path, table: str, column: str, value: object
) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        which = (
            "key = 'dropped'" if table == "meta" else f"rowid = (SELECT min(rowid) FROM {table})"
        )
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {which}", [value])
        assert database.total_changes == 1
    with pytest.raises(poolhog.TraceError, match="do not add up"):
        poolhog.open_trace(file.parent)


def test_a_row_that_is_gone_is_noticed(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "DELETE FROM packed_checkouts WHERE id = (SELECT max(id) FROM packed_checkouts)"
        )
    with pytest.raises(poolhog.TraceError, match="do not add up"):
        poolhog.open_trace(file.parent)
