"""A connection pool while it is used, and what is known of where it comes from."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from poolhog.layout import PoolRow, row_maker
from poolhog.recording.lengths import LONGEST_NAME, shortened
from poolhog.recording.record import Record, ids

if TYPE_CHECKING:
    from poolhog.recording.record import Row, Texts
    from poolhog.recording.sites import SiteRecord

_pool_row = row_maker(PoolRow)


class PoolRecord(Record):
    """A connection pool of this process.

    ``dialect`` is the name of SQLAlchemy's for what its statements are in; ``None`` if unknown.
    ``made_at`` is where the application made it, and ``database`` a number that is the same for all
    pools of one database and user; ``None`` if unknown. Connections with numbers up to
    ``inherited`` were opened by a process that this one was forked from. One that is not
    ``is_async`` blocks the thread of whoever waits for a connection.
    """

    __slots__ = (
        *("__weakref__", "connections", "database", "dialect", "file", "inherited"),
        *("is_async", "kind", "library", "made_at", "max_overflow", "name", "size", "timeout_s"),
    )
    table = "pools"

    def __init__(
        self,
        *,
        library: str,
        kind: str,
        name: str,
        size: int | None,
        max_overflow: int | None,
        timeout_s: float | None,
        dialect: str | None = None,
        is_async: bool = True,
        made_at: SiteRecord | None = None,
        database: int | None = None,
    ) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        # Not of the row: the trace file that it was written into, with the first checkout that
        # names it. Nothing keeps a pool that is gone.
        self.file: object = None
        self.library = library
        self.kind = shortened(kind, LONGEST_NAME)
        self.name = shortened(name, LONGEST_NAME)
        # As whole numbers, which a trace has: an application may give others.
        self.size = None if size is None else int(size)
        self.max_overflow = None if max_overflow is None else int(max_overflow)
        self.timeout_s = None if timeout_s is None else float(timeout_s)
        # Not of the row: where literals are in a statement depends on it.
        self.dialect = dialect
        self.is_async = is_async
        self.connections = itertools.count(1)
        # Not of the row either, but of ``meta``.
        self.made_at = made_at
        self.database = database
        self.inherited = 0

    def inherit(self) -> None:
        """The process was forked: all connections up to now are its parent's as well."""
        self.inherited = next(self.connections) - 1
        self.connections = itertools.count(self.inherited + 1)

    @property
    def done(self) -> bool:
        """A pool never changes."""
        return True

    @property
    def origin(self) -> dict[str, str]:
        """What ``meta`` says of it: where it was made, its database, inherited connections."""
        found = {
            "made_at": self.made_at.id if self.made_at is not None else None,
            "database": self.database,
            "inherited": self.inherited or None,
        }
        known = {key: value for key, value in found.items() if value is not None}
        return {f"pool.{self.id}": json.dumps(known)} if known else {}

    def row(self, texts: Texts) -> Row:
        """The columns of ``pools``."""
        return _pool_row(
            id=self.id,
            library=self.library,
            kind=self.kind,
            name=self.name,
            size=self.size,
            max_overflow=self.max_overflow,
            timeout_s=self.timeout_s,
        )
