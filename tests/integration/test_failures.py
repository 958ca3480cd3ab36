"""Failures of real services are told: refused connects, a pool per request, a fork."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy as sa
from places import line_of
from recorded_app import Recording
from sqlalchemy.pool import NullPool

import poolhog
from poolhog.analysis.findings import CONNECT_FAILED, MANY_POOLS, SHARED_OVER_FORK
from poolhog.analysis.report import read_report, report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.render.findings import detail
from poolhog.render.page.verdict import verdict as page_verdict
from poolhog.render.report import verdict
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolhog.analysis.findings import AnyKind, Finding
    from poolhog.analysis.report import Report
    from poolhog.lab.postgres import LabDatabase

NOWHERE = "postgresql+{}://someone:secret@127.0.0.1:1/nothing"


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data.sqlite'}"


def only(report: Report, kind: AnyKind, function: Callable[..., object], text: str) -> Finding:
    assert [finding.kind for finding in report.findings] == [kind]
    (finding,) = report.findings
    at(finding, function, text)
    return finding


def at(finding: Finding, function: Callable[..., object], text: str) -> None:
    assert finding.site is not None
    assert (finding.site.file, finding.site.line) == line_of(function, text)


def ask_nobody(engine: sa.Engine) -> None:
    with suppress(sa.exc.OperationalError), engine.connect():
        pass


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_server_that_does_not_answer(recording: Recording, driver: str) -> None:
    for _ in range(3):
        ask_nobody(sa.create_engine(NOWHERE.format(driver)))
    report = report_of(recording.read())
    finding = only(report, CONNECT_FAILED, ask_nobody, "engine.connect()")
    assert detail(finding) == "3 of 3 connects failed (OperationalError: connection refused)"
    assert "3 of 3 connects failed" in verdict(report)
    assert "3 of 3 connects failed" in page_verdict(report)[0]
    # The message says more, and some of that is nobody's business.
    written = b"".join(file.read_bytes() for file in recording.directory.iterdir())
    assert b"secret" not in written
    assert b"someone" not in written


def test_some_connects_that_fail(recording: Recording, file_url: str) -> None:
    engine = sa.create_engine(file_url, poolclass=NullPool)
    folder = Path(str(engine.url.database))
    ask_nobody(engine)
    moved = folder.rename(folder.with_suffix(".moved"))
    folder.mkdir()
    for _ in range(2):
        ask_nobody(engine)
    folder.rmdir()
    moved.rename(folder)
    ask_nobody(engine)
    finding = only(report_of(recording.read()), CONNECT_FAILED, ask_nobody, "engine.connect()")
    assert detail(finding).startswith("2 of 4 connects failed (OperationalError: unable to open")


async def make_a_pool(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=2, max_size=2):
        pass


def test_a_pool_that_cannot_open_its_first_connections(recording: Recording) -> None:
    with pytest.raises(OSError, match=r"refused|failed"):
        asyncio.run(make_a_pool(NOWHERE.format("x").replace("+x", "")))
    report = report_of(recording.read())
    finding = only(report, CONNECT_FAILED, make_a_pool, "create_pool(")
    assert "ConnectionRefusedError: connection refused" in detail(finding)


def test_a_pool_that_connects_by_itself(recording: Recording) -> None:
    """Nobody learns more than that there was no connection in time."""
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

    def ask(pool: psycopg_pool.ConnectionPool) -> None:
        with suppress(psycopg_pool.PoolTimeout), pool.connection():
            pass

    url = NOWHERE.format("x").replace("+x", "")
    with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, timeout=2.5) as pool:
        threads = [threading.Thread(target=ask, args=(pool,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report = report_of(recording.read())
    assert {finding.kind for finding in report.findings} == {CONNECT_FAILED}
    told = " ".join(map(detail, report.findings))
    assert "OperationalError: connection refused" in told
    assert "timed out while the pool could not connect" in told


def make_an_engine(url: str) -> sa.Engine:
    return sa.create_engine(url)  # for each request


def answer(url: str) -> int:
    with make_an_engine(url).connect() as connection:
        return int(connection.execute(sa.text("SELECT 1")).scalar_one())


def test_an_engine_for_each_request(recording: Recording, file_url: str) -> None:
    for _ in range(7):
        answer(file_url)
    report = report_of(recording.read())
    finding = only(report, MANY_POOLS, make_an_engine, "# for each request")
    assert detail(finding) == "made 7 pools of one database in one process, for 7 checkouts"
    assert verdict(report).endswith("in one process, for 7 checkouts.")


def test_an_engine_for_each_of_many_databases_is_fine(recording: Recording, tmp_path: Path) -> None:
    for number in range(7):
        answer(f"sqlite:///{tmp_path / str(number)}.sqlite")
        answer("sqlite:///:memory:")
    assert report_of(recording.read()).findings == ()


def test_a_pool_that_takes_the_place_of_another_is_fine(
    recording: Recording, file_url: str
) -> None:
    engine = make_an_engine(file_url)
    for _ in range(7):
        ask_nobody(engine)
        engine.dispose()
    assert report_of(recording.read()).findings == ()


def test_a_pool_for_each_request_until_there_are_too_many(
    recording: Recording, database: LabDatabase
) -> None:
    url = sa.make_url(database.url)
    as_climber = url.set(username="climber").render_as_string(hide_password=False)
    kept: list[asyncpg.Pool] = []

    async def handle() -> None:
        pool = await asyncpg.create_pool(as_climber, min_size=1, max_size=2)  # a pool
        kept.append(pool)
        await pool.fetchval("SELECT 1")

    async def main() -> None:
        owner = await asyncpg.connect(database.url)
        await owner.execute("CREATE ROLE climber LOGIN CONNECTION LIMIT 6")
        try:
            for _ in range(9):
                with suppress(asyncpg.TooManyConnectionsError):
                    await handle()
            for pool in kept:
                await pool.close()
        finally:
            await asyncio.sleep(0.2)
            await owner.execute("DROP ROLE climber")
            await owner.close()

    asyncio.run(main())
    report = report_of(recording.read())
    assert [finding.kind for finding in report.findings] == [MANY_POOLS, CONNECT_FAILED]
    for finding in report.findings:
        at(finding, handle, "# a pool")
        told = "3 connects failed (TooManyConnectionsError: too many connections)"
        assert told in detail(finding)
    assert "made 9 pools of one database in one process" in verdict(report)


def test_a_pool_for_each_call(recording: Recording, database: LabDatabase) -> None:
    def call() -> None:
        with (
            psycopg_pool.ConnectionPool(database.url, min_size=1) as pool,  # for a call
            pool.connection() as connection,
        ):
            connection.execute("SELECT 1")

    for _ in range(6):
        call()
    only(report_of(recording.read()), MANY_POOLS, call, "# for a call")


def fail(engine: sa.Engine, statement: str) -> None:
    with suppress(sa.exc.DBAPIError), engine.begin() as connection:
        connection.execute(sa.text(statement))  # the statement


def test_statements_that_fail(recording: Recording, file_url: str) -> None:
    engine = sa.create_engine(file_url)
    fail(engine, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    fail(engine, "INSERT INTO t VALUES (1)")
    for _ in range(2):
        fail(engine, "INSERT INTO t VALUES (1)")
    fail(engine, "SELECT * FROM nothing")
    report = report_of(recording.read())
    assert report.findings == ()
    line = f"{Path(__file__).name}:{line_of(fail, '# the statement')[1]}"
    told = f"3 operations failed: 2 IntegrityError ({line}), 1 OperationalError ({line})"
    assert verdict(report) == f"{told}."
    assert f"{told}." in page_verdict(report)


FORKING = """
import multiprocessing, os, sys
import sqlalchemy as sa

def use():
    with engine.connect() as connection:  # a use
        connection.execute(sa.text("SELECT 1"))

def child(work):
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()

engine = sa.create_engine(sys.argv[1])
"""


def forking(tmp_path: Path, body: str) -> Report:
    file, trace = tmp_path / "program.py", tmp_path / "trace"
    file.write_text(FORKING + body)
    url = f"sqlite:///{tmp_path / 'data.sqlite'}"
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(trace), "--", sys.executable]
    subprocess.run([*command, str(file), url], check=True, capture_output=True, env=os.environ)
    readers = stream_trace(trace)
    assert all(reader.process.errors == 0 for reader in readers)
    return read_report(readers, Thresholds())


def test_a_pool_is_used_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    body = """
use()
for _ in range(3):
    child(lambda: (use(), use()))
use()
"""
    report = forking(tmp_path, body)
    (finding,) = report.findings
    assert finding.kind is SHARED_OVER_FORK
    assert finding.site is not None
    assert finding.site.source.endswith("# a use")
    assert finding.checkouts == 6
    assert detail(finding).startswith(
        "used 1 connection of a parent process in 3 forked processes (6 checkouts)"
    )
    assert "of a parent process in 3 forked processes" in verdict(report)


def test_a_connection_that_is_lent_over_a_fork(tmp_path: Path) -> None:
    body = """
kept = engine.connect()
kept.execute(sa.text("SELECT 1"))
child(lambda: kept.execute(sa.text("SELECT 2")))  # lent
kept.close()
"""
    report = forking(tmp_path, body)
    shared = report.findings[0]
    assert shared.kind is SHARED_OVER_FORK
    assert shared.site is not None
    assert shared.site.source.endswith("# lent")
    # What the child sent is in its own file.
    assert len(report.processes) == 2
    assert sum(route.checkouts for route in report.routes) == 2


def test_connections_that_a_pool_opened_before_a_fork(
    tmp_path: Path, database: LabDatabase
) -> None:
    """Nobody had asked for them."""
    body = f"""
import psycopg_pool

pool = psycopg_pool.ConnectionPool({database.url!r}, min_size=1, max_size=1, open=True)
pool.wait()

def work():
    with pool.connection() as connection:
        connection.execute("SELECT 1")

child(work)
pool.close()
"""
    (finding,) = forking(tmp_path, body).findings
    assert finding.kind is SHARED_OVER_FORK


@pytest.mark.parametrize(
    "body",
    [
        "use()\nchild(lambda: (engine.dispose(close=False), use()))\nuse()",
        "child(use)\nuse()",
        "engine = sa.create_engine(sys.argv[1], poolclass=sa.NullPool)\nuse()\nchild(use)\nuse()",
    ],
)
def test_connections_of_its_own_are_fine(tmp_path: Path, body: str) -> None:
    report = forking(tmp_path, body)
    assert len(report.processes) == 2
    assert report.findings == ()


def test_a_connection_that_the_child_opens_anew_is_its_own(tmp_path: Path) -> None:
    """The recipe of SQLAlchemy's documentation, which looks who opened a connection."""
    body = """
from sqlalchemy import event, exc

@event.listens_for(engine, "connect")
def connect(dbapi_connection, record):
    record.info["pid"] = os.getpid()

@event.listens_for(engine, "checkout")
def checkout(dbapi_connection, record, proxy):
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise exc.DisconnectionError("opened by another process")

use()
child(lambda: (use(), use()))
use()
"""
    assert forking(tmp_path, body).findings == ()
