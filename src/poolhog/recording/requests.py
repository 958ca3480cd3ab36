"""Requests while they happen, and their stages, which are written with them.

The application sets attributes, and the writer looks again until a request is ``done``: so its end
is what is set last.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from poolhog.layout import RequestRow, pack_list, pack_stage, row_maker
from poolhog.recording.lengths import LONGEST_NAME, LONGEST_PATH, NAME, PATH, shortened
from poolhog.recording.record import Record, ids, since

if TYPE_CHECKING:
    import asyncio
    import weakref
    from collections.abc import Mapping

    from poolhog.recording.record import Row, Texts

MOST_STAGES = 100
"""Stages of a request that are kept, the first ones: a websocket may open sessions for days, and
while it lasts, all of its stages are looked at again and again."""

_request_row = row_maker(RequestRow)


class RequestRecord(Record):
    """A request that an application is answering, or another unit of work."""

    __slots__ = (
        *("ended_ns", "error", "kind", "method", "mounted", "path", "queued", "responded_ns"),
        *("responding_ns", "route", "stages", "started_ns", "status", "task", "withdrawn"),
    )
    table = "packed_requests"

    def __init__(self, kind: str, method: str, path: str) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        # Not of the row: whether the writer was told of it, whether it is none of the application,
        # and the mounts that its route is below.
        self.queued = False
        self.withdrawn = False
        self.mounted = ""
        self.kind = kind
        self.method = method[NAME]
        self.path = path[PATH]
        self.route: str | None = None
        self.status: int | None = None
        # Not of the row: the task that answers it.
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        self.error: str | None = None
        self.stages: list[StageRecord] = []
        self.responding_ns: int | None = None
        self.responded_ns: int | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The application returned, or let an exception out."""
        if error is not None:
            self.error = type(error).__name__[NAME]
        self.ended_ns = monotonic_ns()

    def withdraw(self) -> None:
        """It is none of the application's: it is not written, unless it was already."""
        self.withdrawn = True

    @property
    def done(self) -> bool:
        return self.ended_ns is not None or (self.withdrawn and self.written is None)

    def row(self, texts: Texts) -> Row:
        numbers = texts.numbers
        started_us = self.started_ns // 1000
        route, error = self.route, self.error
        return _request_row(
            id=self.id,
            kind=numbers[self.kind],
            method=numbers[shortened(self.method, LONGEST_NAME)],
            route=numbers[shortened(route, LONGEST_PATH)] if route is not None else None,
            path=shortened(self.path, LONGEST_PATH),
            status=_status(self.status),
            error=numbers[shortened(error, LONGEST_NAME)] if error is not None else None,
            started=started_us - texts.began_ns // 1000,
            responding=since(started_us, self.responding_ns),
            responded=since(started_us, self.responded_ns),
            ended=since(started_us, self.ended_ns),
            stages=pack_list([stage.packed(started_us, numbers) for stage in tuple(self.stages)]),
        )

    def begin_stage(self, name: str) -> StageRecord:
        """A part of the request's life begins."""
        stage = StageRecord(name)
        if len(self.stages) < MOST_STAGES:
            self.stages.append(stage)
        return stage

    @property
    def name(self) -> str:
        """What a person calls it, such as ``GET /notes/{note_id}``."""
        return f"{self.method} {self.route or self.path}".strip()


class StageRecord:
    """A named part of a request's life; ``site`` is what is closed in it, if it is known."""

    __slots__ = ("ended_ns", "name", "site", "started_ns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.site: Record | None = None
        self.ended_ns: int | None = None
        self.started_ns = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """The stage is over; a second end changes nothing."""
        if self.ended_ns is None:
            self.ended_ns = monotonic_ns()

    def packed(self, request_started_us: int, numbers: Mapping[str, int]) -> str:
        """The stage as the row of its request has it."""
        started_us = self.started_ns // 1000
        ended_ns = self.ended_ns
        return pack_stage(
            numbers[self.name],
            started_us - request_started_us,
            None if ended_ns is None else ended_ns // 1000 - started_us,
            self.site.id if self.site is not None else None,
        )


def _status(status: Any) -> int | None:
    """A status as the trace has it: an application may send anything."""
    return int(status) if isinstance(status, int) and 0 <= status < 2**31 else None
