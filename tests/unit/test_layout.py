"""The order of columns and of what is packed: declared once, and true of the schema."""

from __future__ import annotations

import inspect
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poolhog
from poolhog import layout
from poolhog.checksum import WEIGHTS
from poolhog.recording.lock_watch import LockWaitRecord
from poolhog.recording.records import CheckoutRecord, PoolRecord, SampleRecord
from poolhog.recording.requests import RequestRecord
from poolhog.recording.sites import SiteRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.recording.record import Record

SCHEMA = Path(poolhog.__file__).parent / "trace" / "schema.sql"
ROWS = (
    *(layout.PoolRow, layout.TextRow, layout.SiteRow, layout.RequestRow, layout.CheckoutRow),
    *(layout.OperationsRow, layout.SampleRow, layout.LockWaitRow),
)

numbers = st.integers(0, 2**53)
optional = st.none() | numbers
operations = st.builds(
    layout.PackedOperation, numbers, st.integers(-9, 2**53), *[optional for _ in range(5)]
)
stages = st.builds(layout.PackedStage, numbers, st.integers(-9, 2**53), optional, optional)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.row_factory = sqlite3.Row
        opened.executescript(SCHEMA.read_text(encoding="utf-8"))
        yield opened


def test_rows_have_the_columns_of_the_schema(database: sqlite3.Connection) -> None:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    found = {
        name: tuple(column["name"] for column in database.execute(f"PRAGMA table_info({name})"))
        for (name,) in tables
    }
    assert found.pop("meta") == ("key", "value")
    assert found == layout.TABLES


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_made_by_the_names_of_their_columns(row: Any) -> None:
    columns = {name: number for number, name in enumerate(row._fields)}
    backwards = dict(reversed(columns.items()))
    assert layout.row_maker(row)(**backwards) == row(**columns) == tuple(columns.values())
    with pytest.raises(TypeError):
        layout.row_maker(row)(**columns, another=1)


def test_every_record_has_a_table_and_every_table_rows() -> None:
    assert list(layout.TABLES.values()) == [row._fields for row in ROWS]
    records: tuple[type[Record], ...] = (
        *(PoolRecord, SiteRecord, RequestRecord, CheckoutRecord, SampleRecord, LockWaitRecord),
    )
    assert {record.table for record in records} < layout.TABLES.keys()


def test_each_column_of_a_row_has_a_weight_of_its_own() -> None:
    assert len(set(WEIGHTS)) == len(WEIGHTS) >= max(map(len, layout.TABLES.values()))


def test_packing_takes_the_fields_in_their_order() -> None:
    for pack, packed in (
        (layout.pack_operation, layout.PackedOperation),
        (layout.pack_stage, layout.PackedStage),
    ):
        assert tuple(inspect.signature(pack).parameters) == packed._fields


@given(st.lists(operations))
def test_operations_come_back_as_they_were_packed(some: list[layout.PackedOperation]) -> None:
    packed = layout.pack_list([layout.pack_operation(*operation) for operation in some])
    assert list(layout.packed_operations(packed or "[]")) == some


@given(st.lists(stages))
def test_stages_come_back_as_they_were_packed(some: list[layout.PackedStage]) -> None:
    packed = layout.pack_list([layout.pack_stage(*stage) for stage in some])
    assert list(layout.packed_stages(packed or "[]")) == some


@given(operations)
def test_nothing_is_packed_of_what_is_missing_at_the_end(
    operation: layout.PackedOperation,
) -> None:
    assert not layout.pack_operation(*operation)[:-1].endswith(",null,null")
    assert not layout.pack_stage(*operation[:4])[:-1].endswith(",null,null")


def test_the_views_unpack_in_the_same_order(database: sqlite3.Connection) -> None:
    """The views read lists by the numbers of their parts, which SQL cannot take from Python."""
    database.execute("INSERT INTO meta VALUES ('monotonic_ns', '0')")
    texts = {name: key for key, name in enumerate(("kind", "statement", "error", "cause", "name"))}
    texts |= {"x": 90}
    database.executemany("INSERT INTO texts (text, id) VALUES (?, ?)", texts.items())
    packed = layout.PackedOperation(
        kind=texts["kind"],
        since=2,
        duration=3,
        site=77,
        statement=texts["statement"],
        error=texts["error"],
        cause=texts["cause"],
    )
    checkout = dict.fromkeys(layout.TABLES["packed_checkouts"], None) | {
        "id": 1,
        "pool_id": 1,
        "owner": "",
        "outcome": texts["x"],
        "asked": 1000,
        "operations": layout.pack_list([layout.pack_operation(*packed)]),
    }
    insert(database, "packed_checkouts", checkout)
    (row,) = database.execute("SELECT * FROM operations")
    assert dict(row) == {
        "checkout_id": 1,
        "kind": "kind",
        "statement": "statement",
        "site_id": 77,
        "started_ns": 1_002_000,
        "ended_ns": 1_005_000,
        "error": "error",
        "cause": "cause",
    }
    stage = layout.PackedStage(name=texts["name"], since=4, duration=5, site=78)
    request = dict.fromkeys(layout.TABLES["packed_requests"], None) | {
        "id": 2,
        "kind": texts["x"],
        "method": texts["x"],
        "path": "",
        "started": 2000,
        "stages": layout.pack_list([layout.pack_stage(*stage)]),
    }
    insert(database, "packed_requests", request)
    (row,) = database.execute("SELECT * FROM stages")
    assert dict(row) == {
        "request_id": 2,
        "name": "name",
        "site_id": 78,
        "started_ns": 2_004_000,
        "ended_ns": 2_009_000,
    }


def insert(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names = ",".join(row)
    marks = ",".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
