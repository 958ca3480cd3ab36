"""A process's file as columns: the rows of its large tables as NumPy arrays, checked as they come.

SQLite hands out each column of some thousand rows as one text, which is five times as fast as row
by row. Numbers come as a JSON array, which says of what type each is. What a column may hold is
checked on all rows at once; what is not as the recorder writes it raises :class:`DamagedError`.
"""

# ruff: noqa: S608 - the parts of every query are constants of this module

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import numpy as np

from poolhog.checksum import PRIME, WEIGHTS
from poolhog.model import Activity, Cause, OperationKind, Outcome, SharingKind
from poolhog.trace.damage import LONGEST, MOST_ID, MOST_US, DamagedError
from poolhog.trace.packed import NEWLINE, NULL, Numbers, numbers_of, unpacked
from poolhog.trace.tables import (
    Checkouts,
    Columns,
    LockWaits,
    Operations,
    Requests,
    Samples,
    Sent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_BATCH = 20_000


Table = TypeVar("Table", Checkouts, Requests, Samples, LockWaits)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A table: its texts, which numbers are instants, and what else may not be ``NULL``.

    Only instants may be negative.
    """

    name: str
    columns: tuple[str, ...]
    texts: tuple[str, ...] = ()
    instants: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


_CHECKOUTS = _Layout(
    "packed_checkouts",
    (
        *("id", "pool_id", "request_id", "owner", "connection", "site_id", "outcome", "asked"),
        *("granted", "gave_up", "returned", "connecting", "pinging", "busy", "operations"),
    ),
    texts=("owner", "operations"),
    instants=("asked",),
    needed=("id", "pool_id", "owner", "outcome"),
)
_REQUESTS = _Layout(
    "packed_requests",
    (
        *("id", "kind", "method", "route", "path", "status", "error"),
        *("started", "responding", "responded", "ended", "stages"),
    ),
    texts=("path", "stages"),
    instants=("started",),
    needed=("id", "kind", "method", "path"),
)
_SAMPLES = _Layout(
    "packed_samples",
    ("id", "checkout_id", "activity", "site_id", "started", "ended"),
    instants=("started",),
    needed=("id", "checkout_id", "activity"),
)


_LOCK_WAITS = _Layout(
    "packed_lock_waits",
    ("id", "checkout_id", "blocker_id", "session", "started", "ended"),
    instants=("started",),
    needed=("id", "checkout_id"),
)


def read_columns(database: sqlite3.Connection) -> Columns:
    """Read all large tables. Raises :class:`DamagedError` if a row is not what is written there."""
    known = _Known(database)
    checkouts, first = _read(database, _CHECKOUTS, Checkouts, known)
    requests, second = _read(database, _REQUESTS, Requests, known)
    samples, third = _read(database, _SAMPLES, Samples, known)
    lock_waits, fourth = NO_LOCK_WAITS, 0
    if has_lock_waits(database):
        lock_waits, fourth = _read(database, _LOCK_WAITS, LockWaits, known)
    fifth = _check_earlier(database, known)
    known.check(checkouts, requests, samples, lock_waits)
    total = first + second + third + fourth + fifth
    sent, failed = known.sent(), known.failed()
    return Columns(checkouts, requests, samples, lock_waits, sent, failed, total)


def has_lock_waits(database: sqlite3.Connection) -> bool:
    """Whether the file's schema has a table for waits for locks: the older ones do not."""
    query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'packed_lock_waits')"
    (found,) = database.execute(query).fetchone()
    return bool(found)


NO_LOCK_WAITS = LockWaits(*[np.array([], np.int64)] * 6)


def read_operations(database: sqlite3.Connection, ids: Iterable[int]) -> Iterator[Operations]:
    """The operations of the checkouts with these ids, some thousand checkouts at a time.

    Those of one checkout are in one of the parts, in order.
    """
    wanted = list(ids)
    (has_earlier,) = database.execute("SELECT EXISTS (SELECT 1 FROM packed_operations)").fetchone()
    query = _PACKED_IN_PARTS if has_earlier else _PACKED
    for first in range(0, len(wanted), _BATCH):
        chosen = json.dumps(wanted[first : first + _BATCH])
        rows = database.execute(query, {"ids": chosen}).fetchall()
        if rows:
            yield _operations([row[0] for row in rows], [row[1].encode() for row in rows])


_PACKED = """
    SELECT id, operations FROM packed_checkouts
    WHERE id IN (SELECT value FROM json_each(:ids)) AND operations NOT NULL
"""
_PACKED_IN_PARTS = """
    SELECT id, operations FROM (
        SELECT checkout_id AS id, number, operations FROM packed_operations
        WHERE checkout_id IN (SELECT value FROM json_each(:ids))
        UNION ALL SELECT id, 9223372036854775807, operations FROM packed_checkouts
        WHERE id IN (SELECT value FROM json_each(:ids)) AND operations NOT NULL
    ) ORDER BY id, number
"""


def _operations(ids: Sequence[int], packed: Sequence[bytes]) -> Operations:
    counts, found = unpacked(packed, len(Operations._fields) - 1, least=2)
    return Operations(np.repeat(np.array(ids, np.int64), counts), *found)


class _Known:
    """What texts and pools there are, so that rows can only name these."""

    def __init__(self, database: sqlite3.Connection) -> None:
        texts = dict(database.execute("SELECT id, text FROM texts"))
        self._texts = _sorted(texts)
        self._sent: list[tuple[Numbers, ...]] = []
        self._failed: list[Numbers] = []
        self._pools = _sorted(row[0] for row in database.execute("SELECT id FROM pools"))
        self._of = {
            kind: _sorted(number for number, text in texts.items() if text in frozenset(kind))
            for kind in (Outcome, OperationKind, Cause)
        }
        seen = (*Activity, *SharingKind)
        self._seen = _sorted(number for number, text in texts.items() if text in seen)

    def check(
        self, checkouts: Checkouts, requests: Requests, samples: Samples, lock_waits: LockWaits
    ) -> None:
        """Raise :class:`DamagedError` if a row names what is not there, or contradicts itself."""
        for table, column, numbers, known in (
            ("packed_checkouts", "pool_id", checkouts.pool_id, self._pools),
            ("packed_checkouts", "outcome", checkouts.outcome, self._of[Outcome]),
            ("packed_requests", "kind", requests.kind, self._texts),
            ("packed_requests", "method", requests.method, self._texts),
            ("packed_requests", "route", requests.route, self._texts),
            ("packed_requests", "error", requests.error, self._texts),
            ("packed_samples", "activity", samples.activity, self._seen),
            ("packed_lock_waits", "session", lock_waits.session, self._texts),
        ):
            if not _names(numbers, known):
                raise _broken(table, column)
        has_given_up = checkouts.gave_up >= 0
        if (has_given_up & ((checkouts.granted >= 0) | (checkouts.returned >= 0))).any():
            raise _broken("packed_checkouts", "gave_up")
        if ((checkouts.returned >= 0) & (checkouts.returned < checkouts.granted)).any():
            raise _broken("packed_checkouts", "returned")

    def sent(self) -> Sent:
        """What was sent, as far as it came by."""
        if not self._sent:
            return Sent(*[np.array([], np.int64)] * 3)
        return Sent(*(np.concatenate(column) for column in zip(*self._sent, strict=True)))

    def failed(self) -> Numbers:
        """The checkouts of the operations that an exception ended, as far as they came by."""
        return np.concatenate([np.array([], np.int64), *self._failed])

    def check_packed(self, table: str, column: str, texts: Sequence[bytes], ids: Numbers) -> None:
        """Check the packed operations or stages of rows with these ids.

        Raises :class:`DamagedError` if they cannot be unpacked, or name what is not there.
        """
        sets: tuple[Numbers | None, ...]
        if column == "operations":
            counts, found = unpacked(texts, 7, least=2)
            sent = np.repeat(ids, counts), found[0], found[4]
            self._sent.append(tuple(map(_compact, sent)))
            self._failed.append(sent[0][found[5] != NULL])
            kinds, causes = self._of[OperationKind], self._of[Cause]
            sets = (kinds, None, None, None, self._texts, self._texts, causes)
        elif column == "stages":
            _, found = unpacked(texts, 4, least=3)
            sets = (self._texts, None, None, None)
        else:
            return  # a text that is no JSON
        for place, known in enumerate(sets):
            if known is not None and not _names(found[place], known):
                raise DamagedError(f"{table}: {column} name what is not there")


def _names(numbers: Numbers, known: Numbers) -> bool:
    """Whether each of the numbers is ``NULL`` or one of those that are known."""
    found = numbers[numbers != NULL]
    if not len(found):
        return True
    if not len(known) or found.min() < 0 or found.max() > known[-1]:
        return False
    if known[-1] > _MOST_LISTED:
        return bool((known[np.searchsorted(known, found)] == found).all())
    is_known = np.zeros(known[-1] + 1, bool)
    is_known[known] = True
    return bool(is_known[found].all())


_MOST_LISTED = 10_000_000


def _compact(numbers: Numbers) -> Numbers:
    """The numbers in half the memory, if they are small enough."""
    is_small = not len(numbers) or (numbers.min() >= -(2**31) and numbers.max() < 2**31)
    return numbers.astype(np.int32) if is_small else numbers


def _sorted(numbers: Iterable[int]) -> Numbers:
    return np.array(sorted(numbers), np.int64)


def _read(
    database: sqlite3.Connection, layout: _Layout, table: type[Table], known: _Known
) -> tuple[Table, int]:
    """A table's columns of numbers, and the sum of its rows' checksums (``row_checksum``)."""
    names = [field.name for field in fields(table)]
    parts: list[Mapping[str, Numbers]] = []
    checksum = 0
    for window in _windows(database, layout, names):
        numbers = {name: _column(layout, name, window) for name in names}
        parts.append({name: _compact(column) for name, column in numbers.items()})
        checksums = np.zeros(window["rows"], np.int64)
        for weight, name in zip(WEIGHTS, layout.columns, strict=False):
            if name in numbers:
                checksums += weight * numbers[name]
                continue
            values = _texts(database, layout, name, window)
            is_given = np.fromiter(map(bool, values), bool, len(values))
            if name not in layout.needed:
                checksums -= weight * ~is_given
            given = list(compress(values, is_given))
            checksum += weight * sum(map(crc32, given))
            if given:
                known.check_packed(layout.name, name, given, numbers["id"][is_given])
        checksum += int((checksums % PRIME).sum())
    return table(*(_joined([part[name] for part in parts]) for name in names)), checksum


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return np.concatenate(parts) if parts else np.array([], np.int64)


_Window = Mapping[str, Any]
"""What SQLite says of some thousand rows: ``rows``, the ids ``after`` and ``until``, by column the
joined values, and of texts (``most …``, ``count …``) what tells whether all are of one type."""


def _windows(
    database: sqlite3.Connection, layout: _Layout, names: Sequence[str]
) -> Iterator[_Window]:
    """The rows of a table, in order of their ids, some thousand at a time."""
    parts = {"rows": "count(*)", "after": ":after", "until": "max(id)"}
    parts |= {name: f"json_group_array({name})" for name in names}
    for name in layout.texts:
        parts[name] = f"group_concat(coalesce({name}, ''), char(10))"
        parts |= {f"most {name}": f"max({name})", f"count {name}": f"count({name})"}
    where = f"FROM {layout.name} WHERE id > :after"
    query = f"SELECT {', '.join(parts.values())} {where} AND id <= :until"
    end = f"SELECT id {where} ORDER BY id LIMIT 1 OFFSET :rows - 1"
    after, rows = -(2**63), _BATCH
    while True:
        last = database.execute(end, {"after": after, "rows": rows}).fetchone()
        until = last[0] if last is not None else 2**63 - 1
        try:
            found = database.execute(query, {"after": after, "until": until}).fetchone()
        except sqlite3.DataError:  # a text that is longer than SQLite may make
            if rows == 1:
                raise
            rows = max(rows // 8, 1)
            continue
        window = dict(zip(parts, found, strict=True))
        if not window["rows"]:
            return
        yield window
        after = window["until"]


def _column(layout: _Layout, name: str, window: _Window) -> Numbers:
    """A column of numbers."""
    nulls = window[name].count("null")
    found = numbers_of(window[name][1:-1].replace("null", str(NULL)), window["rows"])
    most = MOST_ID if name.endswith("id") else _MOST.get(name, MOST_US)
    least = -MOST_US if name in layout.instants else NULL if nulls else 0
    is_needed = name in (*layout.needed, *layout.instants)
    is_signed = name not in layout.instants and int((found == NULL).sum()) != nulls
    if (nulls and is_needed) or is_signed or found.min() < least or found.max() > most:
        raise _broken(layout.name, name)
    return found


_MOST = {"status": 2**31}


def _texts(
    database: sqlite3.Connection, layout: _Layout, name: str, window: _Window
) -> list[bytes]:
    """The texts of some rows, empty for ``NULL``; hardly ever are there line ends in them."""
    found: list[bytes] = window[name].encode().split(NEWLINE)
    if len(found) != window["rows"]:
        query = f"SELECT coalesce({name}, '') FROM {layout.name} WHERE id > :after AND id <= :until"
        found = [str(text).encode() for (text,) in database.execute(f"{query} ORDER BY id", window)]
    is_text = isinstance(window[f"most {name}"], str | None)
    given = len(found) if name in layout.needed else len(found) - found.count(b"")
    if not is_text or given != window[f"count {name}"]:
        raise _broken(layout.name, name)
    if len(window[name]) > LONGEST < max(map(len, found)):
        raise _broken(layout.name, name)
    return found


def _check_earlier(database: sqlite3.Connection, known: _Known) -> int:
    """The sum of the checksums of ``packed_operations``, whose rows are long and few."""
    checksum = 0
    rows = database.execute("SELECT checkout_id, number, operations FROM packed_operations")
    while batch := rows.fetchmany(200):
        numbers, texts = np.array([row[:2] for row in batch]), [row[2] for row in batch]
        is_sound = numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() <= MOST_ID
        if not is_sound or not all(isinstance(text, str) for text in texts):
            raise DamagedError("packed_operations holds what does not belong there")
        packed = [text.encode() for text in texts]
        known.check_packed("packed_operations", "operations", packed, numbers[:, 0])
        total = (numbers % PRIME) @ np.array(WEIGHTS[:2])
        checksum += int((total % PRIME).sum()) + WEIGHTS[2] * sum(map(crc32, packed))
    return checksum


def _broken(table: str, column: str) -> DamagedError:
    return DamagedError(f"{table}: {column} is not what belongs there")
