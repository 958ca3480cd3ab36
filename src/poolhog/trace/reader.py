"""Reads a trace: a directory of SQLite files, one per process, into one model.

``open_trace`` has all of it in memory. ``stream_trace`` hands out one checkout after the other, for
traces that are larger. Operations and stages are unpacked when they are looked at.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from poolhog.errors import TraceError
from poolhog.model import (
    Activity,
    Cause,
    Checkout,
    Operation,
    OperationKind,
    Outcome,
    Pool,
    Process,
    Request,
    Sample,
    Site,
    Stage,
    Trace,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    _Values = Sequence[Any] | Mapping[str, Any]

T = TypeVar("T")

SCHEMA_VERSION = 2
"""The schema that this reader knows."""

_BATCH = 5_000
"""Checkouts that are read at once, with what belongs to them."""

_CHECKOUTS = """
    SELECT c.*, r.* FROM (SELECT * FROM packed_checkouts {}) AS c
    LEFT JOIN packed_requests AS r ON r.id = c.request_id ORDER BY c.asked, c.id
"""
_CHECKOUT_COLUMNS = 15
_CACHE_KB = 65_536

_SAMPLED = "WHERE id IN (SELECT checkout_id FROM packed_samples)"
_OPEN = "WHERE returned IS NULL AND gave_up IS NULL"

_REQUESTS_KEPT = 50_000
"""Requests that a stream remembers: checkouts that follow one another share them."""


def open_trace(directory: str | os.PathLike[str]) -> Trace:
    """Read all that was recorded in ``directory``, also while it is being recorded.

    Raises :class:`poolhog.TraceError` if there is no trace, or one that cannot be read.
    """
    readers = stream_trace(directory)
    parts = [reader.read() for reader in readers]
    return Trace(
        processes=tuple(process for part in parts for process in part.processes),
        pools=tuple(pool for part in parts for pool in part.pools),
        requests=tuple(
            sorted((r for part in parts for r in part.requests), key=lambda r: r.started)
        ),
        checkouts=tuple(
            sorted((c for part in parts for c in part.checkouts), key=lambda c: c.asked)
        ),
        until=max(part.until for part in parts),
        clock_origin_ns=readers[0].origin_ns,
    )


def stream_trace(directory: str | os.PathLike[str]) -> tuple[ProcessReader, ...]:
    """A reader for each process that was recorded in ``directory``.

    Raises :class:`poolhog.TraceError` as ``open_trace`` does, here or while it is read.
    """
    files = sorted(Path(directory).glob("*.sqlite")) if Path(directory).is_dir() else []
    if not files:
        raise TraceError(f"no trace in {directory}: name a directory that a run was recorded into")
    began_ns = {file: began for file in files if (began := _began_ns(file)) is not None}
    if not began_ns:
        raise TraceError(
            f"the trace in {directory} is empty: its process ended before it recorded, or the file "
            "was copied without the -wal file beside it; copy both, or record again"
        )
    sites = _Sites()
    origin = min(began_ns.values())
    return tuple(ProcessReader(file, origin, sites) for file in began_ns)


def _began_ns(file: Path) -> int | None:
    """When the process was first recorded; ``None`` if it ended before it said anything."""
    with _reading(file) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchall():
            return None
        meta = _meta(database)
        version = int(meta["schema_version"])
        began_ns = int(meta["monotonic_ns"])
    if version < SCHEMA_VERSION:
        raise TraceError(
            f"{file} was written by an older poolhog ({meta.get('poolhog_version', 'unknown')}): "
            f"it has schema {version}, this one reads {SCHEMA_VERSION}; record again"
        )
    if version > SCHEMA_VERSION:
        raise TraceError(
            f"{file} was written by a newer poolhog ({meta.get('poolhog_version', 'unknown')}): "
            f"it has schema {version}, this one reads {SCHEMA_VERSION}; upgrade poolhog"
        )
    return began_ns


def _meta(database: sqlite3.Connection) -> dict[str, str]:
    """What the process said of itself."""
    return {str(key): str(value) for key, value in database.execute("SELECT * FROM meta")}


class _reading:  # noqa: N801 - a context manager used as a function
    """The open file; whatever is wrong with it becomes a :class:`TraceError`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        try:
            # Not "mode=ro": reading a crashed process's log needs its index to be rebuilt.
            self._database = sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=rw", uri=True)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return self._database

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error | KeyError | TypeError | ValueError):
            raise self._unreadable(error) from error

    def _unreadable(self, error: BaseException) -> TraceError:
        return TraceError(f"{self._file} is damaged or no poolhog trace ({error}); record again")


class ProcessReader:
    """Reads one process's file, ``file``, onto the run's clock."""

    def __init__(self, file: Path, origin_ns: int, sites: _Sites) -> None:
        self.origin_ns = origin_ns
        self.file = file
        with _reading(file) as database:
            meta = _meta(database)
            # Instants of the file count from here, in seconds on the run's clock.
            self._began = (int(meta["monotonic_ns"]) - origin_ns) / 1e9
            self.process = self._read_process(meta)
            self.pools = tuple(self._pools(database).values())
        self._sites = sites

    def read(self) -> Trace:
        """The process's part of the trace, all of it."""
        with _reading(self.file) as database:
            database.execute("BEGIN")  # one consistent state, while the process goes on
            self.process = self._read_process(_meta(database))
            unpack = self._unpacker(database)
            pools = self._pools(database)
            rows = database.execute("SELECT * FROM packed_requests ORDER BY started")
            requests = {row[0]: unpack.request(row) for row in rows}
            checkouts = tuple(self._checkouts(database, unpack, pools, requests))
        return Trace(
            processes=(self.process,),
            pools=tuple(pools.values()),
            requests=tuple(requests.values()),
            checkouts=checkouts,
            until=self.process.written,
            clock_origin_ns=self.origin_ns,
        )

    def read_open(self) -> Trace:
        """What was going on when the process last wrote: what waits or is open, and its requests.

        Takes as long as looking for these in its file, however much is in it.
        """
        with _reading(self.file) as database:
            database.execute("BEGIN")
            self.process = self._read_process(_meta(database))
            pools = self._pools(database)
            unpack = self._unpacker(database)
            checkouts = tuple(self._checkouts(database, unpack, pools, None, which=_OPEN))
        requests = {c.request.id: c.request for c in checkouts if c.request is not None}
        return Trace(
            processes=(self.process,),
            pools=tuple(pools.values()),
            requests=tuple(requests.values()),
            checkouts=checkouts,
            until=self.process.written,
            clock_origin_ns=self.origin_ns,
        )

    def checkouts(self, *, sampled: bool = False) -> Iterator[Checkout]:
        """The process's checkouts in the order of their asking, or only those with samples."""
        return self.select(_SAMPLED if sampled else "")

    def select(self, which: str, values: _Values = ()) -> Iterator[Checkout]:
        """The checkouts that a WHERE on ``packed_checkouts`` picks, in order of their asking."""
        with _reading(self.file) as database:
            database.execute("BEGIN")
            unpack = self._unpacker(database)
            pools = self._pools(database)
            yield from self._checkouts(database, unpack, pools, None, which=which, values=values)

    def select_requests(self, which: str, values: _Values = ()) -> Iterator[Request]:
        """The requests that a WHERE on ``packed_requests`` picks, in order of their start."""
        with _reading(self.file) as database:
            unpack = self._unpacker(database)
            query = f"SELECT * FROM packed_requests {which} ORDER BY started"  # noqa: S608
            yield from map(unpack.request, database.execute(query, values))

    def query(self, sql: str, values: _Values = ()) -> list[tuple[Any, ...]]:
        """The answer of the process's file to a question in SQL."""
        with _reading(self.file) as database:
            return database.execute(sql, values).fetchall()

    def request_counts(self) -> dict[str, int]:
        """How many requests of each name were recorded, with a checkout or without."""
        with _reading(self.file) as database:
            rows = database.execute(
                "SELECT trim(method || ' ' || coalesce(route, path)), count(*)"
                " FROM requests GROUP BY 1"
            )
            return dict(rows.fetchall())

    def _read_process(self, meta: dict[str, str]) -> Process:
        return Process(
            pid=int(meta["pid"]),
            parent_pid=int(meta["parent_pid"]),
            argv=tuple(json.loads(meta["argv"])),
            began=self._began,
            began_wall=int(meta["wall_ns"]) / 1e9,
            written=(int(meta.get("written_ns", meta["monotonic_ns"])) - self.origin_ns) / 1e9,
            finished=meta.get("finished") == "1",
            dropped=int(meta.get("dropped", 0)),
            errors=int(meta.get("errors", 0)),
            versions=json.loads(meta["versions"]),
            poolhog_version=meta["poolhog_version"],
            sampling_interval=float(meta["sampling_interval_s"]),
        )

    def _pools(self, database: sqlite3.Connection) -> dict[int, Pool]:
        return {
            key: Pool(f"{self.file.stem}.{key}", self.process, *values)
            for key, *values in database.execute("SELECT * FROM pools ORDER BY id")
        }

    def _unpacker(self, database: sqlite3.Connection) -> _Unpacker:
        texts = dict(database.execute("SELECT id, text FROM texts"))
        sites = self._sites.read(database)
        # Not the pid: it may be used again, and its file is then named after it all the same.
        outcomes = {key: Outcome(text) for key, text in texts.items() if text in _OUTCOMES}
        packed = _PackedTexts(texts)
        return _Unpacker(self.process, self.file.stem, self._began, texts, sites, packed, outcomes)

    def _checkouts(
        self,
        database: sqlite3.Connection,
        unpack: _Unpacker,
        pools: dict[int, Pool],
        every_request: dict[int, Request] | None,
        *,
        which: str = "",
        values: _Values = (),
    ) -> Iterator[Checkout]:
        """Checkouts in batches, and with each what belongs to it."""
        database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        rows = database.execute(_CHECKOUTS.format(which), values)
        requests = every_request if every_request is not None else {}
        while batch := list(islice(rows, _BATCH)):
            ids = [row[0] for row in batch]
            earlier = _grouped(_of(database, "packed_operations", "checkout_id", ids), key=0)
            samples = _grouped(_of(database, "packed_samples", "checkout_id", ids), key=1)
            if every_request is None and len(requests) > _REQUESTS_KEPT:
                requests = {}
            for row in batch:
                key = row[_CHECKOUT_COLUMNS]
                request = requests.get(key)
                if request is None and key is not None:
                    request = requests[key] = unpack.request(row[_CHECKOUT_COLUMNS:])
                yield unpack.checkout(
                    row[:_CHECKOUT_COLUMNS],
                    pools[row[1]],
                    request,
                    earlier.get(row[0], ()),
                    samples.get(row[0], ()),
                )


class _Sites:
    """The sites of a run: equal ones of several processes are the same object."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Site] = {}

    def read(self, database: sqlite3.Connection) -> dict[int, Site]:
        """The sites of a file by their numbers; callers have lower ones."""
        found: dict[int, Site] = {}
        for key, caller_id, *row in database.execute("SELECT * FROM sites ORDER BY id"):
            caller = found.get(caller_id)
            known = *row, id(caller)
            site = self._known.get(known)
            if site is None:
                file, line, function, source, is_application = row
                site = Site(file, line, function, source, bool(is_application), caller)
                self._known[known] = site
            found[key] = site
        return found


def _constructor(model: type[T]) -> Callable[..., T]:
    """Makes values of a frozen dataclass of all of its fields, five times as fast as its own.

    That has to go around the class's ban on assignments, field by field. This one fills an object
    with the same slots, which then becomes one of the class.
    """
    names = [field.name for field in fields(model)]  # type: ignore[arg-type]
    draft = make_dataclass(f"_{model.__name__}Draft", names, slots=True)

    def make(*values: Any) -> T:
        made: T = draft(*values)
        made.__class__ = model
        return made

    return make


_new_request = _constructor(Request)
_new_checkout = _constructor(Checkout)
_OUTCOMES = frozenset(Outcome)


@dataclass(frozen=True, slots=True)
class _Unpacker:
    """Makes the model's values of rows, whose instants count from ``began``."""

    process: Process
    prefix: str
    began: float
    texts: dict[int, str]
    sites: dict[int, Site]
    packed_texts: _PackedTexts
    outcomes: dict[int, Outcome]

    def request(self, row: Sequence[Any]) -> Request:
        key, kind, method, route, path, status, error, started, *later, stages = row
        responding, responded, ended = later
        at = self.began + started / 1e6
        texts = self.texts
        return _new_request(
            f"{self.prefix}.{key}",
            self.process,
            texts[kind],
            texts[method],
            texts.get(route),
            path,
            status,
            at,
            None if responding is None else at + responding / 1e6,
            None if responded is None else at + responded / 1e6,
            None if ended is None else at + ended / 1e6,
            _Unpacked((stages,), lambda stage: self._stage(stage, at)) if stages else (),
            texts.get(error),
        )

    def checkout(
        self,
        row: Sequence[Any],
        pool: Pool,
        request: Request | None,
        earlier: Sequence[Sequence[Any]],
        samples: Sequence[Sequence[Any]],
    ) -> Checkout:
        key, _, _, owner, connection, site, outcome, asked, *rest = row
        granted, gave_up, returned, connecting, pinging, busy, operations = rest
        at = self.began + asked / 1e6
        packed = (*(part[2] for part in earlier), operations) if earlier else (operations or "[]",)
        return _new_checkout(
            f"{self.prefix}.{key}",
            pool,
            request,
            owner,
            connection,
            at,
            None if granted is None else at + granted / 1e6,
            None if gave_up is None else at + gave_up / 1e6,
            None if returned is None else at + returned / 1e6,
            self.outcomes[outcome],
            PackedOperations(
                packed, lambda operation: self._operation(operation, at), self.packed_texts
            ),
            tuple(map(self._sample, samples)) if samples else (),
            self.sites.get(site),
            (connecting or 0) / 1e6,
            (pinging or 0) / 1e6,
            (busy or 0) / 1e6,
        )

    def _stage(self, stage: Sequence[Any], request_started: float) -> Stage:
        name, since, duration = stage
        started = request_started + since / 1e6
        return Stage(self.texts[name], started, _later(started, duration))

    def _operation(self, operation: Sequence[Any], asked: float) -> Operation:
        kind, since, duration, site, statement, error, cause = (*operation, *_NOTHING)[:7]
        started = asked + since / 1e6
        return Operation(
            kind=OperationKind(self.texts[kind]),
            started=started,
            ended=_later(started, duration),
            statement=self.texts.get(statement),
            error=self.texts.get(error),
            site=self.sites.get(site),
            cause=None if cause is None else Cause(self.texts[cause]),
        )

    def _sample(self, row: Sequence[Any]) -> Sample:
        _, _, activity, site, since, duration = row
        started = self.began + since / 1e6
        return Sample(
            activity=Activity(self.texts[activity]),
            started=started,
            ended=_later(started, duration),
            site=self.sites.get(site),
        )


_NOTHING = (None,) * 7


class _Unpacked(Sequence[T]):
    """Values that are made of JSON texts when they are first looked at."""

    __slots__ = ("_make", "_packed", "_values")

    def __init__(self, packed: tuple[str, ...], make: Callable[[Sequence[Any]], T]) -> None:
        self._packed = packed
        self._make = make
        self._values: tuple[T, ...] | None = None

    @property
    def _all(self) -> tuple[T, ...]:
        if self._values is None:
            self._values = tuple(
                self._make(part) for text in self._packed for part in json.loads(text)
            )
        return self._values

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[T]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all)

    def __repr__(self) -> str:
        return repr(self._all)


class _PackedTexts:
    """Finds kinds and statements of a file's operations in their JSON texts."""

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts
        numbers = {text: number for number, text in texts.items()}
        known = {kind: numbers[kind] for kind in OperationKind if kind in numbers}
        self._marks = {kind: f"[{number}," for kind, number in known.items()}
        self._sent = {kind: re.compile(_SENT.format(number)) for kind, number in known.items()}
        self._tested: dict[
            tuple[OperationKind, Callable[[str], bool]],
            tuple[re.Pattern[str], frozenset[str]] | None,
        ] = {}

    def mark(self, kind: OperationKind) -> str | None:
        """What stands in the JSON of every checkout that has such an operation, if any has."""
        return self._marks.get(kind)

    def tested(
        self, kind: OperationKind, test: Callable[[str], bool]
    ) -> tuple[re.Pattern[str], frozenset[str]] | None:
        """What finds the statements of a kind, and those that pass a test, if there are any."""
        key = kind, test
        if key not in self._tested:
            passing = frozenset(str(n) for n, text in self._texts.items() if test(text))
            pattern = self._sent.get(kind)
            self._tested[key] = (pattern, passing) if pattern is not None and passing else None
        return self._tested[key]


# Kind, start, duration, site, statement.
_SENT = r"\[{},-?\d+,(?:-?\d+|null),(?:\d+|null),(\d+)"


class PackedOperations(_Unpacked[Operation]):
    """The operations of a checkout, of which some can be known without unpacking them."""

    __slots__ = ("_texts",)

    def __init__(
        self,
        packed: tuple[str, ...],
        make: Callable[[Sequence[Any]], Operation],
        texts: _PackedTexts,
    ) -> None:
        # Not by way of super(): there is one for each checkout.
        self._packed = packed
        self._make = make
        self._values = None
        self._texts = texts

    def has(self, kind: OperationKind) -> bool:
        """Whether there may be an operation of this kind; if not, there is none."""
        mark = self._texts.mark(kind)
        return mark is not None and any(mark in packed for packed in self._packed)

    def has_sent(self, kind: OperationKind, test: Callable[[str], bool]) -> bool:
        """Whether an operation of this kind has a statement that passes the test.

        A test is asked once for each text of the file.
        """
        tested = self._texts.tested(kind, test)
        if tested is None:
            return False
        pattern, passing = tested
        for packed in self._packed:  # noqa: SIM110 - a generator is half of the work
            if not passing.isdisjoint(pattern.findall(packed)):
                return True
        return False


def _later(start: float, since_us: int | None) -> float | None:
    return None if since_us is None else start + since_us / 1e6


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
