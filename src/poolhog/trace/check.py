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

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from poolhog.checksum import KEY, MODULUS, PRIME, WEIGHTS, row_checksum
from poolhog.layout import TABLES
from poolhog.trace.columns import read_columns
from poolhog.trace.damage import LONGEST, MOST_ID, MOST_US, DamagedError
from poolhog.trace.schema import check_meta

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.trace.packed import Numbers
    from poolhog.trace.tables import Columns

DEEPEST = 1_000
"""Sites above one another; the recorder looks at a fifth."""


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
    waits = columns.lock_waits
    written = (int(meta.get("written_ns", 0)) - int(meta["monotonic_ns"])) // 1000
    is_lent = (checkouts.returned < 0) & (checkouts.gave_up < 0)
    is_under_way = requests.ended < 0
    responded = np.maximum(np.maximum(requests.responding, requests.responded), 0)
    begun: tuple[Numbers, ...] = (
        (checkouts.asked.astype(np.int64) + np.maximum(checkouts.granted, 0))[is_lent],
        (requests.started.astype(np.int64) + responded)[is_under_way],
        samples.started[samples.ended < 0],
        waits.started[waits.ended < 0],
    )
    if "written_ns" in meta and any(len(some) and some.max() > written for some in begun):
        raise DamagedError("something in it goes on that began after it was last written")
    depths: dict[int | None, int] = {None: 0}
    for number, caller in database.execute("SELECT id, caller_id FROM sites ORDER BY id"):
        depths[number] = depth = depths.get(caller, 0) + 1
        if depth > DEEPEST:
            raise DamagedError("sites are deeper than any stack")
