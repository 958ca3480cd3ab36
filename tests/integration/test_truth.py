"""What a trace says of transactions, against what PostgreSQL itself counted."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import pytest
import sqlalchemy as sa
from recorded_app import Recording, async_engine, eventually, kinds, statements
from sqlalchemy.ext.asyncio import AsyncSession

import poolhog
from poolhog import OperationKind
from poolhog.analysis.accounting import idle_in_transaction, transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from poolhog.lab.postgres import Database

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

    def __sub__(self, other: Counted) -> Counted:
        return Counted(
            self.commits - other.commits,
            self.rollbacks - other.rollbacks,
            self.sessions - other.sessions,
            self.idle_in_transaction - other.idle_in_transaction,
        )


class FreshDatabase:
    """A database of its own, counted from another, so that the reader does not count itself."""

    def __init__(self, server: Database) -> None:
        self._server = server
        self.name = f"truth_{secrets.token_hex(4)}"
        self.url = sa.make_url(server.url).set(database=self.name).render_as_string(False)
        server.query(f"CREATE DATABASE {self.name}")
        asyncio.run(self._fill())

    def count(self) -> Counted:
        """The counts, when every backend has ended: it reports what it did at its end."""
        eventually(lambda: not self._server.query(f"{ACTIVITY} = $1", self.name)[0][0])
        row = self._server.query(f"{STATISTICS} = $1", self.name)[0]
        return Counted(row[0], row[1], row[2], row[3] / 1000)

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
    "SELECT xact_commit, xact_rollback, sessions, idle_in_transaction_time"
    " FROM pg_stat_database WHERE datname"
)


@pytest.fixture
def fresh(database: Database) -> Iterator[FreshDatabase]:
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
    assert done.sessions == SIZE
    opening = opened - before
    return Counted(
        done.commits - opening.commits,
        done.rollbacks - opening.rollbacks,
        done.sessions,
        done.idle_in_transaction - opening.idle_in_transaction,
    )


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
    assert len(connects) == len(connections) == 2 * counted.sessions


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
    recorded = sum(idle_in_transaction(checkout, trace.until) for checkout in trace.checkouts)
    assert recorded == pytest.approx(counted.idle_in_transaction, rel=0.05)
    assert recorded >= 0.3 * REQUESTS
