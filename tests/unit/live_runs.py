"""Invented runs as they stand at an instant, for what shows them live."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from factories import (
    PROCESS,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    op,
    sample,
    trace_of,
)

from poolhog.analysis.dump import process_dump
from poolhog.analysis.findings_so_far import SoFar
from poolhog.analysis.live import live_of
from poolhog.analysis.liveness import Liveness
from poolhog.analysis.report import report_of
from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from poolhog.analysis.live import Live
    from poolhog.analysis.report import Report
    from poolhog.model import Checkout, Process, Site, Trace

RUNNING = replace(PROCESS, finished=False)
WORKER = replace(RUNNING, pid=4711)
LIBRARY = make_site(
    158, "await getter", file="/venv/lib/python3.12/site-packages/sqlalchemy/util/queue.py",
    function="AsyncAdaptedQueue.get", is_application=False,
)  # fmt: skip
PLACE_ORDER = make_site(71, "await audit(order)", file="/app/victim.py", function="place_order")
AUDIT = make_site(
    93,
    "async with Session() as second:",
    file="/app/victim.py",
    function="audit",
    caller=PLACE_ORDER,
)
CALL = make_site(46, "await call_the_llm(note)", function="synchronize_with_the_model")
QUERY = make_site(112, "await session.execute(yearly)", function="report")
BEGIN = op(OperationKind.BEGIN, 2.0, 2.0)
SELECT = op(OperationKind.STATEMENT, 2.0, 2.1, "SELECT notes.id FROM notes WHERE notes.id = $1")


def holder(
    number: int, route: str, activity: Activity, where: Site, *, granted: float = 3.0
) -> Checkout:
    request = make_request(f"r{number}", granted - 1, None, method="POST", route=route)
    return make_checkout(
        f"{number} of {route}",
        granted - 1,
        granted,
        request=request,
        owner=f"Task-{number}",
        connection=number,
        operations=[BEGIN, SELECT],
        samples=[sample(activity, granted + 1.0, None, where)],
        site=PLACE_ORDER,
    )


def waiter(number: int, route: str, asked: float, *, request: int | None = None) -> Checkout:
    whose = make_request(f"r{request or number}", asked, None, route=route)
    owner = f"Task-{request or number}"
    return make_checkout(f"w{number}", asked, request=whose, owner=owner, site=AUDIT)


def deadlock(process: Process = RUNNING) -> Trace:
    """Five holders that wait for a second connection, and three others that wait."""
    route = "/orders"
    holders = [holder(n, route, Activity.PARKED, LIBRARY, granted=3.0 + n) for n in range(1, 6)]
    nested = [waiter(10 + n, route, 10.0 + n, request=n) for n in range(1, 6)]
    others = [waiter(20 + n, "/orders/{order_id}", 30.0 + n) for n in range(1, 4)]
    return _run([*holders, *nested, *others], process)


def mixed(process: Process = RUNNING) -> Trace:
    """A pool of five of which four are out: parked, computing and busy."""
    route = "/notes/{note_id}/attachments/{attachment_id}/synchronize"
    busy = make_checkout(
        "4",
        20.0,
        20.1,
        request=make_request("r4", 20.0, None, route="/report"),
        owner="Task-4",
        connection=4,
        operations=[op(OperationKind.STATEMENT, 20.2, None, "SELECT pg_sleep(?)", site=QUERY)],
        site=QUERY,
    )
    some = [
        holder(1, route, Activity.PARKED, CALL, granted=5.0),
        holder(2, route, Activity.PARKED, CALL, granted=45.0),
        holder(3, "/export", Activity.RUNNING, QUERY, granted=30.0),
        busy,
    ]
    return _run(some, process)


def _run(checkouts: list[Checkout], process: Process) -> Trace:
    """A trace of a process, whose pool has an id of its own."""
    pool = make_pool(f"{process.pid}.1")
    return trace_of([replace(one, pool=pool) for one in checkouts], process=process)


def live(*traces: Trace, life: Liveness = Liveness.RUNNING) -> Live:
    return live_of(
        process_dump(trace, life, 0.1 if life is Liveness.RUNNING else None) for trace in traces
    )


class FixedRun:
    """A run that stands as it is told."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.looks = 0

    def look(self) -> Live:
        self.looks += 1
        return self.live


class FixedFindings:
    """Findings that were just computed, or ``None`` if they are still being computed."""

    def __init__(self, trace: Trace | None) -> None:
        self._report: Report | None = None if trace is None else report_of(trace)
        self.is_stopped = False

    @property
    def latest(self) -> SoFar | None:
        return None if self._report is None else SoFar(time.monotonic(), self._report)

    def stop(self) -> None:
        self.is_stopped = True


def empty() -> Trace:
    return trace_of([], pools=[make_pool()], process=RUNNING)
