"""Statements that are sent past SQLAlchemy, on a connection that its pool lent."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, call

import psycopg2.extensions
import psycopg2.extras
import pytest
import sqlalchemy as sa
from recorded_app import Recording, async_engine, duration, kinds, statements
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from views import spent_by

import poolhog
from poolhog import Cause, OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def engine_of(driver: str, database: LabDatabase, directory: Path) -> sa.Engine:
    if driver == "sqlite":
        return sa.create_engine(f"sqlite:///{directory / 'data'}")
    return sa.create_engine(sa.make_url(database.url).set(drivername=driver))


def resets(checkout: poolhog.Checkout) -> list[str | None]:
    return [o.statement for o in checkout.operations if o.kind is OperationKind.RESET]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2", "sqlite"])
def test_cursors_commits_and_rollbacks_of_a_raw_connection(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    engine = engine_of(driver, database, tmp_path)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE raw (n integer)")
    connection.commit()
    cursor.execute("INSERT INTO raw VALUES (1)")
    connection.rollback()
    cursor.execute("DROP TABLE raw")
    connection.commit()
    cursor.close()
    connection.close()
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    done = [kind for kind in kinds(checkout) if kind != "begin"]  # as far as the driver tells
    assert done == [
        *("connect", "statement", "commit", "statement", "rollback", "statement", "commit"),
        "reset",
    ]
    assert [s.split()[0] for s in statements(checkout) if s != "BEGIN"] == [
        *("CREATE", "INSERT", "DROP")
    ]
    assert resets(checkout) == [None]
    rollback = next(o for o in checkout.operations if o.kind is OperationKind.ROLLBACK)
    assert rollback.cause is Cause.ASKED


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_what_a_raw_connection_did_not_commit_is_rolled_back_by_nobodys_wish(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    engine = engine_of(driver, database, tmp_path)
    connection = engine.raw_connection()
    connection.cursor().execute("CREATE TABLE forgotten (n integer)")
    connection.close()
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    assert resets(checkout) == ["ROLLBACK"]
    assert checkout.operations[-1].cause is None


def test_a_select_leaves_nothing_to_roll_back_in_sqlite(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    connection = engine_of("sqlite", database, tmp_path).raw_connection()
    connection.cursor().execute("SELECT 1")
    connection.close()
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == ["connect", "statement", "reset"]
    assert resets(checkout) == [None]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2", "sqlite"])
def test_cursors_of_a_connection_that_sqlalchemy_uses_too(
    driver: str, database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    engine = engine_of(driver, database, tmp_path)
    with Session(engine) as session:
        session.execute(ONE)
        session.connection().connection.cursor().execute("SELECT 2")
        session.execute(ONE)
        session.commit()
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "statement", "statement", "commit", "reset")
    ]


def test_cursors_stay_what_they_are(
    database: LabDatabase, recording: Recording, tmp_path: Path
) -> None:
    """They go through what is made in C, which wants the driver's own."""
    engine = engine_of("postgresql+psycopg2", database, tmp_path)
    connection: Any = engine.raw_connection()
    plain = connection.cursor()
    assert isinstance(plain, psycopg2.extensions.cursor)
    plain.execute("CREATE TEMPORARY TABLE many (n integer)")
    psycopg2.extras.execute_values(plain, "INSERT INTO many VALUES %s", [(1,), (2,), (3,)])
    composed = psycopg2.sql.SQL("SELECT n FROM {}").format(psycopg2.sql.Identifier("many"))
    assert composed.as_string(plain) == 'SELECT n FROM "many"'
    plain.execute(composed)
    assert len(plain.fetchall()) == 3
    rows: Any = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    rows.execute("SELECT n FROM many")
    assert isinstance(rows, psycopg2.extras.RealDictCursor)
    assert rows.fetchall()[0] == {"n": 1}
    named = connection.cursor("named")
    named.execute("SELECT n FROM many")
    assert len(named.fetchall()) == 3
    connection.close()
    lite: Any = engine_of("sqlite", database, tmp_path).raw_connection()
    assert isinstance(lite.cursor(), sqlite3.Cursor)
    assert lite.cursor().execute("SELECT 1").fetchall() == [(1,)]
    lite.close()
    engine.dispose()
    first, second = recording.read_checkouts()
    assert [s.split()[0] for s in statements(first)] == [
        *("CREATE", "INSERT", "SELECT", "SELECT", "SELECT", "ROLLBACK")
    ]
    assert kinds(first).count("fetch") == 1
    assert "statement" in kinds(second)


def test_a_copy_by_the_drivers_own_connection_is_busy(
    database: LabDatabase, recording: Recording
) -> None:
    """asyncpg's is the way to copy, whoever uses SQLAlchemy for the rest."""

    async def work() -> None:
        async with (
            async_engine(database.url) as engine,
            engine.connect() as connection,
        ):
            await connection.execute(sa.text("CREATE TEMPORARY TABLE copied (n integer)"))
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.copy_records_to_table("copied", records=[(n,) for n in range(1000)])
            await driver.execute("SELECT pg_sleep(0.1)")
            await connection.commit()

    asyncio.run(work())
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout) == [
        *("connect", "begin", "statement", "statement", "statement", "commit", "reset")
    ]
    sql = [o for o in checkout.operations if o.kind is OperationKind.STATEMENT]
    assert sql[1].statement == "COPY copied FROM STDIN"
    assert duration(sql[2]) >= 0.1
    assert spent_by(checkout).busy > spent_by(checkout).gap


def test_psycopgs_own_connection_in_an_asynchronous_engine(
    database: LabDatabase, recording: Recording
) -> None:
    async def work() -> None:
        url = sa.make_url(database.url).set(drivername="postgresql+psycopg")
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            async with driver.cursor() as cursor:
                await cursor.execute("SELECT 2")
            await connection.execute(ONE)
        async with engine.connect() as connection:
            await driver.execute("SELECT 3")  # it is another's now
        await engine.dispose()

    asyncio.run(work())
    first, second = recording.read_checkouts()
    assert statements(first) == ["BEGIN", "SELECT ?", "SELECT ?"]
    assert "statement" not in kinds(second)


def test_a_function_that_makes_cursors_is_let_alone(recording: Recording, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}")
    connection = engine.raw_connection()
    made: Any = connection.cursor(factory=lambda connection: sqlite3.Cursor(connection))
    assert type(made) is sqlite3.Cursor
    connection.close()
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    assert statements(checkout) == []


def test_a_mocked_connection_is_asked_for_nothing_but_its_reset(recording: Recording) -> None:
    driver = Mock()
    pool = sa.pool.QueuePool(creator=lambda: driver)
    connection = pool.connect()
    connection.cursor().execute("SELECT 1")
    connection.close()
    assert driver.mock_calls == [call.cursor(), call.cursor().execute("SELECT 1"), call.rollback()]
    (checkout,) = recording.read_checkouts()
    assert checkout.outcome is poolhog.Outcome.RETURNED


def test_where_double_quotes_are_of_strings_nothing_in_them_is_kept(
    recording: Recording, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}")
    with engine.connect() as connection:
        connection.exec_driver_sql('SELECT "hunter2"')
    engine.dispose()
    (checkout,) = recording.read_checkouts()
    assert "SELECT ?" in statements(checkout)
