"""Reads a trace: a directory of SQLite files, one per process, into one model."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolhog.errors import TraceError
from poolhog.model import (
    Checkout,
    Operation,
    OperationKind,
    Outcome,
    Pool,
    Process,
    Request,
    Stage,
    Trace,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

SCHEMA_VERSION = 1
"""The newest schema that this reader knows."""


def open_trace(directory: str | os.PathLike[str]) -> Trace:
    """Read all that was recorded in ``directory``, also while it is being recorded.

    Raises :class:`poolhog.TraceError` if there is no trace, or one that cannot be read.
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
    origin = min(began_ns.values())
    parts = [_ProcessReader(file, origin).read() for file in began_ns]
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
        clock_origin_ns=origin,
    )


def _began_ns(file: Path) -> int | None:
    """When the process was first recorded; ``None`` if it ended before it said anything."""
    with _reading(file) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchall():
            return None
        meta = _meta(database)
        version = int(meta["schema_version"])
        began_ns = int(meta["monotonic_ns"])
    if version > SCHEMA_VERSION:
        raise TraceError(
            f"{file} was written by a newer poolhog ({meta.get('poolhog_version', 'unknown')}): "
            f"it has schema {version}, this one reads up to {SCHEMA_VERSION}; upgrade poolhog"
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


class _ProcessReader:
    """Reads one process's file onto the run's clock."""

    def __init__(self, file: Path, origin_ns: int) -> None:
        self._file = file
        self._origin_ns = origin_ns

    def read(self) -> Trace:
        """The process's part of the trace."""
        with _reading(self._file) as database:
            database.execute("BEGIN")  # one consistent state, while the process goes on
            process = self._read_process(_meta(database))
            pools = dict(self._pools(database, process))
            requests = dict(self._requests(database, process))
            checkouts = tuple(self._checkouts(database, pools, requests))
        return Trace(
            processes=(process,),
            pools=tuple(pools.values()),
            requests=tuple(requests.values()),
            checkouts=checkouts,
            until=process.written,
        )

    def _read_process(self, meta: dict[str, str]) -> Process:
        return Process(
            pid=int(meta["pid"]),
            parent_pid=int(meta["parent_pid"]),
            argv=tuple(json.loads(meta["argv"])),
            began=self._seconds(int(meta["monotonic_ns"])),
            began_wall=int(meta["wall_ns"]) / 1e9,
            written=self._seconds(int(meta.get("written_ns", meta["monotonic_ns"]))),
            finished=meta.get("finished") == "1",
            dropped=int(meta.get("dropped", 0)),
            errors=int(meta.get("errors", 0)),
            versions=json.loads(meta["versions"]),
            poolhog_version=meta["poolhog_version"],
        )

    def _pools(self, database: sqlite3.Connection, process: Process) -> Iterator[tuple[int, Pool]]:
        for key, *values in database.execute("SELECT * FROM pools ORDER BY id"):
            yield key, Pool(self._name(key), process, *values)

    def _requests(
        self, database: sqlite3.Connection, process: Process
    ) -> Iterator[tuple[int, Request]]:
        stages: dict[int, list[Stage]] = defaultdict(list)
        for request_id, name, started, ended in database.execute(
            "SELECT request_id, name, started_ns, ended_ns FROM stages ORDER BY started_ns"
        ):
            stages[request_id].append(Stage(name, self._seconds(started), self._instant(ended)))
        for key, kind, method, route, path, status, *instants in database.execute(
            "SELECT * FROM requests ORDER BY started_ns"
        ):
            started, responding, responded, ended = map(self._instant, instants)
            yield (
                key,
                Request(
                    id=self._name(key),
                    process=process,
                    kind=kind,
                    method=method,
                    route=route,
                    path=path,
                    status=status,
                    started=started or 0.0,
                    responding=responding,
                    responded=responded,
                    ended=ended,
                    stages=tuple(stages.get(key, ())),
                ),
            )

    def _checkouts(
        self,
        database: sqlite3.Connection,
        pools: dict[int, Pool],
        requests: dict[int, Request],
    ) -> Iterator[Checkout]:
        operations = self._operations(database)
        for key, pool, request, owner, connection, *instants, outcome in database.execute(
            "SELECT * FROM checkouts ORDER BY asked_ns"
        ):
            asked, granted, gave_up, returned = map(self._instant, instants)
            yield Checkout(
                id=self._name(key),
                pool=pools[pool],
                request=requests.get(request),
                owner=owner,
                connection=connection,
                asked=asked or 0.0,
                granted=granted,
                gave_up=gave_up,
                returned=returned,
                outcome=Outcome(outcome),
                operations=tuple(operations.get(key, ())),
            )

    def _operations(self, database: sqlite3.Connection) -> dict[int, list[Operation]]:
        texts = dict(database.execute("SELECT id, sql FROM statements"))
        found: dict[int, list[Operation]] = defaultdict(list)
        for checkout, kind, statement, started, ended, error in database.execute(
            "SELECT checkout_id, kind, statement_id, started_ns, ended_ns, error"
            " FROM operations ORDER BY started_ns, id"
        ):
            found[checkout].append(
                Operation(
                    kind=OperationKind(kind),
                    started=self._seconds(started),
                    ended=self._instant(ended),
                    statement=texts.get(statement),
                    error=error,
                )
            )
        return found

    def _name(self, key: int) -> str:
        # Not the pid: it may be used again, and its file is then named after it all the same.
        return f"{self._file.stem}.{key}"

    def _seconds(self, monotonic_ns: int) -> float:
        return (monotonic_ns - self._origin_ns) / 1e9

    def _instant(self, monotonic_ns: int | None) -> float | None:
        return None if monotonic_ns is None else self._seconds(monotonic_ns)
