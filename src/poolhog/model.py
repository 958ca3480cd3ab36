"""The facts of a trace as frozen values: processes, pools, requests, checkouts, and what they did.

All instants are seconds since the run began (the start of the first recorded process), all
durations seconds. ``None`` for an instant means that it had not happened when the trace was
last written. Texts can go to a terminal or a log: what steers these, or is not seen, is spelled out
as in ``⟨U+001B⟩``, and only statements have line ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class OperationKind(StrEnum):
    """What the driver was asked to do while an operation was in flight."""

    CONNECT = "connect"
    PING = "ping"
    BEGIN = "begin"
    STATEMENT = "statement"
    FETCH = "fetch"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    RESET = "reset"


class Cause(StrEnum):
    """Why there was a rollback: the application called for it, or an exception did."""

    ASKED = "asked"
    EXCEPTION = "exception"


class Activity(StrEnum):
    """What the owner of a checkout was doing when it was looked at in a gap.

    - ``busy``: the library that it called waited for the database, in no operation of its own.
    - ``blocking``: it kept its event loop from going on, by a call that computes or waits. Also of
      a checkout that waits: it did so until it had a connection.
    - ``computing``: a thread that it awaited computed, and did not use the connection.
    - ``queued``: it waited for a thread, as all were in use.
    - ``idle``: its thread was at rest, as the job was over in which it asked for the connection.
    """

    PARKED = "parked"
    RUNNING = "running"
    READY = "ready"
    BUSY = "busy"
    BLOCKING = "blocking"
    COMPUTING = "computing"
    QUEUED = "queued"
    IDLE = "idle"


class SharingKind(StrEnum):
    """What a row of samples says that is of no gap: the two sites of a :class:`Sharing`."""

    SHARED = "shared"
    GATHERED = "gathered"


class Outcome(StrEnum):
    """How a checkout stands, or ended; ``collected``: the garbage collector gave it back."""

    WAITING = "waiting"
    OPEN = "open"
    RETURNED = "returned"
    COLLECTED = "collected"
    DETACHED = "detached"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Process:
    """One recorded process.

    ``began_wall`` is the Unix time at which it was first recorded, ``began`` the same on the
    run's clock, ``written`` the instant of the last commit to its file (facts after it are lost
    if it crashed). ``finished`` says whether it exited normally, so that nothing is missing.
    ``dropped`` counts facts lost to a full buffer, and those that have no site because there were
    too many sites; ``errors`` counts the faults inside the recorder.
    ``sampling_interval`` is how often the owners of gaps were looked at, 0 if never.

    ``lock_watch`` says whether the server was asked who waits for whose lock: ``on``, or why that
    ended; ``None`` if it was not wanted.

    ``missing_checkouts`` is how many checkouts the process asked for that are not in its file, and
    ``missing_facts`` how many other facts are not; 0 if all are. ``missing_reason`` says why, such
    as ``disk full``, and is ``None`` if nothing is missing. With a reason and two zeros, writing
    failed at last, and how much is missing is not known. What came of checkouts that are open or
    waiting may be among what is missing, unless the process is ``finished``. ``unrecorded`` names
    pools of libraries that poolhog does not record, such as ``aiopg's pool``.
    """

    pid: int
    parent_pid: int
    argv: tuple[str, ...]
    began: float
    began_wall: float
    written: float
    finished: bool
    dropped: int
    errors: int
    versions: Mapping[str, str]
    poolhog_version: str
    sampling_interval: float = 0.01
    lock_watch: str | None = None
    missing_checkouts: int = 0
    missing_facts: int = 0
    missing_reason: str | None = None
    unrecorded: tuple[str, ...] = ()

    @property
    def is_cut_off(self) -> bool:
        """Whether it went on after the last commit to its file, as writing failed."""
        return self.missing_reason is not None and not self.finished


@dataclass(frozen=True, slots=True)
class Pool:
    """One connection pool in one process.

    ``size`` is the number of connections it keeps, ``max_overflow`` how many more it may open
    (-1: no limit), ``timeout`` how long it lets a request wait. ``None``: it knows no such limit.
    ``made_at`` is where the application made it, and ``database`` a number that is the same for all
    pools of the process that connect to one database as one user; ``None`` if that is not known.
    Connections with numbers up to ``inherited`` were opened by a process that this one was forked
    from, and were its parent's too.
    """

    id: str
    process: Process
    library: str
    kind: str
    name: str
    size: int | None
    max_overflow: int | None
    timeout: float | None
    made_at: Site | None = field(default=None, compare=False)
    database: int | None = field(default=None, compare=False)
    inherited: int = field(default=0, compare=False)

    @property
    def capacity(self) -> int | None:
        """The most connections it lends at once, or ``None`` if it has no limit."""
        if self.size is None or self.max_overflow is None or self.max_overflow < 0:
            return None
        return self.size + self.max_overflow


@dataclass(frozen=True, slots=True)
class Stage:
    """One named part of a request's life, such as ``dependencies`` or ``session``.

    ``site`` is where the dependency is defined that is closed in an ``exit stack``.
    """

    name: str
    started: float
    ended: float | None
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """The unit of work that asks for connections.

    ``kind`` is ``http``, ``websocket``, ``task`` (Celery) or ``test`` (pytest). ``route`` is the
    route's template, ``path`` what was asked for, without its query, or the name of the task or
    test. ``responding`` is when the response started, ``responded`` when its last byte was handed
    to the server, ``ended`` when the application returned: dependencies are unwound by then, and
    background tasks done. ``error`` is the name of the exception that the application let out.
    """

    id: str
    process: Process
    kind: str
    method: str
    route: str | None
    path: str
    status: int | None
    started: float
    responding: float | None
    responded: float | None
    ended: float | None
    stages: Sequence[Stage] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        """What a person calls it, such as ``GET /notes/{note_id}``."""
        return f"{self.method} {self.route or self.path}".strip()


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A line that was being executed, and through ``caller`` the stack above it.

    ``function`` is qualified, ``source`` the text of the line ("" if there is none to read).
    ``is_application`` tells the user's code from libraries. Equal sites of a trace are the same
    object.
    """

    file: str
    line: int
    function: str
    source: str
    is_application: bool
    caller: Site | None = None

    @property
    def name(self) -> str:
        """The function as its module knows it, without those that it is defined in."""
        return self.function.rpartition("<locals>.")[2]

    @property
    def stack(self) -> tuple[Site, ...]:
        """The site and its callers, the innermost first."""
        found = [self]
        while found[-1].caller is not None:
            found.append(found[-1].caller)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Operation:
    """One round trip to the database, or several that the driver makes as one.

    ``statement`` is the SQL without parameters and literals; a ``begin`` or ``reset`` without one
    sent nothing. ``error`` is the name of the exception that ended it; of a ``connect``, also why,
    if that is known (``OperationalError: too many connections``). ``site`` is where the
    application asked for it, in application frames only. ``cause`` is for rollbacks and resets,
    ``None`` if nobody asked for one.
    """

    kind: OperationKind
    started: float
    ended: float | None
    statement: str | None = None
    error: str | None = None
    site: Site | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the owner of a checkout was seen doing, from the first look to the last in a row.

    ``ended`` is ``None`` if it was still so when the trace was last written. ``site`` is where it
    was, in all frames down to the library: the await for a suspended task; for one that is ready,
    what ran instead of it. ``None`` if there was nothing to see: the owner was gone, or
    what ran instead cannot be told, or was another task each time.
    """

    activity: Activity
    started: float
    ended: float | None
    site: Site | None


@dataclass(frozen=True, slots=True)
class LockWait:
    """A stretch in which the database's server said that a statement waited for a lock.

    ``blocker`` is the id of the checkout that held it, and waited for no other itself. It is
    ``None`` for a session that was not recorded, which ``session`` describes. ``ended`` is ``None``
    if it was still so when the trace was last written.
    """

    started: float
    ended: float | None
    blocker: str | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Sharing:
    """Another task or thread wanted the connection while one was using it, or getting it.

    ``site`` is where it did, ``gathered`` where one task waits for both, in application frames
    only; ``None`` if that is not known.
    """

    at: float
    site: Site | None
    gathered: Site | None


@dataclass(frozen=True, slots=True)
class Checkout:
    """One connection lent to one request.

    ``asked`` is when the request asked the pool, ``granted`` when it got the connection,
    ``returned`` when the pool had it back, ``gave_up`` when the wait ended without a connection.
    ``connection`` numbers the pool's connections; ``owner`` is the task or thread that asked (its
    name, made unique), and ``site`` where it did, in application frames only. ``connecting`` and
    ``pinging`` are the seconds of the wait that went into these, ``busy`` the seconds of use in
    which an operation was in flight; operations that are not over are not in them. Operations and
    samples are in order of their start; operations before ``granted`` (connect, ping) are part of
    the wait. ``lock_waits`` are those that the server told of, in order of their start.
    ``request`` is ``None`` for work that belongs to no request that was seen (`other`).
    ``sharings`` are the first times that others wanted the connection while it was in use.
    """

    id: str
    pool: Pool
    request: Request | None
    owner: str
    connection: int | None
    asked: float
    granted: float | None
    gave_up: float | None
    returned: float | None
    outcome: Outcome
    operations: Sequence[Operation] = ()
    samples: Sequence[Sample] = ()
    site: Site | None = None
    connecting: float = 0.0
    pinging: float = 0.0
    busy: float = 0.0
    lock_waits: Sequence[LockWait] = ()
    sharings: Sequence[Sharing] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A process's file that cannot be read, and why, such as ``is damaged …``.

    Both are texts to be shown: characters that nobody would see are spelled out.
    """

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """All that was recorded of one run, merged over its processes.

    ``until`` is the last instant that the trace knows of: open intervals are drawn up to it.
    ``unreadable`` are the files that nothing of it is from.
    """

    processes: tuple[Process, ...]
    pools: tuple[Pool, ...]
    requests: tuple[Request, ...]
    checkouts: tuple[Checkout, ...]
    until: float
    unreadable: tuple[Unreadable, ...] = ()
    clock_origin_ns: int = field(default=0, repr=False)

    def at(self, monotonic_ns: int) -> float:
        """The run's clock at a reading of ``time.monotonic_ns()`` on the same machine."""
        return (monotonic_ns - self.clock_origin_ns) / 1e9
