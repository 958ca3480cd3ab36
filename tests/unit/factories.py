"""Small builders of model objects, and the talk's bursts made of them, on a clock of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PROCESS = Process(
    pid=100,
    parent_pid=1,
    argv=("uvicorn", "service:app"),
    began=0.0,
    began_wall=1_700_000_000.0,
    written=60.0,
    finished=True,
    dropped=0,
    errors=0,
    versions={"sqlalchemy": "2.1.0"},
    poolhog_version="0.1.0",
)


def make_pool(
    id_: str = "pool", *, size: int | None = 5, library: str = "sqlalchemy", name: str = "main"
) -> Pool:
    return Pool(
        id=id_,
        process=PROCESS,
        library=library,
        kind="AsyncAdaptedQueuePool",
        name=name,
        size=size,
        max_overflow=0,
        timeout=30.0,
    )


def make_request(
    id_: str = "r1",
    started: float = 0.0,
    ended: float | None = 10.0,
    *,
    method: str = "GET",
    route: str | None = "/notes/{note_id}",
    path: str = "/notes/1",
    status: int | None = 200,
    responding: float | None = None,
    responded: float | None = None,
    stages: Sequence[tuple[str, float, float | None]] = (),
) -> Request:
    return Request(
        id=id_,
        process=PROCESS,
        kind="http",
        method=method,
        route=route,
        path=path,
        status=status,
        started=started,
        responding=responding,
        responded=responded,
        ended=ended,
        stages=tuple(Stage(*stage) for stage in stages),
    )


def op(
    kind: OperationKind,
    started: float,
    ended: float | None,
    statement: str | None = None,
    error: str | None = None,
    site: Site | None = None,
    cause: Cause | None = None,
) -> Operation:
    return Operation(kind, started, ended, statement, error, site, cause)


def make_site(
    line: int = 10,
    source: str = "await call_the_llm()",
    *,
    file: str = "/app/service.py",
    function: str = "synchronize",
    is_application: bool = True,
    caller: Site | None = None,
) -> Site:
    return Site(file, line, function, source, is_application, caller)


def sample(
    activity: Activity, started: float, ended: float | None, site: Site | None = None
) -> Sample:
    return Sample(activity, started, ended, site)


def make_checkout(
    id_: str = "c1",
    asked: float = 0.0,
    granted: float | None = None,
    returned: float | None = None,
    *,
    pool: Pool | None = None,
    request: Request | None = None,
    owner: str = "Task-1",
    connection: int | None = None,
    gave_up: float | None = None,
    operations: Sequence[Operation] = (),
    samples: Sequence[Sample] = (),
    site: Site | None = None,
    outcome: Outcome | None = None,
) -> Checkout:
    if outcome is None:
        outcome = Outcome.RETURNED if returned is not None else Outcome.OPEN
        if granted is None:
            outcome = Outcome.WAITING if gave_up is None else Outcome.TIMEOUT
    return Checkout(
        id=id_,
        pool=pool or make_pool(),
        request=request,
        owner=owner,
        connection=connection,
        asked=asked,
        granted=granted,
        gave_up=gave_up,
        returned=returned,
        outcome=outcome,
        operations=tuple(operations),
        samples=tuple(samples),
        site=site,
        connecting=_spent(operations, granted, OperationKind.CONNECT),
        pinging=_spent(operations, granted, OperationKind.PING),
        busy=sum(
            o.ended - o.started
            for o in operations
            if granted is not None and o.started >= granted and o.ended is not None
        ),
    )


def trace_of(
    checkouts: Iterable[Checkout],
    requests: Iterable[Request] = (),
    pools: Iterable[Pool] = (),
    *,
    process: Process = PROCESS,
) -> Trace:
    """A trace of one process: its checkouts, and others of its requests and pools.

    Pools and requests that are another's become those of the ``process``.
    """
    some = sorted(checkouts, key=lambda checkout: checkout.asked)
    own_pools = {pool.id: pool for pool in (*pools, *(checkout.pool for checkout in some))}
    if any(pool.process is not process for pool in own_pools.values()):
        own_pools = {key: replace(pool, process=process) for key, pool in own_pools.items()}
        some = [replace(checkout, pool=own_pools[checkout.pool.id]) for checkout in some]
    own_requests = [replace(request, process=process) for request in requests]
    own = tuple(own_pools.values()), tuple(own_requests), tuple(some)
    return Trace((process,), *own, process.written)


def named_requests(counts: Mapping[str, int]) -> Iterator[Request]:
    """So many requests of these names, which asked for nothing."""
    for name, number in counts.items():
        method, _, route = name.rpartition(" ")
        for index in range(number):
            yield make_request(f"{name}-{index}", method=method, route=route)


def _spent(operations: Sequence[Operation], granted: float | None, kind: OperationKind) -> float:
    """The seconds of the wait in operations of this kind."""
    return sum(
        o.ended - o.started
        for o in operations
        if o.kind is kind and o.ended is not None and (granted is None or o.started < granted)
    )


Burst = tuple[list[Checkout], list[Request], Pool, float]

EXTERNAL_CALL = Site(
    file="/app/service.py",
    line=48,
    function="synchronize",
    source="await external_api.sync_note(note_id)",
    is_application=True,
)
SELECT = "SELECT notes.id, notes.data FROM notes WHERE notes.id = $1"
UPDATE = "UPDATE notes SET data=$1, synchronized_at=$2 WHERE notes.id = $3 RETURNING *"


def implicit_burst(requests: int = 10, size: int = 5, latency: float = 5.0) -> Burst:
    """Every connection is checked out through the whole external call: waves."""
    pool = make_pool(size=size)
    checkouts, made = [], []
    for index in range(requests):
        started = 0.004 + index * 0.0015
        asked = started + 0.003
        wave = index // size
        granted = asked if not wave else 0.03 + wave * (latency + 0.03) + index * 0.001
        select, update = granted + 0.001, granted + latency + 0.008
        returned = update + 0.012
        request = make_request(
            f"r{index:04}", started, returned + 0.002, method="POST", path="/notes/1/synchronize"
        )
        operations = (
            op(OperationKind.BEGIN, granted, granted),
            op(OperationKind.STATEMENT, select, select + 0.004, SELECT),
            op(OperationKind.STATEMENT, update, update + 0.005, UPDATE),
            op(OperationKind.COMMIT, update + 0.006, update + 0.011),
            op(OperationKind.RESET, returned - 0.0005, returned),
        )
        made.append(request)
        checkouts.append(
            make_checkout(
                f"c{index:04}",
                asked,
                granted,
                returned,
                pool=pool,
                request=request,
                connection=index % size,
                operations=operations,
                samples=[sample(Activity.PARKED, select + 0.01, update - 0.005, EXTERNAL_CALL)],
            )
        )
    return checkouts, made, pool, max(r.ended or 0.0 for r in made)


def explicit_burst(requests: int = 10, size: int = 5, latency: float = 5.0) -> Burst:
    """Two short transactions per request, the external call between them and outside both."""
    pool = make_pool(size=size)
    checkouts, made = [], []
    for index in range(requests):
        started = 0.004 + index * 0.0015
        turn = (index // size) * 0.012
        first = started + 0.003
        second = first + turn + latency + 0.02
        ended = second + turn + 0.02
        request = make_request(
            f"r{index:04}", started, ended, method="POST", path="/notes/1/synchronize"
        )
        made.append(request)
        for part, asked, statement in ((1, first, SELECT), (2, second, UPDATE)):
            granted = asked + turn
            operations = (
                op(OperationKind.BEGIN, granted, granted),
                op(OperationKind.STATEMENT, granted + 0.0005, granted + 0.004, statement),
                op(OperationKind.COMMIT, granted + 0.005, granted + 0.008),
                op(OperationKind.RESET, granted + 0.0085, granted + 0.009),
            )
            checkouts.append(
                make_checkout(
                    f"c{index:04}-{part}",
                    asked,
                    granted,
                    granted + 0.009,
                    pool=pool,
                    request=request,
                    connection=index % size,
                    operations=operations,
                )
            )
    return checkouts, made, pool, max(r.ended or 0.0 for r in made)


def one_get(*, explicit: bool = False, with_session: bool = True) -> tuple[Request, Checkout]:
    """A GET as the talk tells it: the connection comes back after the response, or before it."""
    begun = 100.0
    stages = [
        ("dependencies", begun + 0.00021, begun + 0.00063),
        ("endpoint", begun + 0.00066, begun + 0.00412),
        ("serialization", begun + 0.00415, begun + 0.00431),
        ("exit stack", begun + 0.00479, begun + 0.00597),
    ]
    if with_session:
        stages.append(("session", begun + 0.00030, begun + 0.00590))
    request = make_request(
        "get",
        begun,
        begun + 0.00602,
        responding=begun + 0.00445,
        responded=begun + 0.00471,
        stages=stages,
    )
    end = begun + (0.0034 if explicit else 0.00485)
    kind = OperationKind.COMMIT if explicit else OperationKind.ROLLBACK
    checkout = make_checkout(
        "c1",
        begun + 0.00090,
        begun + 0.00101,
        end + 0.00062,
        request=request,
        connection=1,
        operations=(
            op(OperationKind.BEGIN, begun + 0.00102, begun + 0.00102),
            op(OperationKind.STATEMENT, begun + 0.00131, begun + 0.00264, SELECT),
            op(kind, end, end + 0.00040),
            op(OperationKind.RESET, end + 0.00051, end + 0.00051),
        ),
    )
    return request, checkout
