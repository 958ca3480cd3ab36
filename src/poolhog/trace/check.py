"""The one door into a trace: a process's file is checked as a whole before any of it is used.

A file may be damaged, or made by somebody who wants to do harm. Whoever reads it behind this door
can rely on what the recorder guarantees: the schema, to the letter; the types and ranges of all
columns; numbers of texts and pools that exist; packed operations and stages that can be unpacked;
and, if the file has one, the sum of its rows (:mod:`poolhog.checksum`). A site or a request may be
missing: it was dropped, or its process was killed before it was written.

The large tables are checked as they are read into columns (:mod:`poolhog.trace.columns`), the
others by SQLite.
"""

from __future__ import annotations

import functools
import json
import math
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from poolhog.checksum import KEY, MODULUS, PRIME, WEIGHTS, row_checksum
from poolhog.layout import TABLES
from poolhog.trace.columns import LONGEST, MOST_ID, read_columns
from poolhog.trace.packed import MOST_US, DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.trace.packed import Numbers
    from poolhog.trace.tables import Columns

SCHEMA = Path(__file__).with_name("schema.sql")

DEEPEST = 1_000
"""Sites above one another; the recorder looks at a fifth."""

_LATEST_WALL_NS = 253_370_764_800_000_000_000
"""The year 9999, the last that Python's clock can tell."""


def check_table(database: sqlite3.Connection, name: str) -> bool:
    """Whether there is such a table. Raises :class:`DamagedError` if it is none of ours.

    A view in the place of a table could take for ever.
    """
    found = [_key(row) for row in database.execute(f"{_OBJECTS} WHERE name = ?", [name])]
    if found and not expected_schema().issuperset(found):
        raise DamagedError(f"its {name} is not what poolhog makes")
    return bool(found)


def check_schema(database: sqlite3.Connection) -> None:
    """Raise :class:`DamagedError` unless the file has our tables, views and indexes, and no others.

    A view could take for ever, a trigger or an index lie.
    """
    found = {_key(row) for row in database.execute(_OBJECTS)}
    expected = expected_schema()
    for _, name, *_ in sorted(expected - found):
        raise DamagedError(f"its {name} is not what poolhog makes")
    if found != expected:
        raise DamagedError("it holds more than what poolhog makes")


def check_rows(database: sqlite3.Connection) -> Columns:
    """The file's large tables, as columns.

    Raises :class:`DamagedError` if anything in the file is not as the recorder writes it.
    """
    ((found,),) = database.execute("PRAGMA integrity_check(1)")
    if found != "ok":
        raise DamagedError(str(found))
    meta = dict(database.execute("SELECT key, value FROM meta"))
    check_meta(meta)
    total = sum(row_checksum(item) for item in meta.items() if item[0] != KEY)
    for table, rules in _RULES.items():
        total += _checked_sum(database, table, rules)
    columns = read_columns(database)
    _check_order(database, columns, meta)
    if KEY in meta and meta[KEY] != str((total + columns.checksum) % MODULUS):
        raise DamagedError("its rows do not add up to its checksum")
    return columns


def check_meta(meta: Mapping[Any, Any]) -> None:
    """Raise :class:`DamagedError` if the process's description of itself is not one."""
    for key, value in meta.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise DamagedError("meta holds what is no text")
    for key, (least, most) in _META_NUMBERS.items():
        if key in meta and not (_NUMBER.fullmatch(meta[key]) and least <= int(meta[key]) <= most):
            raise DamagedError(f"meta.{key} is out of range")
    interval = float(meta["sampling_interval_s"])
    if not (math.isfinite(interval) and interval >= 0):
        raise DamagedError("meta.sampling_interval_s is no time")
    argv, versions = json.loads(meta["argv"]), json.loads(meta["versions"])
    if not (isinstance(argv, list) and all(isinstance(word, str) for word in argv)):
        raise DamagedError("meta.argv is no list of texts")
    if not (isinstance(versions, dict) and all(isinstance(v, str) for v in versions.values())):
        raise DamagedError("meta.versions are no texts")


_NUMBER = re.compile(r"-?\d{1,21}", re.ASCII)
_META_NUMBERS = {
    "pid": (0, 2**32),
    "parent_pid": (0, 2**32),
    "wall_ns": (0, _LATEST_WALL_NS),
    "monotonic_ns": (-1000 * MOST_US, 1000 * MOST_US),
    "written_ns": (-1000 * MOST_US, 1000 * MOST_US),
    "dropped": (0, 2**53),
    "dropped_checkouts": (0, 2**53),
    "errors": (0, 2**53),
    "finished": (0, 1),
    "schema_version": (0, 2**31),
}

_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
_COMMENT = re.compile(r"--[^\n]*")


def _key(row: tuple[Any, ...]) -> tuple[str, ...]:
    """An object of a schema, whatever its comments and white space."""
    return tuple(" ".join(_COMMENT.sub("", str(part)).split()) for part in row)


@functools.cache
def expected_schema() -> frozenset[tuple[str, ...]]:
    """The objects of the schema that this poolhog writes."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA.read_text(encoding="utf-8"))
        return frozenset(_key(row) for row in database.execute(_OBJECTS))


# Rules: each makes a condition in SQL of a column's name. A comparison with a number is false of a
# text, and so are all of a null; that no number is a fraction is asked of all columns at once.


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must hold of a column; ``condition`` has ``{}`` for its name."""

    condition: str
    is_integer: bool = False

    def __or__(self, _: None) -> _Rule:
        """Let the column be null."""
        return _Rule(f"({{0}} IS NULL OR {self.condition})", self.is_integer)


def _number(least: int = 0, most: int = MOST_US) -> _Rule:
    return _Rule(f"{{0}} BETWEEN {least} AND {most}", is_integer=True)


def _text(longest: int = LONGEST) -> _Rule:
    return _Rule(f"(typeof({{0}}) = 'text' AND length({{0}}) <= {longest})")


_ID = _number(0, MOST_ID)
_INT32 = _number(-(2**31), 2**31)
_REAL = _Rule("(typeof({0}) = 'real' AND abs({0}) < 1e300)")
_CALLER = _Rule("{0} BETWEEN 0 AND id - 1", is_integer=True)

_RULES: dict[str, dict[str, _Rule]] = {
    "pools": {
        "id": _ID,
        "library": _text(),
        "kind": _text(),
        "name": _text(),
        "size": _INT32 | None,
        "max_overflow": _INT32 | None,
        "timeout_s": _REAL | None,
    },
    "texts": {"id": _ID, "text": _text()},
    "sites": {
        "id": _ID,
        "caller_id": _CALLER | None,
        "file": _text(),
        "line": _INT32,
        "function": _text(),
        "source": _text(),
        "is_application": _number(0, 1),
    },
}


def _checked_sum(database: sqlite3.Connection, table: str, rules: Mapping[str, _Rule]) -> int:
    """The sum of a table's checksums. Raises :class:`DamagedError` if a row breaks a rule."""
    weights = dict(zip(TABLES[table], WEIGHTS, strict=False))
    numbers = [
        f"{weights[column]} * coalesce({column}, -1)"
        if rule.is_integer
        else f"{weights[column]} * -({column} IS NULL)"
        for column, rule in rules.items()
    ]
    number = f"(({' + '.join(numbers)}) % {PRIME} + {PRIME}) % {PRIME}"
    conditions = _conditions(rules)
    is_sound = " AND ".join(conditions)
    ((total, sound),) = database.execute(f"SELECT sum({number}), min({is_sound}) FROM {table}")  # noqa: S608
    if sound == 0:
        raise DamagedError(f"{table}: {_broken(database, table, rules, conditions)}")
    texts = [column for column, rule in rules.items() if not rule.is_integer]
    for row in database.execute(f"SELECT {', '.join(texts)} FROM {table}"):  # noqa: S608
        for column, value in zip(texts, row, strict=True):
            if value is not None:
                total += weights[column] * crc32(str(value).encode())
    return int(total or 0)


def _conditions(rules: Mapping[str, _Rule]) -> list[str]:
    """What must hold of each column, and that no number is a fraction."""
    conditions = [
        f"coalesce({rule.condition.format(column)}, FALSE)" for column, rule in rules.items()
    ]
    integers = [f"coalesce({column}, 0)" for column, rule in rules.items() if rule.is_integer]
    return [*conditions, f"typeof({' + '.join(integers)}) = 'integer'"]


def _broken(
    database: sqlite3.Connection, table: str, rules: Iterable[str], conditions: Sequence[str]
) -> str:
    """Which column breaks a rule."""
    query = f"SELECT {', '.join(conditions)} FROM {table}"  # noqa: S608
    row = database.execute(f"{query} WHERE NOT ({' AND '.join(conditions)})").fetchone()
    column = (*rules, "a number")[row.index(0)]
    return f"{column} is not what belongs there"


def _check_order(database: sqlite3.Connection, columns: Columns, meta: Mapping[str, str]) -> None:
    """Raise :class:`DamagedError` if what goes on began after the file was last written.

    Sites may not be deeper than any stack that is looked at, either.
    """
    checkouts, requests, samples = columns.checkouts, columns.requests, columns.samples
    written = (int(meta.get("written_ns", 0)) - int(meta["monotonic_ns"])) // 1000
    is_lent = (checkouts.returned < 0) & (checkouts.gave_up < 0)
    is_under_way = requests.ended < 0
    responded = np.maximum(np.maximum(requests.responding, requests.responded), 0)
    begun: tuple[Numbers, ...] = (
        (checkouts.asked.astype(np.int64) + np.maximum(checkouts.granted, 0))[is_lent],
        (requests.started.astype(np.int64) + responded)[is_under_way],
        samples.started[samples.ended < 0],
    )
    if "written_ns" in meta and any(len(some) and some.max() > written for some in begun):
        raise DamagedError("something in it goes on that began after it was last written")
    depths: dict[int | None, int] = {None: 0}
    for number, caller in database.execute("SELECT id, caller_id FROM sites ORDER BY id"):
        depths[number] = depth = depths.get(caller, 0) + 1
        if depth > DEEPEST:
            raise DamagedError("sites are deeper than any stack")
