"""What a trace's bytes hold of literals that databases were sent, and of command lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import poolhog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

MARK = "hunter2"
SQLITE = [
    f"SELECT '{MARK}'",
    f"SELECT '\\', '{MARK}', 1 AS \"it's\", 2 AS [it's {{n}}], '{MARK}' -- {MARK}'",
    f"SELECT name FROM sqlite_master WHERE name = '{MARK}' OR name IS DISTINCT FROM '{MARK}'",
    f"PRAGMA key = {MARK}",
    f"PRAGMA rekey = '{MARK}'",
    f"ATTACH ':memory:' AS \"a {{n}}\" /* {MARK} */",
]
IN_DOUBLE_QUOTES = f'SELECT "{MARK}"'
"""A string or an unknown column, as SQLite was built: it is sent all the same."""

POSTGRESQL = [
    f"SELECT '{MARK}', E'it\\'s {MARK}', $${MARK}$$, $t${MARK}$t$, U&'{MARK}'",
    f"SELECT 1 AS \"it's\", '{MARK}' AS \"a {{n}}\" /* it's {MARK} */ -- {MARK}",
    f"SET app.token TO {MARK}",
    f"SET LOCAL app.name = '{MARK}'",
    f"CREATE ROLE ada_{{n}} WITH PASSWORD '{MARK}' VALID UNTIL '2030-01-01'",
    f"ALTER ROLE ada_{{n}} PASSWORD '{MARK}'",
    "DROP ROLE ada_{n}",
]


def sqlite(database: LabDatabase, directory: Path) -> None:
    send_sync(sa.create_engine(f"sqlite:///{directory / 'data'}"), [*SQLITE, IN_DOUBLE_QUOTES])


def aiosqlite(database: LabDatabase, directory: Path) -> None:
    url = f"sqlite+aiosqlite:///{directory / 'data'}"
    asyncio.run(send_async(url, [*SQLITE, IN_DOUBLE_QUOTES]))


def raw_sqlite(database: LabDatabase, directory: Path) -> None:
    pool = sa.pool.QueuePool(lambda: sqlite3.connect(directory / "data"))  # type: ignore[arg-type]
    connection = pool.connect()
    for sql in [*SQLITE, IN_DOUBLE_QUOTES]:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.cursor().execute(sql.format(n=1))
    connection.close()
    pool.dispose()


def sqlalchemy_psycopg(database: LabDatabase, directory: Path) -> None:
    url = sa.make_url(database.url).set(drivername="postgresql+psycopg")
    send_sync(sa.create_engine(url, isolation_level="AUTOCOMMIT"), POSTGRESQL)


def sqlalchemy_asyncpg(database: LabDatabase, directory: Path) -> None:
    url = sa.make_url(database.url).set(drivername="postgresql+asyncpg")
    asyncio.run(send_async(url, POSTGRESQL))


def asyncpg_pool(database: LabDatabase, directory: Path) -> None:
    async def send() -> None:
        async with (
            asyncpg.create_pool(database.url, min_size=1, max_size=1) as pool,
            pool.acquire() as connection,
        ):
            for sql in POSTGRESQL:
                await connection.execute(sql.format(n=3))

    asyncio.run(send())


def psycopg_pool_pool(database: LabDatabase, directory: Path) -> None:
    with (
        psycopg_pool.ConnectionPool(database.url, min_size=1, max_size=1) as pool,
        pool.connection() as connection,
    ):
        for sql in POSTGRESQL:
            # Its type wants literals, so that nobody puts values into them.
            connection.execute(sql.format(n=4).encode())


def send_sync(engine: sa.Engine, statements: list[str]) -> None:
    with engine.connect() as connection:
        for sql in statements:
            with contextlib.suppress(sa.exc.OperationalError):
                connection.exec_driver_sql(sql.format(n=1))
    engine.dispose()


async def send_async(url: str | sa.URL, statements: list[str]) -> None:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        for sql in statements:
            with contextlib.suppress(sa.exc.OperationalError):
                await connection.exec_driver_sql(sql.format(n=2))
    await engine.dispose()


@pytest.mark.parametrize(
    ("send", "kept"),
    [
        (sqlite, "? AS [it's 1]"),
        (aiosqlite, "? AS [it's 2]"),
        (raw_sqlite, None),
        (sqlalchemy_psycopg, '? AS "a 1"'),
        (sqlalchemy_asyncpg, '? AS "a 2"'),
        (asyncpg_pool, '? AS "a 3"'),
        (psycopg_pool_pool, '? AS "a 4"'),
    ],
)
def test_no_literal_of_a_statement_is_on_disk(
    send: Callable[[LabDatabase, Path], None],
    kept: str | None,
    database: LabDatabase,
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    with poolhog.recording(trace):
        send(database, tmp_path)
        deadline = time.monotonic() + 20
        # Nothing was folded into the file yet: most of it is in the log beside it.
        while b"SELECT ?" not in content(trace):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert {file.name.rpartition("-")[2] for file in trace.iterdir()} >= {"wal"}
        assert MARK.encode() not in content(trace)
    assert MARK.encode() not in content(trace)
    statements = [o.statement for c in poolhog.open_trace(trace).checkouts for o in c.operations]
    assert any("SELECT ?" in (statement or "") for statement in statements)
    if kept is not None:
        assert any(kept in (statement or "") for statement in statements)


CODE = """
import poolhog, sqlalchemy, sys
poolhog.install(sys.argv[-1], include=["*"])
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection: connection.execute(sqlalchemy.text("SELECT 1")); "SECRET"
"""


@pytest.mark.parametrize("begin", [["-c", CODE.replace("SECRET", MARK)], ["-m", "app"], ["app.py"]])
def test_no_secret_of_the_command_line_or_the_environment_is_on_disk(
    begin: list[str], tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(CODE, encoding="utf-8")
    words = [
        *("--workers", "4", f"--url=postgresql://ada:{MARK}@db/x", "--api-key", f"-{MARK}"),
        *(
            f"-p{MARK}",
            "-H",
            f"Authorization: Bearer {MARK}",
            f"TOKEN={MARK}",
            f"x?password={MARK}",
        ),
    ]
    environ = {"PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": f"postgresql://a:{MARK}@db"}
    command = [sys.executable, *begin, *words, "trace"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, check=True
    )
    trace = tmp_path / "trace"
    assert MARK.encode() not in content(trace) + done.stdout + done.stderr
    (process,) = poolhog.open_trace(trace).processes
    masked = "--workers 4 --url=postgresql://*** --api-key *** -p*** -H *** TOKEN=*** *** ***"
    assert " ".join(process.argv[2:]) == masked


def content(trace: Path) -> bytes:
    return b"".join(file.read_bytes() for file in trace.iterdir()) if trace.exists() else b""
