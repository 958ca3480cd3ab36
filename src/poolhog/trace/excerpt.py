"""Some checkouts of a process's file, as if there were no others: facts for a small ledger."""

# ruff: noqa: S608 - the parts of every query are constants of this module

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from poolhog.texts import visible
from poolhog.trace.columns import NO_LOCK_WAITS
from poolhog.trace.packed import NULL
from poolhog.trace.tables import Checkouts, Columns, LockWaits, Requests, Samples, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from poolhog.model import Checkout, Pool, Process, Site
    from poolhog.trace.columns import Table
    from poolhog.trace.packed import Numbers
    from poolhog.trace.snapshot import Snapshot
    from poolhog.trace.tables import Operations

_IDS = "(SELECT value FROM json_each(:ids))"
_CHOSEN = f"SELECT id FROM packed_checkouts WHERE id IN {_IDS}"


class Excerpt:
    """The checkouts with some numbers, their requests and samples; other numbers are ignored.

    A request in a large file is shown without reading the others. The snapshot must stay open
    while operations and checkouts are read. What was sent is left out of the columns.
    """

    def __init__(self, snapshot: Snapshot, numbers: Iterable[int]) -> None:
        self.process: Process = snapshot.process
        self.pools: Mapping[int, Pool] = snapshot.pools
        self.texts: Mapping[int, str] = snapshot.texts
        self.statements: Mapping[int, str] = snapshot.statements
        self.sites: Mapping[int | None, Site] = snapshot.sites
        self._snapshot = snapshot
        self._numbers = sorted(set(numbers))
        self._requests = f"id IN (SELECT request_id FROM packed_checkouts WHERE id IN {_IDS})"

    def columns(self) -> Columns:
        """Its checkouts, requests and samples."""
        return Columns(
            self._read(Checkouts, "packed_checkouts", f"id IN {_IDS}"),
            self._read(Requests, "packed_requests", self._requests),
            self._read(Samples, "packed_samples", f"checkout_id IN ({_CHOSEN})"),
            self._read(LockWaits, "packed_lock_waits", f"checkout_id IN ({_CHOSEN})")
            if self._snapshot.has_lock_waits
            else NO_LOCK_WAITS,
            Sent(*[np.array([], np.int64)] * len(Sent._fields)),
            np.array([], np.int64),
        )

    def paths(self) -> dict[int, str]:
        """The paths of requests without a route, by the requests' numbers."""
        empty = self._snapshot.unpack.number_of("")
        query = (
            "SELECT id, path FROM packed_requests"
            f" WHERE coalesce(route, :empty) = :empty AND {self._requests}"
        )
        rows = self._snapshot.query(query, {"empty": empty, "ids": self._ids})
        return {number: visible(path) for number, path in rows}

    def owners(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """The owners of the checkouts with these numbers."""
        return self._snapshot.owners(numbers)

    def operations(self, numbers: Iterable[int]) -> Iterator[Operations]:
        """The operations of the checkouts with these numbers, part by part."""
        return self._snapshot.operations(numbers)

    def numbered(self, numbers: Iterable[int]) -> Iterator[Checkout]:
        """The checkouts with these numbers, in the order of their asking."""
        return self._snapshot.numbered(numbers)

    @property
    def _ids(self) -> str:
        return json.dumps(self._numbers)

    def _read(self, table: type[Table], name: str, which: str) -> Table:
        columns = [field.name for field in fields(table)]
        values = ", ".join(f"coalesce({column}, {NULL})" for column in columns)
        query = f"SELECT {values} FROM {name} WHERE {which} ORDER BY id"
        rows = self._snapshot.query(query, {"ids": self._ids})
        found: Numbers = np.array(rows, np.int64).reshape(-1, len(columns))
        return table(*found.T.copy())
