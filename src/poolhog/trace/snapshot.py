"""One consistent state of a process's file: its columns, and its checkouts and requests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poolhog.layout import CheckoutRow
from poolhog.model import Pool, Process
from poolhog.texts import visible
from poolhog.trace.files import readable
from poolhog.trace.missing import Missing, missing_of
from poolhog.trace.unpacking import Unpacker

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from poolhog.model import Checkout, Request, Site
    from poolhog.trace.tables import Columns, Operations
    from poolhog.trace.unpacking import SharedSites

    Values = Sequence[Any] | Mapping[str, Any]


_NUMBERED = "WHERE id IN (SELECT value FROM json_each(?))"
_BATCH = 5_000
"""Checkouts that are read at once, with what belongs to them."""

_CHECKOUTS = """
    SELECT c.*, r.* FROM (SELECT * FROM packed_checkouts {}) AS c
    LEFT JOIN packed_requests AS r ON r.id = c.request_id ORDER BY c.asked, c.id
"""
_CHECKOUT_COLUMNS = len(CheckoutRow._fields)
_WITH_LOCK_WAITS = 3
"""The first schema that has them."""

_CACHE_KB = 65_536

_REQUEST_COUNTS = """
    SELECT method, route, CASE WHEN coalesce(route, :empty) = :empty THEN path END, count(*)
    FROM packed_requests GROUP BY 1, 2, 3
"""

_REQUESTS_KEPT = 50_000
"""Requests that a stream remembers: checkouts that follow one another share them."""


Rows = tuple[Sequence[Any], ...]
"""A checkout's row with its request's, and those of its operations, samples and waits for locks."""


class Snapshot:
    """One consistent state of a process's file.

    What an earlier one has unpacked is not read again, if that ``unpack`` is given.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        file: Path,
        origin_ns: int,
        sites: SharedSites,
        columns: Columns | None = None,
        unpack: Unpacker | None = None,
    ) -> None:
        database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        # Before the state is taken: what was missing then, and is committed since, is not missing.
        missing = missing_of(file)
        database.execute("BEGIN")
        self._database = database
        self._file = file
        self._columns = columns
        meta = meta_of(database)
        self.has_lock_waits = int(meta["schema_version"]) >= _WITH_LOCK_WAITS
        self.process = process_of(meta, origin_ns, missing)
        if unpack is None:
            unpack = Unpacker(database, self.process, name_of(file), sites)
        else:
            unpack.process = self.process
            unpack.learn(database)
        self.unpack = unpack
        self.pools = pools_of(database, file, self.process, meta, self.unpack.sites)

    def check(self) -> Columns:
        """Read all of the file, and raise :class:`poolhog.TraceError` if it is damaged."""
        # NumPy takes as long to import as all else that a short answer needs.
        from poolhog.trace.check import check_rows

        with readable(self._file):
            self._columns = check_rows(self._database)
            return self._columns

    def columns(self) -> Columns:
        """The large tables as columns; a file that nobody changes is read once."""
        if self._columns is None:
            from poolhog.trace.columns import read_columns

            with readable(self._file):
                self._columns = read_columns(self._database)
        return self._columns

    def operations(self, ids: Iterable[int]) -> Iterator[Operations]:
        """The operations of the checkouts with these ids, as columns, part by part."""
        from poolhog.trace.columns import read_operations

        with readable(self._file):
            yield from read_operations(self._database, ids)

    @property
    def texts(self) -> Mapping[int, str]:
        """The texts that columns name."""
        return self.unpack.texts

    @property
    def statements(self) -> Mapping[int, str]:
        """The texts that operations sent, with their line ends."""
        return self.unpack.statements

    @property
    def sites(self) -> Mapping[int | None, Site]:
        """The sites that columns name; one that is not there was not written."""
        return self.unpack.sites

    def paths(self) -> dict[int, str]:
        """The paths of requests without a route, by the requests' numbers."""
        query = "SELECT id, path FROM packed_requests WHERE coalesce(route, :empty) = :empty"
        rows = self.query(query, {"empty": self.unpack.number_of("")})
        return {number: visible(path) for number, path in rows}

    def owners(self, numbers: Iterable[int]) -> dict[int, str]:
        """The owners of the checkouts with these numbers."""
        query = f"SELECT id, owner FROM packed_checkouts {_NUMBERED}"  # noqa: S608
        rows = self.query(query, (json.dumps(list(numbers)),))
        return {number: visible(owner) for number, owner in rows}

    def requests(self, which: str = "", values: Values = ()) -> dict[int, Request]:
        """The requests that a WHERE on ``packed_requests`` picks, in order of their start."""
        return dict(self._numbered_requests(which, values))

    def each_request(self, which: str = "", values: Values = ()) -> Iterator[Request]:
        """The same, of which none is kept."""
        return (request for _, request in self._numbered_requests(which, values))

    def checkouts(
        self,
        which: str = "",
        values: Values = (),
        requests: dict[int, Request] | None = None,
    ) -> Iterator[Checkout]:
        """The checkouts that a WHERE on ``packed_checkouts`` picks, in order of their asking.

        Their requests are those that are given, if there are any.
        """
        known = requests if requests is not None else {}
        with readable(self._file):
            rows = self._database.execute(_CHECKOUTS.format(which), values)
            while batch := rows.fetchmany(_BATCH):
                if requests is None and len(known) > _REQUESTS_KEPT:
                    known = {}
                yield from self._unpacked(batch, known)

    def changed(
        self, which: str, values: Values, known: Mapping[int, tuple[Rows, Checkout]]
    ) -> dict[int, tuple[Rows, Checkout]]:
        """The checkouts that a WHERE picks, by their numbers, with their rows.

        Those that are ``known``, and have the same rows still, are handed back as they are.
        """
        found = {}
        with readable(self._file):
            batch = self._database.execute(_CHECKOUTS.format(which), values).fetchall()
            for rows in self._rows(batch):
                number = rows[0][0]
                before = known.get(number)
                if before is not None and before[0] == rows:
                    found[number] = before
                else:
                    found[number] = rows, self._checkout(rows, {})
        return found

    def numbered(self, numbers: Iterable[int]) -> Iterator[Checkout]:
        """The checkouts with these numbers, in order of their asking."""
        return self.checkouts(_NUMBERED, (json.dumps(list(numbers)),))

    def checkout(self, number: int) -> Checkout:
        """The checkout with this number, which is in the file."""
        return next(self.numbered([number]))

    def request_counts(self) -> dict[str, int]:
        """How many requests of each name were recorded, with a checkout or without."""
        values = {"empty": self.unpack.number_of("")}
        counts: Counter[str] = Counter()
        with readable(self._file):
            for method, route, path, number in self._database.execute(_REQUEST_COUNTS, values):
                counts[self.unpack.request_name(method, route, path)] += number
        return counts

    def query(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """The answer to a question in SQL."""
        with readable(self._file):
            return self._database.execute(sql, values).fetchall()

    def _numbered_requests(self, which: str, values: Values) -> Iterator[tuple[int, Request]]:
        query = f"SELECT * FROM packed_requests {which} ORDER BY started"  # noqa: S608
        with readable(self._file):
            for row in self._database.execute(query, values):
                yield row[0], self.unpack.request(row)

    def _unpacked(
        self, batch: Sequence[Sequence[Any]], requests: dict[int, Request]
    ) -> Iterator[Checkout]:
        """Checkouts of joined rows; requests that are not known yet become so."""
        return (self._checkout(rows, requests) for rows in self._rows(batch))

    def _rows(self, batch: Sequence[Sequence[Any]]) -> Iterator[Rows]:
        """Joined rows of checkouts and requests, each with those of other tables."""
        ids = [row[0] for row in batch]
        earlier = _grouped(_of(self._database, "packed_operations", "checkout_id", ids), key=0)
        samples = _grouped(_of(self._database, "packed_samples", "checkout_id", ids), key=1)
        lock_waits: dict[int, list[Sequence[Any]]] = {}
        if self.has_lock_waits:
            lock_waits = _grouped(
                _of(self._database, "packed_lock_waits", "checkout_id", ids), key=1
            )
        for row in batch:
            key = row[0]
            yield row, earlier.get(key, ()), samples.get(key, ()), lock_waits.get(key, ())

    def _checkout(self, rows: Rows, requests: dict[int, Request]) -> Checkout:
        row, *others = rows
        key = row[_CHECKOUT_COLUMNS]
        request = requests.get(key)
        if request is None and key is not None:
            request = requests[key] = self.unpack.request(row[_CHECKOUT_COLUMNS:])
        own = row[:_CHECKOUT_COLUMNS]
        return self.unpack.checkout(own, self.pools[row[1]], request, *others)


def meta_of(database: sqlite3.Connection) -> dict[str, str]:
    """What the process said of itself, as it is in its file."""
    return {str(key): str(value) for key, value in database.execute("SELECT * FROM meta")}


def process_of(meta: dict[str, str], origin_ns: int, missing: Missing | None) -> Process:
    """What the process said of itself and of what it could not write.

    Its instants are on the clock of a run that began then.
    """
    began_ns = int(meta["monotonic_ns"])
    written_ns = int(meta.get("written_ns", began_ns))
    # In whole microseconds, as all that the process recorded, and not before any of it.
    recorded_us = -((began_ns - written_ns) // 1_000)
    finished = meta.get("finished") == "1"
    lost = _missing(meta, missing, written_ns, finished=finished)
    # A process may have said so, and gone on.
    is_cut_off = lost is not None and lost is missing
    return Process(
        pid=int(meta["pid"]),
        parent_pid=int(meta["parent_pid"]),
        argv=tuple(map(visible, json.loads(meta["argv"]))),
        began=(began_ns - origin_ns) / 1e9,
        began_wall=int(meta["wall_ns"]) / 1e9,
        written=(began_ns - origin_ns + recorded_us * 1_000) / 1e9,
        finished=finished and not is_cut_off,
        dropped=int(meta.get("dropped", 0)),
        errors=int(meta.get("errors", 0)),
        versions={visible(k): visible(v) for k, v in json.loads(meta["versions"]).items()},
        poolhog_version=visible(meta["poolhog_version"]),
        sampling_interval=float(meta["sampling_interval_s"]),
        lock_watch=visible(meta["lock_watch"]) if meta.get("lock_watch") else None,
        missing_checkouts=lost.checkouts if lost is not None else 0,
        missing_facts=lost.facts if lost is not None else 0,
        missing_reason=lost.reason if lost is not None else None,
        unrecorded=tuple(map(visible, json.loads(meta.get("unrecorded", "[]")))),
    )


def _missing(
    meta: dict[str, str], marker: Missing | None, written_ns: int, *, finished: bool
) -> Missing | None:
    """What is not in the file: the marker says it, unless a later commit knows better."""
    if marker is not None:
        at_ns = marker.at_ns
        if (at_ns is None and not finished) or (at_ns is not None and at_ns > written_ns):
            return marker
    dropped = int(meta.get("dropped_checkouts", 0))
    return Missing(dropped, 0, "buffer full", None) if dropped else None


def pools_of(
    database: sqlite3.Connection,
    file: Path,
    process: Process,
    meta: Mapping[str, str] = {},
    sites: Mapping[int | None, Site] = {},
) -> dict[int, Pool]:
    """The pools of the process, by their numbers in its file; ``meta`` says where they are from."""
    prefix = name_of(file)
    found = {}
    for key, *names, size, overflow, timeout in database.execute("SELECT * FROM pools ORDER BY id"):
        library, kind, name = map(visible, names)
        origin = json.loads(meta.get(f"pool.{key}", "{}"))
        found[key] = Pool(
            *(f"{prefix}.{key}", process, library, kind, name, size, overflow, timeout),
            made_at=sites.get(origin.get("made_at")),
            database=origin.get("database"),
            inherited=origin.get("inherited", 0),
        )
    return found


def name_of(file: Path) -> str:
    """What the ids of a file's rows begin with."""
    return visible(file.stem)


def _of(
    database: sqlite3.Connection, table: str, column: str, keys: Iterable[int]
) -> Iterator[Sequence[Any]]:
    """The rows of a table whose column is one of the keys, in order of their ids."""
    return database.execute(
        f"SELECT * FROM {table} WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY 1, 2",  # noqa: S608
        [json.dumps(list(keys))],
    )


def _grouped(rows: Iterable[Sequence[Any]], key: int) -> dict[int, list[Sequence[Any]]]:
    found: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found
