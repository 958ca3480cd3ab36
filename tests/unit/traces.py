"""Traces of invented runs, written by the recorder's own file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.marker import new_marker
from poolhog.recording.pools import PoolRecord
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import CheckoutRecord, OperationRecord, SampleRecord
from poolhog.recording.requests import RequestRecord
from poolhog.recording.trace_file import TraceFile

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.recording.record import Record
    from poolhog.recording.sites import SiteRecord

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '" onmouseover="alert(1)" x=\'&amp;&lt;',
    "]]><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u202egpj.exe\u2066\u2028\u2029 \u200f",
    "`code` and `more",
)
"""Texts that a page must not take for its own."""

MS = 1_000_000
"""Nanoseconds."""

HOLDER = "def {name}(here, frame):\n    found = here(frame())  # {text}\n    return found\n"


def site(recorder: Recorder, file: Path, text: str, name: str = "hold") -> SiteRecord | None:
    """A line of a file that is written, with a comment."""
    import sys

    source = HOLDER.format(name=name, text=text)
    file.write_text(source, encoding="utf-8")
    space: dict[str, object] = {}
    exec(compile(source, str(file), "exec"), space)
    found: SiteRecord | None = space[name](recorder.sites.here, sys._getframe)  # type: ignore[operator]
    return found


def hostile_trace(
    directory: Path, text: str, *, sql: str = "", checkouts: int = 4, every_ms: int = 150
) -> None:
    """A run in which all that comes from outside is this text; one connection is parked.

    It is lent twice at once, which no replay can do, unless the next checkout begins after 200 ms.
    """
    recorder = Recorder(directory / "trace")
    recorder.journal.began_ns -= 3_600_000 * MS
    where = site(recorder, directory / "app.py", text.replace("\n", " "))
    pool = PoolRecord(
        library="sqlalchemy", kind="QueuePool", name=text, size=1, max_overflow=0, timeout_s=30.0
    )
    records: list[Record] = []
    requests: list[Record] = []
    at = recorder.journal.began_ns
    for number in range(checkouts):
        request = RequestRecord("http", "GET", f"/{number}/{text}")
        request.route = f"/{text}"
        request.started_ns = at
        checkout = CheckoutRecord(pool, request, text, where)
        checkout.asked_ns, checkout.granted_ns, checkout.connection = at, at + MS, 1
        operation = OperationRecord(checkout, OperationKind.STATEMENT, sql or text, where)
        operation.started_ns, operation.ended_ns = at + MS, at + 3 * MS
        checkout.operations.append(operation)
        checkout.busy_us += 2_000
        sample = SampleRecord(checkout, Activity.PARKED, where, at + 10 * MS)
        sample.ended_ns = at + 190 * MS
        checkout.outcome, checkout.returned_ns = Outcome.RETURNED, at + 200 * MS
        request.status = 200
        request.responding_ns = request.responded_ns = request.ended_ns = at + 201 * MS
        requests.append(request)
        records += [checkout, sample]
        at += every_ms * MS
    marker = new_marker(recorder.directory)
    file = TraceFile(recorder.journal, marker.file)
    file.write([pool, *recorder.journal.learned, *requests, *records])
    file.finish()
    file.abandon()
    marker.remove()


def enlarge(trace: Path) -> None:
    """Let the pool have two connections, of which it lent both at times: that can be replayed."""
    (database,) = trace.glob("*.sqlite")
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("UPDATE pools SET size = 2")
        opened.execute("DELETE FROM meta WHERE key = 'checksum'")
        opened.commit()


def accuse(trace: Path, file: str | Path, line: int, source: str) -> None:
    """Have a trace say that all it saw was at this line of this file, as a forger would."""
    (database,) = trace.glob("*.sqlite")
    with closing(sqlite3.connect(database)) as opened:
        values = str(file), line, source
        opened.execute("UPDATE sites SET file = ?, line = ?, source = ?", values)
        opened.execute("DELETE FROM meta WHERE key = 'checksum'")
        opened.commit()
