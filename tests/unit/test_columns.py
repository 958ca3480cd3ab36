"""Columns hold what SQLite and json would say of the rows, and nothing else is let in."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recorders import pool_record, request_record, rows
from scenarios import Scenario

import poolhog
from poolhog.model import Activity, OperationKind
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.records import SAMPLE_BYTES, SampleRecord
from poolhog.trace.check import check_rows
from poolhog.trace.columns import read_columns, read_operations
from poolhog.trace.damage import MOST_US, DamagedError
from poolhog.trace.packed import NULL, unpacked
from poolhog.trace.tables import Checkouts, Requests, Samples, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.trace.tables import Columns

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
LISTS = settings(max_examples=300)

NUMBERS = st.integers(0, 9) | st.integers(0, MOST_US)
INNER = st.builds(
    lambda first, second, others: [first, second, *others],
    NUMBERS,
    NUMBERS | NUMBERS.map(lambda number: -number),
    st.lists(st.none() | NUMBERS, max_size=5),
)
TEXTS = st.lists(st.lists(INNER, min_size=1, max_size=4), min_size=1, max_size=4)


def packed(lists: Any) -> bytes:
    """As the recorder packs them."""
    return json.dumps(lists, separators=(",", ":")).encode()


def plain(texts: list[bytes]) -> tuple[list[int], list[list[int]]] | None:
    """What :func:`unpacked` finds, by way of ``json``; ``None`` if it is to refuse it."""
    counts, found = [], []
    for text in texts:
        try:
            lists = json.loads(text)
        except ValueError:
            return None
        if packed(lists) != text or not isinstance(lists, list) or not lists:
            return None
        counts.append(len(lists))
        for inner in lists:
            if not isinstance(inner, list) or not 2 <= len(inner) <= 7:
                return None
            if not all(type(n) is int or (n is None and at >= 2) for at, n in enumerate(inner)):
                return None
            if any(n is not None and n < 0 for at, n in enumerate(inner) if at != 1):
                return None
            if any(n is not None and abs(n) > MOST_US for n in inner):
                return None
            row = [NULL if n is None else n for n in inner]
            found.append(row + [NULL] * (7 - len(row)))
    return counts, found


def told(texts: list[bytes]) -> tuple[list[int], list[list[int]]] | None:
    try:
        counts, found = unpacked(texts, 7, least=2)
    except DamagedError:
        return None
    return counts.tolist(), found.T.tolist()


@LISTS
@given(TEXTS)
def test_what_was_packed_is_unpacked(lists: list[list[list[int | None]]]) -> None:
    texts = [packed(one) for one in lists]
    assert told(texts) == plain(texts) != None  # noqa: E711


@LISTS
@given(TEXTS, st.data())
def test_what_was_damaged_is_refused(
    lists: list[list[list[int | None]]], data: st.DataObject
) -> None:
    """Or it is what ``json`` makes of it, if a recorder could have written that."""
    texts = [packed(one) for one in lists]
    number = data.draw(st.integers(0, len(texts) - 1))
    text = texts[number]
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    instead = data.draw(st.text('0123456789-nul,[] .eE+\t"', max_size=4)).encode()
    texts[number] = text[:first] + instead + text[last:]
    assert told(texts) == plain(texts)


CORNERS = """
    [[1,-1]]  [[0,0]]  [[1,-9007199254740992,null,0]]  [[1,2,3,4,5,6,7],[1,2]]
    [[1,9007199254740993]]
    [[-1,2]]  [[1,2,-1]]  [[null,1]]  [[1,null]]  [[1,-9007199254740993]]  [[1,2,-1],[1,-1]]  [[1]]
    [[1,2,3,4,5,6,7,8]]  [[1,2,nu]]  [[1,2,ll]]  [[1,2,nullnull]]  [[1,2,null3]]  [[1,2,-null]]
    [[1,2,3null]]  [[1,,2]]  [[,1,2]]  [[1,2,]]  [[1,2-3]]  [[1-,2]]  [[1,-]]  [[1,2]][[3,4]]
    [[1,2]],[[3,4]]  [[1,2],[]]  [[1,2],[[3,4]]]  [[]]  [[  ]]  [[00,1]]  [[1,-00]]  [[1,-0]]
    [[0,0,0]]  [[1,10,100]]  [[010,1]]  [[99999999999999999999,1]]  [[1,-99999999999999999999]]
    [[1,2,\u0663]]  1[[0,0]]  [1[0,0]]  [[0,0]1]  [[0,0]]1  [[1,2]3,[4,5]]  [[1,2],3[4,5]]
    [[1,2]null,[4,5]]  [[1,2]-,[4,5]]  [[1,2\x014,5]]  [[1,2\x024,5]]
"""


@pytest.mark.parametrize("text", CORNERS.split())
def test_corners(text: str) -> None:
    for texts in ([text.encode()], [b"[[1,2,3]]", text.encode()], [text.encode(), b"[[1,-2]]"]):
        assert told(texts) == plain(texts)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with rows in all tables."""
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    for number in range(3):
        request = recorder.request(request_record(f"/notes/{number}\n"))
        token = current_request.set(request)
        request.begin_stage("endpoint").end()
        checkout = recorder.ask(pool)
        recorder.grant(checkout, number)
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
        assert operation is not None
        operation.end()
        assert checkout.granted_ns is not None
        sample = SampleRecord(checkout, Activity.PARKED, None, checkout.granted_ns)
        sample.ended_ns = checkout.granted_ns
        recorder.journal.put(sample, SAMPLE_BYTES)
        recorder.end(checkout)
        request.end()
        current_request.reset(token)
    recorder.stop()
    (found,) = recorder.directory.glob("*.sqlite")
    with closing(sqlite3.connect(found)) as database, database:
        database.execute(
            "INSERT INTO packed_operations SELECT id, 1, operations FROM packed_checkouts"
        )
        database.execute("DELETE FROM meta WHERE key IN ('checksum', 'written_ns')")
    with closing(sqlite3.connect(found)) as database:
        columns = check_rows(database)
        assert all(len(table.id) == 3 for table in columns[:3])
    return found


TABLES = {"packed_checkouts": Checkouts, "packed_requests": Requests, "packed_samples": Samples}
INSTANTS = (
    ("packed_checkouts", "asked"),
    ("packed_requests", "started"),
    ("packed_samples", "started"),
)
PLACES = [(table, field.name) for table, kind in TABLES.items() for field in fields(kind)]
NO_NUMBERS = "noon", "", "1,2", b"\x01", b"5", b"", 0.5, 1e300
TOO_LARGE = 2**53 + 1, 2**62, 2**63 - 1


def is_refused(file: Path) -> bool:
    """By its own check: there is no checksum in the file."""
    try:
        poolhog.open_trace(file.parent)
    except poolhog.TraceError as error:
        return "is damaged or no poolhog trace" in str(error)
    return False


def change(file: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(sql, values)


@pytest.mark.parametrize(("table", "column"), PLACES)
@pytest.mark.parametrize("number", ["least", "greatest"])
def test_a_column_of_numbers_holds_no_others(
    file: Path, table: str, column: str, number: str
) -> None:
    which = "max" if number == "greatest" else "min"
    sql = f"UPDATE {table} SET {column} = ? WHERE id = (SELECT {which}(id) FROM {table})"
    refused = [*TOO_LARGE, -(2**53) - 1]
    if (table, column) not in INSTANTS:
        refused += [-1, -2, -(2**53)]
    others: tuple[object, ...] = () if column == "id" else NO_NUMBERS  # SQLite has none in a key
    whole = file.read_bytes()
    for value in (*refused, *others):
        change(file, sql, value)
        assert is_refused(file), value
        file.write_bytes(whole)
    assert not is_refused(file)


def test_one_number_does_not_make_up_for_another(file: Path) -> None:
    """Sums are compared, so what adds up to a sound column must not pass for one."""
    for values in ((-1, None, 1), (-1, -1, 2), (0.5, 0.5, 0), ("1,2", b"", 0), ("x", None, None)):
        ids = [row[0] for row in rows(file, "SELECT id FROM packed_checkouts ORDER BY id")]
        for number, value in zip(ids, values, strict=True):
            change(file, "UPDATE packed_checkouts SET connection = ? WHERE id = ?", value, number)
        assert is_refused(file), values
    change(file, "UPDATE packed_checkouts SET connection = NULL")
    assert not is_refused(file)


def test_sums_beyond_64_bits_are_no_way_in(file: Path) -> None:
    change(file, "UPDATE packed_checkouts SET busy = ?", 2**63 - 1)
    assert is_refused(file)
    change(file, "UPDATE packed_checkouts SET busy = 0, asked = ?", -(2**63))
    assert is_refused(file)


@pytest.mark.parametrize(("table", "column"), INSTANTS)
def test_an_instant_may_be_before_the_process_began(file: Path, table: str, column: str) -> None:
    change(file, f"UPDATE {table} SET {column} = ?", -1)
    with closing(sqlite3.connect(file)) as database:
        columns = read_columns(database)
    of_table = {"packed_checkouts": 0, "packed_requests": 1, "packed_samples": 2}[table]
    assert getattr(columns[of_table], column).tolist() == [-1] * 3
    assert not is_refused(file)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("packed_checkouts", "owner"), ("packed_checkouts", "operations")),
        *(("packed_requests", "path"), ("packed_requests", "stages")),
        ("packed_operations", "operations"),
    ],
)
def test_a_column_of_texts_holds_no_others(file: Path, table: str, column: str) -> None:
    whole = file.read_bytes()
    for value in (b"[[1,2,3]]", b"", b"\xff", "x" * 1_000_001):
        change(file, f"UPDATE {table} SET {column} = ?", value)
        assert is_refused(file), value[:9]
        file.write_bytes(whole)


@pytest.mark.parametrize("column", ["checkout_id", "number"])
def test_earlier_operations_have_numbers(file: Path, column: str) -> None:
    whole = file.read_bytes()
    sql = f"UPDATE packed_operations SET {column} = ? WHERE checkout_id = "
    for value in ("noon", b"5", 0.5, -1, 2**53 + 1):
        change(file, f"{sql} (SELECT min(checkout_id) FROM packed_operations)", value)
        assert is_refused(file), value
        file.write_bytes(whole)


def every(database: sqlite3.Connection) -> Columns:
    """The columns, with the numbers of what was sent in the order of checkouts."""
    found = read_columns(database)
    order = np.argsort(found.sent.checkout, kind="stable")
    return found._replace(sent=Sent(*(column[order] for column in found.sent)))


def check_like_sqlite(database: sqlite3.Connection) -> None:
    """Whether the columns are what a query returns row by row."""
    found = every(database)
    for (table, kind), columns in zip(TABLES.items(), found[:3], strict=True):
        for field in fields(kind):
            query = f"SELECT coalesce({field.name}, -1) FROM {table} ORDER BY id"
            expected = [row[0] for row in database.execute(query)]
            assert getattr(columns, field.name).tolist() == expected
    packed_texts = database.execute(
        "SELECT checkout_id, number, operations FROM packed_operations UNION ALL"
        " SELECT id, 1e9, operations FROM packed_checkouts WHERE operations NOT NULL ORDER BY 1, 2"
    ).fetchall()
    operations = [
        (number, *(NULL if n is None else n for n in inner), *[NULL] * (7 - len(inner)))
        for number, _, text in packed_texts
        for inner in json.loads(text)
    ]
    assert list(parts_of(database)) == operations
    sent = sorted((row[0], row[1], row[5]) for row in operations)
    assert sorted(zip(*(column.tolist() for column in found.sent), strict=True)) == sent


def parts_of(database: sqlite3.Connection) -> Iterator[tuple[int, ...]]:
    ids = [number for (number,) in database.execute("SELECT id FROM packed_checkouts")]
    for part in read_operations(database, ids):
        yield from zip(*(column.tolist() for column in part), strict=True)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK)
@given(st.data(), st.sampled_from([1, 2, 3, 20_000]))
def test_columns_are_what_sqlite_says_of_the_rows(data: st.DataObject, batch: int) -> None:
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(0, 8)))
        (file,) = directory.glob("*.sqlite")
        with closing(sqlite3.connect(file)) as database:
            whole = every(database)
            patch.setattr("poolhog.trace.columns._BATCH", batch)
            check_like_sqlite(database)
            # The checksum is that of all rows, in whatever parts they are read.
            assert every(database).checksum == whole.checksum
            check_rows(database)


def test_texts_that_are_longer_than_sqlite_joins_are_read_in_smaller_parts(file: Path) -> None:
    change(file, "UPDATE packed_checkouts SET owner = ?", "x" * 400)
    with closing(sqlite3.connect(file)) as database:
        whole = every(database)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000)
        parts = every(database)
    assert parts.checksum == whole.checksum
    assert parts.checkouts.id.tolist() == whole.checkouts.id.tolist()


def test_texts_with_line_ends_are_no_more_rows(file: Path) -> None:
    change(file, "UPDATE packed_checkouts SET owner = 'a' || char(10) || 'b'")
    with closing(sqlite3.connect(file)) as database:
        check_like_sqlite(database)
    assert not is_refused(file)


def test_operations_of_some_checkouts(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        ids = read_columns(database).checkouts.id.tolist()
        (part,) = read_operations(database, ids[1:2])
        assert set(part.checkout.tolist()) == {ids[1]}
        assert len(part.checkout) == 2  # its own row has one, and the earlier row
        assert not list(read_operations(database, []))
