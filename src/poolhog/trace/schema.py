"""Whether a file has our schema, and describes its process as the recorder does."""

from __future__ import annotations

import functools
import json
import math
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolhog.layout import SCHEMA_VERSION
from poolhog.trace.damage import MOST_ID, MOST_US, DamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = Path(__file__).with_name("schema.sql")

_LATEST_WALL_NS = 253_370_764_800_000_000_000
"""The year 9999, the last that Python's clock can tell."""


def check_table(database: sqlite3.Connection, name: str) -> bool:
    """Whether there is such a table. Raises :class:`DamagedError` if it is none of ours.

    A view in the place of a table could take for ever.
    """
    found = [_key(row) for row in database.execute(f"{_OBJECTS} WHERE name = ?", [name])]
    if found and not expected_schema(SCHEMA_VERSION).issuperset(found):
        raise DamagedError(f"its {name} is not what poolhog makes")
    return bool(found)


def check_schema(database: sqlite3.Connection, version: int) -> None:
    """Raise :class:`DamagedError` unless the file has our tables, views and indexes, and no others.

    A view could take for ever, a trigger or an index lie.
    """
    found = {_key(row) for row in database.execute(_OBJECTS)}
    expected = expected_schema(version)
    for _, name, *_ in sorted(expected - found):
        raise DamagedError(f"its {name} is not what poolhog makes")
    if found != expected:
        raise DamagedError("it holds more than what poolhog makes")


def check_meta(meta: Mapping[Any, Any]) -> None:
    """Raise :class:`DamagedError` if the process's description of itself is not one."""
    for key, value in meta.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise DamagedError("meta holds what is no text")
    for key, (least, most) in _META_NUMBERS.items():
        if key in meta and not (_NUMBER.fullmatch(meta[key]) and least <= int(meta[key]) <= most):
            raise DamagedError(f"meta.{key} is out of range")
    for key in meta:
        if key.startswith("pool.") and not _is_origin(meta[key]):
            raise DamagedError(f"meta.{key} is not what belongs there")
    interval = float(meta["sampling_interval_s"])
    if not (math.isfinite(interval) and interval >= 0):
        raise DamagedError("meta.sampling_interval_s is no time")
    argv, versions = json.loads(meta["argv"]), json.loads(meta["versions"])
    if not (isinstance(argv, list) and all(isinstance(word, str) for word in argv)):
        raise DamagedError("meta.argv is no list of texts")
    if not (isinstance(versions, dict) and all(isinstance(v, str) for v in versions.values())):
        raise DamagedError("meta.versions are no texts")
    unrecorded = json.loads(meta.get("unrecorded", "[]"))
    if not (isinstance(unrecorded, list) and all(isinstance(pool, str) for pool in unrecorded)):
        raise DamagedError("meta.unrecorded is no list of texts")


def _is_origin(text: str) -> bool:
    """Whether it says where a pool is from: a few numbers by name."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(
        name in ("made_at", "database", "inherited")
        and type(number) is int
        and 0 <= number <= MOST_ID
        for name, number in found.items()
    )


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
def expected_schema(version: int) -> frozenset[tuple[str, ...]]:
    """The objects of a schema of this version."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA.read_text(encoding="utf-8"))
        found = [_key(row) for row in database.execute(_OBJECTS)]
    return frozenset(key for key in found if version >= _SINCE.get(key[2], 0))


_SINCE = {"packed_lock_waits": 3, "lock_waits": 3}
"""Tables and views that older schemas are without, with their indexes."""
