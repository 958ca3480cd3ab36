"""Where pools come from is recorded: the line, the database, and what a forked child inherited."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from recorders import meta, pool_record, the_file

import poolhog
from poolhog.model import OperationKind, Outcome
from poolhog.recording.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.model import Trace
    from poolhog.recording.pools import PoolRecord


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "trace")
    yield recorder
    recorder.stop()


def made(recorder: Recorder, database: str | None = None) -> PoolRecord:
    record = pool_record()
    record.made_at = recorder.sites.here(sys._getframe())
    record.database = recorder.database(database) if database is not None else None
    return recorder.pool(record)


def lend(recorder: Recorder, pool: PoolRecord) -> None:
    checkout = recorder.ask(pool)
    recorder.grant(checkout, next(pool.connections))
    recorder.end(checkout)


def test_the_line_and_the_number_of_the_database(recorder: Recorder) -> None:
    word = "".join(["xyz", "zy"])  # the lines of this file are in the trace
    pools = [made(recorder, f"{word} {name}") for name in ("a", "b", "a")]
    pools.append(made(recorder))
    for pool in pools:
        lend(recorder, pool)
    recorder.stop()
    trace = poolhog.open_trace(recorder.directory)
    assert [pool.database for pool in trace.pools] == [1, 2, 1, None]
    lines = [pool.made_at.name for pool in trace.pools if pool.made_at is not None]
    assert lines == ["made"] * 4
    assert {pool.inherited for pool in trace.pools} == {0}
    assert word.encode() not in the_file(recorder.directory).read_bytes()


def test_a_pool_of_which_nothing_is_known_has_no_key(recorder: Recorder) -> None:
    lend(recorder, recorder.pool(pool_record()))
    recorder.stop()
    assert not [key for key in meta(the_file(recorder.directory)) if key.startswith("pool.")]


FORKING = """
import os, sys
from pathlib import Path
from recorders import pool_record
from poolhog.model import OperationKind
from poolhog.recording.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]))
pool = pool_record()
pool.made_at = recorder.sites.here(sys._getframe())  # made
recorder.pool(pool)

def lend(number=None):
    checkout = recorder.ask(pool)
    recorder.grant(checkout, number or next(pool.connections))
    return checkout

def send(checkout, text):
    recorder.operate(checkout, OperationKind.STATEMENT, text).end()

def in_child(work):
    child = os.fork()
    if child == 0:
        work()
        recorder.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    recorder.stop()
"""


def forked(tmp_path: Path, body: str) -> Trace:
    """What the child of a program recorded."""
    file, directory = tmp_path / "program.py", tmp_path / "trace"
    file.write_text(FORKING + body)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, file, directory], check=True, env=environ, timeout=60)
    trace = poolhog.open_trace(directory)
    parent, child = sorted(trace.processes, key=lambda process: process.began)
    assert child.parent_pid == parent.pid
    assert (child.errors, child.dropped, child.finished) == (0, 0, True)
    pools = tuple(pool for pool in trace.pools if pool.process is child)
    checkouts = tuple(one for one in trace.checkouts if one.pool.process is child)
    return replace(trace, pools=pools, checkouts=checkouts)


def test_a_forked_child_knows_which_connections_it_inherited(tmp_path: Path) -> None:
    body = """
for _ in range(2):
    recorder.end(lend())
in_child(lambda: recorder.end(lend()))
"""
    trace = forked(tmp_path, body)
    (pool,) = trace.pools
    assert pool.inherited == 2
    assert [checkout.connection for checkout in trace.checkouts] == [3]
    # The child's file has the line as well.
    assert pool.made_at is not None
    assert pool.made_at.source.endswith("# made")


def test_a_lent_connection_is_adopted_with_its_first_operation(tmp_path: Path) -> None:
    body = """
idle, used = lend(), lend()
for checkout in (idle, used):
    send(checkout, "SELECT 'the parent'")

def work():
    recorder.end(idle)
    for text in ("SELECT 1 AS one", "SELECT 2 AS two"):
        send(used, text)
    recorder.end(used)

in_child(work)
"""
    (checkout,) = forked(tmp_path, body).checkouts
    assert (checkout.connection, checkout.outcome) == (2, Outcome.RETURNED)
    assert [o.statement for o in checkout.operations] == ["SELECT ? AS one", "SELECT ? AS two"]
    assert checkout.asked >= checkout.pool.process.began


def test_a_connect_that_nobody_asked_for_belongs_to_who_waits_longest(recorder: Recorder) -> None:
    pool, other = made(recorder), made(recorder)
    elsewhere, first, second = recorder.ask(other), recorder.ask(pool), recorder.ask(pool)
    recorder.fail_to_connect(pool, ConnectionRefusedError())
    for checkout in (elsewhere, first, second):
        recorder.give_up(checkout, Outcome.TIMEOUT, TimeoutError())
    recorder.stop()
    found = poolhog.open_trace(recorder.directory).checkouts
    assert [[o.error for o in one.operations] for one in found] == [
        [],
        ["ConnectionRefusedError: connection refused"],
        [],
    ]


def test_a_connect_without_anybody_who_waits_is_the_pools_own(recorder: Recorder) -> None:
    pool = made(recorder)
    recorder.fail_to_connect(pool, OSError("the network is down"))
    recorder.stop()
    (checkout,) = poolhog.open_trace(recorder.directory).checkouts
    assert checkout.outcome is Outcome.ERROR
    assert checkout.site is not None
    assert checkout.site.name == "made"
    (operation,) = checkout.operations
    assert (operation.kind, operation.error) == (OperationKind.CONNECT, "OSError")


def test_what_a_pool_raises_at_once_is_a_connect_that_failed(recorder: Recorder) -> None:
    checkout = recorder.ask(made(recorder))
    recorder.give_up(checkout, Outcome.ERROR, RuntimeError("the pool is closed"))
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert [(o.kind, o.error) for o in found.operations] == [
        (OperationKind.CONNECT, "RuntimeError")
    ]
