"""A pool is exhausted while all of its connections are out, be it to be opened or pinged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from recorded_app import Recording
from sqlalchemy.pool import QueuePool

import poolhog
from poolhog import OperationKind
from poolhog.analysis.report import report_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = sa.text("SELECT 1")
SLOW_S = 0.03


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


def in_threads(number: int, work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_connection_that_is_pinged_is_out(recording: Recording, tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"check_same_thread": False},
    )
    ping = engine.dialect.do_ping

    def slow_ping(connection: Any) -> bool:
        time.sleep(SLOW_S)
        return ping(connection)

    vars(engine.dialect)["do_ping"] = slow_ping  # as of a database that is far away

    def work() -> None:
        for _ in range(8):
            with engine.connect() as connection:
                connection.execute(ONE)

    in_threads(3, work)
    engine.dispose()
    (use,) = report_of(recording.read()).pools
    assert use.peak_lent == 1
    assert use.saturation is not None
    # Lent it is for a hundredth of the time, and free for less.
    assert use.spent.use < 0.3 * use.observed
    assert use.saturation > 0.7


def test_a_connection_that_is_opened_is_out(recording: Recording, tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}", poolclass=QueuePool, pool_size=2, max_overflow=0
    )

    @sa.event.listens_for(engine, "do_connect")
    def slow_connect(*_: object) -> None:
        time.sleep(10 * SLOW_S)

    def work() -> None:
        with engine.connect() as connection:
            connection.execute(ONE)

    in_threads(2, work)
    engine.dispose()
    (use,) = report_of(recording.read()).pools
    assert use.peak_lent == 2
    assert use.saturation is not None
    assert use.saturation > 0.5


def test_what_a_listener_to_begin_sends_is_a_statement(
    recording: Recording, tmp_path: Path
) -> None:
    """SQLAlchemy's own recipe for SQLite, whose write lock is waited for there."""
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}",
        poolclass=QueuePool,
        connect_args={"timeout": 10, "isolation_level": None},
    )

    @sa.event.listens_for(engine, "begin")
    def begin_immediate(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    begun = threading.Event()

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (x int)"))
            begun.set()
            time.sleep(10 * SLOW_S)

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(10)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    writer.join()
    engine.dispose()
    checkouts = recording.read_checkouts()
    for checkout in checkouts:
        sent = [(o.kind, o.statement) for o in checkout.operations]
        assert (OperationKind.STATEMENT, "BEGIN IMMEDIATE") in sent
        assert sent[-2][0] is OperationKind.COMMIT
    waited = max(
        (o for c in checkouts for o in c.operations), key=lambda o: (o.ended or 0) - o.started
    )
    assert waited.statement == "BEGIN IMMEDIATE"
    assert waited.site is not None
    assert waited.site.function.endswith("begin_immediate")
    begins = [o for c in checkouts for o in c.operations if o.kind is OperationKind.BEGIN]
    assert all((o.ended or 0) - o.started < SLOW_S for o in begins)
