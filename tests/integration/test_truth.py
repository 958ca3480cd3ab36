"""What a trace says of transactions and times, against what PostgreSQL itself counted and saw."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest
import sqlalchemy as sa
from invariants import check_trace
from recorded_app import Recording, async_engine, async_url, eventually, kinds, statements
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from views import gaps_of, idle_in_transaction

import poolhog
from poolhog import OperationKind, Outcome
from poolhog.analysis.accounting import transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from poolhog import Checkout, Operation, Trace
    from poolhog.lab.postgres import LabDatabase

    Style = Callable[[AsyncEngine], Awaitable[None]]

SIZE = 3
REQUESTS = 10
SELECT = sa.text("SELECT data FROM notes WHERE id = 1")
UPDATE = sa.text("UPDATE notes SET data = data || '!' WHERE id = 1")


@dataclass(frozen=True)
class Counted:
    """What PostgreSQL counted in a database."""

    commits: int
    rollbacks: int
    sessions: int
    idle_in_transaction: float
    active: float
    lasted: float
    """Seconds that its sessions lasted, together."""

    def __sub__(self, other: Counted) -> Counted:
        return Counted(
            self.commits - other.commits,
            self.rollbacks - other.rollbacks,
            self.sessions - other.sessions,
            self.idle_in_transaction - other.idle_in_transaction,
            self.active - other.active,
            self.lasted - other.lasted,
        )


class FreshDatabase:
    """A database of its own, counted from another, so that the reader does not count itself."""

    def __init__(self, server: LabDatabase) -> None:
        self._server = server
        self.name = f"truth_{secrets.token_hex(4)}"
        self.url = sa.make_url(server.url).set(database=self.name).render_as_string(False)
        server.query(f"CREATE DATABASE {self.name}")
        asyncio.run(self._fill())

    def count(self) -> Counted:
        """The counts, when every backend has ended: it reports what it did at its end."""
        eventually(lambda: not self._server.query(f"{ACTIVITY} = $1", self.name)[0][0])
        row = self._server.query(f"{STATISTICS} = $1", self.name)[0]
        return Counted(*row[:3], *(milliseconds / 1000 for milliseconds in row[3:]))

    def note(self) -> str:
        return str(asyncio.run(self._fetch()))

    def drop(self) -> None:
        self._server.query(f"DROP DATABASE {self.name} WITH (FORCE)")

    async def _fill(self) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute("CREATE TABLE notes (id integer PRIMARY KEY, data text)")
        await connection.execute("INSERT INTO notes VALUES (1, 'note')")
        await connection.close()

    async def _fetch(self) -> object:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval("SELECT data FROM notes WHERE id = 1")
        finally:
            await connection.close()


ACTIVITY = "SELECT count(*) FROM pg_stat_activity WHERE datname"
STATISTICS = (
    "SELECT xact_commit, xact_rollback, sessions,"
    " idle_in_transaction_time, active_time, session_time"
    " FROM pg_stat_database WHERE datname"
)


@pytest.fixture
def fresh(database: LabDatabase) -> Iterator[FreshDatabase]:
    fresh = FreshDatabase(database)
    yield fresh
    fresh.drop()


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


async def implicit(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        await asyncio.sleep(0.02)


async def implicit_with_commit(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        await asyncio.sleep(0.02)
        await session.execute(UPDATE)
        await session.commit()


async def forgotten_commit(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        await session.execute(UPDATE)


async def explicit(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        async with session.begin():
            await session.execute(SELECT)
        await asyncio.sleep(0.02)
        async with session.begin():
            await session.execute(UPDATE)


async def failing(engine: AsyncEngine) -> None:
    with suppress(sa.exc.ProgrammingError):
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(UPDATE)
            await session.execute(sa.text("SELECT nonsense"))


async def holding(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        await asyncio.sleep(0.3)


async def nothing(engine: AsyncEngine) -> None:
    async with engine.connect():
        await asyncio.sleep(0.02)


def run(url: str, style: Style) -> None:
    """As many requests at once as open all of the pool's connections, and close them."""

    async def work() -> None:
        async with async_engine(url, pool_size=SIZE) as engine:
            await asyncio.gather(*(style(engine) for _ in range(REQUESTS)))

    asyncio.run(work())


def count(fresh: FreshDatabase, style: Style) -> Counted:
    """What PostgreSQL counted of the style, without what opening the connections is itself."""
    before = fresh.count()
    run(fresh.url, nothing)
    opened = fresh.count()
    run(fresh.url, style)
    done = fresh.count() - opened
    opening = opened - before
    assert done.sessions == opening.sessions == SIZE
    return done - opening


@pytest.mark.parametrize(
    ("style", "commits", "rollbacks"),
    [
        (implicit, 0, REQUESTS),
        (implicit_with_commit, REQUESTS, 0),
        (forgotten_commit, 0, REQUESTS),
        (explicit, 2 * REQUESTS, 0),
        (failing, 0, REQUESTS),
    ],
)
def test_commits_and_rollbacks_are_postgresqls_own(
    fresh: FreshDatabase, recording: Recording, style: Style, commits: int, rollbacks: int
) -> None:
    counted = count(fresh, style)
    trace = recording.read()
    ends = [t.ended_with for c in trace.checkouts for t in transactions(c, trace.until)]
    # The connections that were opened for comparison saw no transaction.
    assert ends.count(OperationKind.COMMIT) == counted.commits == commits
    assert ends.count(OperationKind.ROLLBACK) == counted.rollbacks == rollbacks
    assert len(ends) == commits + rollbacks
    connects = [o for c in trace.checkouts for o in c.operations if o.kind == "connect"]
    connections = {(c.pool.id, c.connection) for c in trace.checkouts}
    assert len(connects) == len(connections) == 2 * SIZE


def test_a_forgotten_commit_is_an_update_and_a_rollback(
    fresh: FreshDatabase, recording: Recording
) -> None:
    run(fresh.url, forgotten_commit)
    assert fresh.note() == "note"
    for checkout in recording.read_checkouts():
        assert kinds(checkout)[-4:] == ["statement", "statement", "rollback", "reset"]
        assert statements(checkout)[-1].startswith("UPDATE notes SET data = data || ?")


def test_the_time_idle_in_transaction_is_postgresqls_own(
    fresh: FreshDatabase, recording: Recording
) -> None:
    counted = count(fresh, holding)
    trace = recording.read()
    recorded = sum(idle_in_transaction(checkout) for checkout in trace.checkouts)
    assert recorded == pytest.approx(counted.idle_in_transaction, rel=0.05)
    assert recorded >= 0.3 * REQUESTS


# A mixed load: several pools and libraries, with transactions that are nested, fail, time out and
# are cancelled, all at once.

A_TENTH = "SELECT pg_sleep(0.1)"
CUT_SHORT_S = 0.1
ROUNDS = 3


class Pools:
    """Of three libraries, the second of SQLAlchemy's with a single connection and no patience."""

    def __init__(self, url: str, size: int = SIZE) -> None:
        options: dict[str, Any] = {"max_overflow": 0}
        self.engine = create_async_engine(async_url(url), pool_size=size, **options)
        self.small = create_async_engine(
            async_url(url), pool_size=1, pool_timeout=CUT_SHORT_S, **options
        )
        self.in_threads = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"), pool_size=size, **options
        )
        self.asyncpg = asyncpg.create_pool(url, min_size=0, max_size=size)

    async def open(self, engine: int, small: int, in_threads: int, own: int) -> None:
        """Have as many connections at once, and do nothing with them."""
        await self.asyncpg
        async with AsyncExitStack() as stack:
            for _ in range(engine):
                await stack.enter_async_context(self.engine.connect())
            for _ in range(small):
                await stack.enter_async_context(self.small.connect())
            for _ in range(in_threads):
                stack.enter_context(self.in_threads.connect())
            for _ in range(own):
                await stack.enter_async_context(self.asyncpg.acquire())

    async def close(self) -> list[int]:
        """When each was closed, by the monotonic clock, in the order of ``open``."""
        closed = []
        for close in (self.engine.dispose, self.small.dispose, self._dispose, self.asyncpg.close):
            await close()
            closed.append(time.monotonic_ns())
        return closed

    async def _dispose(self) -> None:
        self.in_threads.dispose()


async def load(url: str) -> list[int]:
    """Use all pools at once in every way; when each was closed."""
    pools = Pools(url)
    await pools.open(1, 1, 1, 1)
    async with asyncio.TaskGroup() as group:
        for _ in range(ROUNDS):
            for style in (implicit_with_commit, forgotten_commit, explicit, failing, nested):
                group.create_task(style(pools.engine))
            for waits in (True, False):
                group.create_task(cancelled(pools.engine, in_database=waits))
            group.create_task(asyncio.to_thread(in_thread, pools.in_threads))
            group.create_task(with_asyncpg(pools.asyncpg))
        group.create_task(exhaust(pools.small))
    return await pools.close()


async def nested(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(SELECT)
        with suppress(sa.exc.ProgrammingError):
            async with session.begin_nested():
                await session.execute(sa.text("SELECT nonsense"))
        async with session.begin_nested():
            await session.execute(UPDATE)
            async with session.begin_nested():
                await session.execute(sa.text(A_TENTH))
        await asyncio.sleep(0.02)


async def cancelled(engine: AsyncEngine, *, in_database: bool) -> None:
    """Work that is given up in the middle of a statement, or between two."""
    reached = asyncio.Event()

    async def work() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(SELECT)
            reached.set()
            await (session.execute(sa.text("SELECT pg_sleep(20)")) if in_database else forever())

    task = asyncio.create_task(work())
    await reached.wait()
    await asyncio.sleep(CUT_SHORT_S)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def forever() -> None:
    await asyncio.Event().wait()


def in_thread(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.execute(SELECT)
        time.sleep(0.1)
        with suppress(sa.exc.ProgrammingError), session.begin_nested():
            session.execute(sa.text("SELECT nonsense"))
        session.execute(sa.text(A_TENTH))
        session.commit()
        session.execute(SELECT)


async def with_asyncpg(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute(A_TENTH)
        async with connection.transaction():
            await connection.execute("SELECT 1")
            await asyncio.sleep(0.1)
            with suppress(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("SELECT 2")
                    raise ZeroDivisionError
        with suppress(asyncpg.UndefinedColumnError):
            await connection.execute("SELECT nonsense")
        with suppress(ZeroDivisionError):
            async with connection.transaction():
                await connection.execute("SELECT 3")
                raise ZeroDivisionError


async def exhaust(engine: AsyncEngine) -> None:
    """One has the only connection; two wait too long for it, and one is told to stop."""
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        waiting = [asyncio.create_task(nothing(engine)) for _ in range(3)]
        await asyncio.sleep(CUT_SHORT_S / 2)
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert [type(task.exception()) for task in waiting[1:]] == [PoolTimeout] * 2
        await session.execute(sa.text(A_TENTH))


@dataclass
class Seen:
    """What ``pg_stat_activity`` showed of a database, again and again."""

    at_ns: list[int] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    idle_in_transaction: list[int] = field(default_factory=list)


@contextmanager
def looking_on(url: str, name: str) -> Iterator[Seen]:
    seen = Seen()
    stop = threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(url)
        while not stop.is_set():
            began_ns = time.monotonic_ns()
            row = await connection.fetchrow(STATES, name)
            assert row is not None
            seen.at_ns.append((began_ns + time.monotonic_ns()) // 2)
            seen.active.append(row[0])
            seen.idle_in_transaction.append(row[1])
            await asyncio.sleep(0.01)
        await connection.close()

    thread = threading.Thread(target=asyncio.run, args=[look()])
    thread.start()
    yield seen
    stop.set()
    thread.join()


STATES = (
    "SELECT count(*) FILTER (WHERE state = 'active'),"
    " count(*) FILTER (WHERE state LIKE 'idle in transaction%')"
    " FROM pg_stat_activity WHERE datname = $1"
)


@dataclass(frozen=True)
class Truth:
    """A load that was recorded, counted and looked at."""

    trace: Trace
    counted: Counted
    seen: Seen
    closed: list[float]


@pytest.fixture(scope="module")
def truth(database: LabDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truth]:
    fresh = FreshDatabase(database)
    recording = Recording(tmp_path_factory.mktemp("truth") / "trace")
    before = fresh.count()
    with looking_on(database.url, fresh.name) as seen:
        closed_ns = asyncio.run(load(fresh.url))
    loaded = fresh.count()
    trace = recording.read()
    connections = [len(connects(trace, pool.id)) for pool in trace.pools]

    async def open_as_many() -> None:
        pools = Pools(fresh.url, size=max(connections))
        await pools.open(*connections)
        await pools.close()

    asyncio.run(open_as_many())
    opening = fresh.count() - loaded
    counted = loaded - before
    assert counted.sessions == opening.sessions == sum(connections)
    # Drivers ask a new connection for types and versions; it is no operation of the application.
    done = Counted(
        counted.commits - opening.commits + connections[-1],  # asyncpg resets what comes back
        counted.rollbacks - opening.rollbacks,
        counted.sessions,
        counted.idle_in_transaction - opening.idle_in_transaction,
        counted.active - opening.active,
        counted.lasted,
    )
    yield Truth(trace, done, seen, [trace.at(ns) for ns in closed_ns])
    fresh.drop()


def connects(trace: Trace, pool: str) -> list[Operation]:
    """The connections that a pool opened."""
    return [
        operation
        for checkout in trace.checkouts
        for operation in checkout.operations
        if checkout.pool.id == pool and operation.kind is OperationKind.CONNECT
    ]


def trips(checkout: Checkout) -> list[tuple[float, float]]:
    """When PostgreSQL was asked something, and when it had answered."""
    return [
        (operation.started, operation.ended)
        for operation in checkout.operations
        if operation.ended is not None
        and operation.kind is not OperationKind.CONNECT
        and (
            operation.statement is not None
            or operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK)
        )
    ]


def a_trip(trace: Trace) -> float:
    """Seconds that it takes to ask PostgreSQL for next to nothing, in this run."""
    times = [
        operation.ended - operation.started
        for checkout in trace.checkouts
        for operation in checkout.operations
        if operation.ended is not None and operation.statement == SELECTED
    ]
    return sum(times) / len(times)


SELECTED = "SELECT data FROM notes WHERE id = ?"


def test_every_checkout_of_a_mixed_load_adds_up(truth: Truth) -> None:
    check_trace(truth.trace)
    outcomes = [checkout.outcome for checkout in truth.trace.checkouts]
    assert outcomes.count(Outcome.TIMEOUT) == 2
    assert outcomes.count(Outcome.CANCELLED) == 1
    asked = 4 + ROUNDS * (9 + 2) + 4  # `explicit` and `in_thread` ask twice
    assert len(outcomes) == asked
    assert outcomes.count(Outcome.RETURNED) == asked - 3


def test_the_ends_of_its_transactions_are_postgresqls_own(truth: Truth) -> None:
    commits = rollbacks = 0
    for checkout in truth.trace.checkouts:
        ends = [t.ended_with is OperationKind.COMMIT for t in transactions(checkout, 0.0)]
        ends += autocommitted(checkout)
        commits += ends.count(True)
        rollbacks += ends.count(False)
    assert (commits, rollbacks) == (truth.counted.commits, truth.counted.rollbacks)
    assert min(commits, rollbacks) >= ROUNDS * 3


def autocommitted(checkout: Checkout) -> list[bool]:
    """Whether it succeeded, for each statement outside of a transaction."""
    found = []
    within = False
    for operation in checkout.operations:
        if operation.kind is OperationKind.BEGIN:
            within = True
        elif operation.kind in (OperationKind.COMMIT, OperationKind.ROLLBACK):
            within = False
        elif not within and operation.statement is not None:
            found.append(operation.error is None)
    return found


def test_its_time_idle_in_transaction_is_postgresqls_own(truth: Truth) -> None:
    """But for the way of an answer to the application, and of its next question to PostgreSQL."""
    recorded = sum(idle_in_transaction(c) for c in truth.trace.checkouts)
    asked = sum(len(trips(checkout)) for checkout in truth.trace.checkouts)
    assert recorded == pytest.approx(
        truth.counted.idle_in_transaction, abs=asked * a_trip(truth.trace)
    )
    assert recorded > ROUNDS * (2 * CUT_SHORT_S)


def test_its_busy_time_is_postgresqls_active_time_and_the_way_there(truth: Truth) -> None:
    asked = [trip for checkout in truth.trace.checkouts for trip in trips(checkout)]
    busy = sum(ended - started for started, ended in asked)
    way = len(asked) * a_trip(truth.trace)
    # A statement that was cancelled runs on until PostgreSQL hears of it.
    assert truth.counted.active - way <= busy <= truth.counted.active + 2 * way
    assert busy > ROUNDS * 4 * CUT_SHORT_S


def test_its_connections_last_as_long_as_postgresqls_sessions(truth: Truth) -> None:
    shortest = longest = 0.0
    for pool, closed in zip(truth.trace.pools, truth.closed, strict=True):
        for began, opened, ended in lifetimes(truth.trace, pool.id, closed):
            shortest += ended - opened
            longest += ended - began
    way = truth.counted.sessions * a_trip(truth.trace)
    # A session begins while the connection is opened, and ends when PostgreSQL has heard of it and
    # its process has tidied up, which takes longer than an answer.
    assert shortest - way <= truth.counted.lasted <= longest + 3 * way
    assert truth.counted.sessions > len(truth.trace.pools)


def lifetimes(trace: Trace, pool: str, closed: float) -> list[tuple[float, float, float]]:
    """When each connection began to be opened, was open, and was closed."""
    found = []
    numbers = {c.connection for c in trace.checkouts if c.pool.id == pool} - {None}
    for number in numbers:
        lent = [c for c in trace.checkouts if (c.pool.id, c.connection) == (pool, number)]
        opening = [
            (before, o)
            for before, checkout in zip([None, *lent[:-1]], lent, strict=True)
            for o in checkout.operations
            if o.kind is OperationKind.CONNECT
        ]
        # A connection that is replaced was closed when it came back for the last time.
        closing = [before.returned for before, _ in opening if before is not None]
        for (_, connect), ended in zip(opening, [*closing, closed], strict=True):
            assert connect.ended is not None
            assert ended is not None
            found.append((connect.started, connect.ended, ended))
    return found


def test_it_is_at_each_moment_what_postgresql_shows(truth: Truth) -> None:
    """Sums over many moments; on the way, a question is the application's and not PostgreSQL's."""
    trace = truth.trace
    moments = [trace.at(ns) for ns in truth.seen.at_ns]
    assert len(moments) > 20
    asked = [trip for checkout in trace.checkouts for trip in trips(checkout)]
    idle = [gap for checkout in trace.checkouts for gap in idle_gaps(checkout, trace.until)]
    recorded_busy = sum(started <= at < ended for at in moments for started, ended in asked)
    recorded_idle = sum(started <= at < ended for at in moments for started, ended in idle)
    seen_active, seen_idle = sum(truth.seen.active), sum(truth.seen.idle_in_transaction)
    per_second = len(moments) / (moments[-1] - moments[0])
    on_the_way = len(asked) * a_trip(trace) * per_second
    noise = 0.1 * (recorded_busy + recorded_idle)
    assert seen_active - noise <= recorded_busy <= seen_active + on_the_way + noise
    assert recorded_idle - noise <= seen_idle <= recorded_idle + on_the_way + noise


def idle_gaps(checkout: Checkout, until: float) -> list[tuple[float, float]]:
    """Gaps within transactions, after their first statement."""
    found = []
    for transaction in transactions(checkout, until):
        first = next(
            (ended for started, ended in trips(checkout) if started >= transaction.started), until
        )
        found += [
            gap
            for gap in gaps_of(checkout)
            if gap[0] >= first - 1e-6 and gap[1] <= transaction.ended + 1e-6
        ]
    return found
