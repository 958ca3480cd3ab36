"""What advice depends on: what an owner awaited, and how the code holds its connection."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.held_after_response import dependency_of
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.findings.lines import NamedLine
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.model import Checkout, Site


class Awaited(StrEnum):
    """What the owner of a connection waited for."""

    CALL = "call"
    SLEEP = "sleep"
    LOCK = "lock"
    DRIVER_LOCK = "driver lock"
    THREAD = "thread"
    QUEUE = "queue"
    SUBPROCESS = "subprocess"
    COMPUTATION = "computation"
    POOL = "pool"
    DATABASE = "database"
    LISTENER = "listener"
    TASKS = "tasks"
    MESSAGE = "message"
    UNKNOWN = "unknown"


class Style(StrEnum):
    """How the code holds a connection: what has to end so that it comes back."""

    DEPENDENCY = "dependency"
    MIDDLEWARE = "middleware"
    BEGIN = "begin"
    ACQUIRE = "acquire"
    LAZY_LOAD = "lazy load"
    SESSION = "session"


class Circumstances(NamedTuple):
    """What was awaited, and how the connection was held.

    ``library`` is the package that was called, ``None`` if there is none to name. ``held_by`` is
    where the dependency or block is that holds the connection, or where it was asked for.
    """

    awaited: Awaited
    library: str | None
    style: Style
    held_by: Site | None


def circumstances(piece: Piece, lifetime: Lifetime, line: NamedLine) -> Circumstances:
    """Those of a piece of a gap that a kind claimed, and the line that it named."""
    awaited, library = awaited_in(piece.seen.stack if piece.seen is not None else ())
    checkout = lifetime.checkout
    if any(_LISTENS.match(o.statement) for o in checkout.operations if o.statement is not None):
        awaited, library = Awaited.LISTENER, None
    style, held_by = style_of(checkout, line.site, piece.ended)
    return Circumstances(awaited, library, style, held_by)


_LISTENS = re.compile(r"\s*LISTEN\b", re.IGNORECASE)


def awaited_in(stack: Sequence[Site]) -> tuple[Awaited, str | None]:
    """What a stack waits for, the innermost frame first, and the package to name, if any.

    The libraries' frames tell, from the application's call inwards: an HTTP client may wait for a
    lock of its own. Functions of C have no frame; then the text of the line tells.
    """
    count = next((n for n, frame in enumerate(stack) if frame.is_application), len(stack))
    passed = Awaited.UNKNOWN
    for frame in reversed(stack[:count]):
        found, package = _of_frame(frame)
        if found is Awaited.DATABASE:
            return _of_database(stack[:count]), package
        if found is Awaited.TASKS or (found is Awaited.THREAD and _RUNS.search(frame.file)):
            # What it passes on is told by the frames below, if they are seen.
            passed = found
        elif found is not Awaited.UNKNOWN:
            return found, package
    if count and _SLEEPS.search(stack[0].source):
        return Awaited.SLEEP, None
    source = stack[count].source if count < len(stack) else ""
    found_in = (kind for kind, pattern in _SOURCES if pattern.search(source))
    return next(found_in, passed), None


_RUNS = re.compile(r"[/\\](?:asyncio|anyio)[/\\]")
"""Where functions are handed to threads, whose frames then are below."""

_INSTALLED = re.compile(r"[/\\](?:site-packages|dist-packages)[/\\](.+)$")
_STANDARD = re.compile(r"[/\\]python3\.\d+[/\\](.+)$")

_PACKAGES = {
    Awaited.DATABASE: (
        *("aiomysql", "aiopg", "aiosqlite", "asyncmy", "asyncpg", "databases", "psycopg"),
        *("psycopg2", "psycopg_pool", "pymysql", "sqlalchemy"),
    ),
    Awaited.SLEEP: ("backoff", "retrying", "stamina", "tenacity"),
    Awaited.LOCK: ("aiolimiter", "aiorwlock", "fasteners", "filelock", "portalocker"),
    Awaited.QUEUE: ("aio_pika", "aiokafka", "confluent_kafka", "kafka", "nats", "pika"),
    Awaited.MESSAGE: ("websockets", "wsproto"),
}
_PACKAGE_KINDS = {name: kind for kind, names in _PACKAGES.items() for name in names}
_TRANSPARENT = (
    *("fastapi", "greenlet", "gunicorn", "hypercorn", "pydantic", "pluggy", "pytest", "sentry_sdk"),
    *(
        "litestar",
        "starlette",
        "uvicorn",
        "uvloop",
        "asgiref",
        "opentelemetry",
        "ddtrace",
        "newrelic",
        "wrapt",
        "poolhog",
    ),
)
"""Packages that wrap what others do."""

_MODULES: tuple[tuple[str, str, Awaited], ...] = (
    ("asyncio/tasks", r"sleep$", Awaited.SLEEP),
    ("asyncio/tasks", r"wait_for$", Awaited.UNKNOWN),
    ("asyncio/tasks", r"", Awaited.TASKS),
    ("asyncio/taskgroups", r"", Awaited.TASKS),
    ("asyncio/queues", r"", Awaited.QUEUE),
    ("asyncio/locks", r"", Awaited.LOCK),
    ("asyncio/subprocess", r"", Awaited.SUBPROCESS),
    ("asyncio/base_subprocess", r"", Awaited.SUBPROCESS),
    ("asyncio/threads", r"", Awaited.THREAD),
    ("asyncio/(streams|sslproto|selector_events|base_events)$", r"", Awaited.CALL),
    ("concurrent/futures/process", r"", Awaited.COMPUTATION),
    ("concurrent/futures/", r"", Awaited.THREAD),
    ("multiprocessing/queues", r"", Awaited.QUEUE),
    ("multiprocessing/pool", r"", Awaited.COMPUTATION),
    ("multiprocessing/", r"", Awaited.SUBPROCESS),
    ("queue", r"", Awaited.QUEUE),
    ("subprocess", r"", Awaited.SUBPROCESS),
    ("threading", r"Thread\.join$|_wait_for_tstate_lock", Awaited.THREAD),
    ("threading", r"", Awaited.LOCK),
    (
        r"(socket|ssl|socketserver|http/client|urllib/.*|smtplib|imaplib|ftplib|poplib)$",
        "",
        Awaited.CALL,
    ),
    ("starlette/websockets", r"", Awaited.MESSAGE),
    ("litestar/.*websocket", r"", Awaited.MESSAGE),
    ("anyio/streams/memory", r"", Awaited.QUEUE),
    ("anyio/", r"sleep(_until|_forever)?$", Awaited.SLEEP),
    ("anyio/", r"run_process|open_process|Process\.", Awaited.SUBPROCESS),
    ("anyio/to_process", r"", Awaited.COMPUTATION),
    ("anyio/", r"run_sync|to_thread", Awaited.THREAD),
    ("anyio/_core/_synchronization", r"", Awaited.LOCK),
    ("anyio/", r"(Lock|Event|Semaphore|Condition|CapacityLimiter)\.", Awaited.LOCK),
    ("anyio/", r"TaskGroup\.", Awaited.TASKS),
    ("anyio/", r"SocketStream|TLSStream|connect_tcp", Awaited.CALL),
)
_RULES = tuple((re.compile(m), re.compile(f), kind) for m, f, kind in _MODULES)

_SLEEPS = re.compile(r"\bsleep\w*\(")
_SOURCES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Awaited.SLEEP, r"\bsleep\w*\("),
        (Awaited.SUBPROCESS, r"\bsubprocess\b|\bPopen\(|\bcheck_(?:output|call)\(|\bcommunicate\("),
        (Awaited.THREAD, r"\b(?:run_in_executor|to_thread|run_sync|run_in_threadpool)\("),
        (Awaited.LOCK, r"\b\w*(?:[lL]ock|LOCK|[sS]emaphore|SEMAPHORE)\w*\b"),
        (Awaited.QUEUE, r"\b\w*(?:[qQ]ueue|QUEUE)\w*\.|\.get\(\)"),
        (Awaited.CALL, r"\b(?:requests|httpx|aiohttp|urlopen|smtplib)\b"),
        (Awaited.TASKS, r"\b(?:gather|as_completed|TaskGroup|create_task_group)\b"),
    )
)


def _of_frame(frame: Site) -> tuple[Awaited, str | None]:
    installed = _INSTALLED.search(frame.file)
    known = installed or _STANDARD.search(frame.file)
    if known is None:
        return Awaited.UNKNOWN, None
    module = known[1].replace("\\", "/").removesuffix(".py").removesuffix(".pyx")
    for file, function, kind in _RULES:
        if file.match(module) and function.search(frame.function):
            return kind, None
    package = module.partition("/")[0]
    if installed is None or package in _TRANSPARENT or package == "anyio":
        return Awaited.UNKNOWN, None
    # Whatever a library does that is none of these, it asks somebody else for something.
    return _PACKAGE_KINDS.get(package, Awaited.CALL), package


def _of_database(frames: Sequence[Site]) -> Awaited:
    """What waits in a library for databases: for a lock of its own, for a pool, or the server."""
    kinds = [_of_frame(frame)[0] for frame in frames]
    own = [f.function for f, kind in zip(frames, kinds, strict=True) if kind is Awaited.DATABASE]
    if any(map(_POOL_CALLS.search, own)):
        return Awaited.POOL
    is_locked = Awaited.LOCK in kinds or Awaited.QUEUE in kinds
    return Awaited.DRIVER_LOCK if is_locked else Awaited.DATABASE


_POOL_CALLS = re.compile(r"(?:^|\.)_*(?:acquire|getconn|do_get|get_connection)\w*$")

_PASSES_REQUEST_ON = re.compile(r"\b(?:call_next|get_response|(?:self\.)?_?app)\(")
_BEGINS = re.compile(r"\bbegin(?:_nested)?\(")
_ACQUIRES = re.compile(r"\b(?:acquire|connection|getconn|connect|get_conn\w*)\(")
_CALLS = re.compile(r"\w\(")


def style_of(checkout: Checkout, line: Site | None, after: float) -> tuple[Style, Site | None]:
    """How the connection was held at a line, and by what; ``after`` is when that line was left."""
    if line is not None and _PASSES_REQUEST_ON.search(line.source):
        return Style.MIDDLEWARE, line
    dependency = dependency_of(checkout)
    if dependency is not None:
        return Style.DEPENDENCY, dependency
    asked_at = checkout.site
    ending = next(
        (o.site for o in checkout.operations if o.started >= after and o.kind in _ENDS and o.site),
        None,
    )
    for site in (asked_at, ending):
        if site is not None and _BEGINS.search(site.source):
            return Style.BEGIN, site
    if asked_at is not None and _ACQUIRES.search(asked_at.source):
        return Style.ACQUIRE, asked_at
    if asked_at is not None and _is_lazy(checkout, asked_at):
        return Style.LAZY_LOAD, asked_at
    return Style.SESSION, asked_at


_ENDS = (OperationKind.COMMIT, OperationKind.ROLLBACK)


def _is_lazy(checkout: Checkout, asked_at: Site) -> bool:
    """Whether a line asked for a connection, and for rows, that calls nothing."""
    if checkout.pool.library != "sqlalchemy" or not asked_at.source:
        return False
    is_read = any(
        o.kind is OperationKind.STATEMENT
        and (o.statement or "").lstrip("( ")[:6].upper() == "SELECT"
        for o in checkout.operations[:3]
    )
    is_attribute = "." in asked_at.source and not _CALLS.search(asked_at.source)
    return is_read and (is_attribute or "awaitable_attrs" in asked_at.source)
