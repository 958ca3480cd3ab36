"""A run that is read again and again while it is recorded, and how it stands."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import live_runs
import pytest
from live_runs import RUNNING, WORKER
from recorders import eventually, pool_record, request_record, the_file

from poolhog.analysis.findings_so_far import FindingsSoFar
from poolhog.analysis.live import OTHER, LiveRun, live_of
from poolhog.analysis.liveness import Liveness
from poolhog.analysis.thresholds import Thresholds
from poolhog.errors import PoolhogError, TraceError
from poolhog.model import OperationKind
from poolhog.recording.options import Options
from poolhog.recording.recorder import Recorder, current_request
from poolhog.render.top import top_json, top_lines
from poolhog.render.top_tables import middle
from poolhog.render.top_views import Choice, Showing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.analysis.live import Live
    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.records import CheckoutRecord


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "trace", options=Options((), (), 0.0, True))
    yield recorder
    recorder.stop()
    current_request.set(None)


@pytest.fixture
def pool(recorder: Recorder) -> PoolRecord:
    return recorder.pool(pool_record())


def lend(recorder: Recorder, pool: PoolRecord, number: int, route: str) -> CheckoutRecord:
    request = request_record(f"/{number}", route)
    current_request.set(request)
    recorder.request(request)
    checkout = recorder.ask(pool)
    recorder.grant(checkout, number)
    operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
    assert operation is not None
    operation.end()
    return checkout


def names(run: LiveRun) -> list[str]:
    return sorted(one.route for one in run.look().checkouts)


def statements(run: LiveRun) -> list[str | None]:
    found = [one.holding for one in run.look().checkouts]
    return [holding.held.statement for holding in found if holding is not None]


def test_each_look_sees_what_came_and_went(recorder: Recorder, pool: PoolRecord) -> None:
    first = lend(recorder, pool, 1, "/a")
    the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: names(run) == ["GET /a"])
    second = lend(recorder, pool, 2, "/b")
    waiting = recorder.ask(pool)
    eventually(lambda: names(run) == ["GET /a", "GET /b", "GET /b"])
    live = run.look()
    assert [len(live.pools[0].holders), len(live.pools[0].waiting)] == [2, 1]
    assert [route.name for route in live.routes] == ["GET /b", "GET /a"]
    recorder.end(first)
    recorder.grant(waiting, 1)
    eventually(lambda: names(run) == ["GET /b", "GET /b"])
    assert all(one.holding is not None for one in run.look().checkouts)
    recorder.end(second)
    recorder.end(waiting)
    eventually(lambda: names(run) == [])
    assert [pool.out for pool in run.look().pools] == [0]


def test_what_did_not_change_is_not_made_again(recorder: Recorder, pool: PoolRecord) -> None:
    lend(recorder, pool, 1, "/a")
    the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: names(run) == ["GET /a"])
    before = run.look().checkouts[0]
    lend(recorder, pool, 2, "/b")
    eventually(lambda: len(names(run)) == 2)
    after = run.look().checkouts[0]
    assert after.checkout is before.checkout
    assert after.age > before.age


def test_statements_and_lines_that_are_new_are_learned(
    recorder: Recorder, pool: PoolRecord
) -> None:
    lend(recorder, pool, 1, "/a")
    the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: names(run) == ["GET /a"])
    for number in range(3):
        late = recorder.ask(pool)
        recorder.grant(late, 10 + number)
        recorder.operate(late, OperationKind.STATEMENT, f"SELECT x{number} FROM late")
        statement = f"SELECT x{number} FROM late"
        eventually(lambda statement=statement: statement in statements(run))  # type: ignore[misc]
        assert run.look().checkouts[-1].checkout.site is not None


def test_a_process_that_joins_is_seen_and_a_damaged_file_named(
    recorder: Recorder, pool: PoolRecord
) -> None:
    lend(recorder, pool, 1, "/a")
    file = the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: names(run) == ["GET /a"])
    (recorder.directory / "99.sqlite").write_bytes(b"no trace at all, and long enough" * 100)
    live = run.look()
    assert [one.file for one in live.unreadable] == [str(recorder.directory / "99.sqlite")]
    assert [one.route for one in live.checkouts] == ["GET /a"]
    copied = recorder.directory / "99.sqlite"
    copied.write_bytes(file.read_bytes())
    recorder.settle()
    copied.write_bytes(file.read_bytes())
    eventually(lambda: len(run.look().dumps) == 2)
    assert run.look().unreadable == ()


def test_a_run_that_is_deleted_or_has_no_such_process_is_told(
    recorder: Recorder, pool: PoolRecord
) -> None:
    lend(recorder, pool, 1, "/a")
    file = the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: names(run) == ["GET /a"])
    with pytest.raises(PoolhogError, match="no process 1 in"):
        LiveRun(recorder.directory, pid=1).look()
    assert LiveRun(recorder.directory, pid=os.getpid()).look().checkouts
    recorder.stop()
    for left in file.parent.iterdir():
        left.unlink()
    with pytest.raises(TraceError, match="no trace in"):
        run.look()


def test_a_run_that_is_over_is_read_once_and_says_so(recorder: Recorder, pool: PoolRecord) -> None:
    recorder.end(lend(recorder, pool, 1, "/a"))
    the_file(recorder.directory)
    recorder.stop()
    run = LiveRun(recorder.directory)
    live = run.look()
    assert live.is_over
    assert [dump.liveness for dump in live.dumps] == [Liveness.FINISHED]
    assert run.look().processes[0] is live.processes[0]


def test_findings_are_computed_again_and_again_in_a_thread(
    recorder: Recorder, pool: PoolRecord
) -> None:
    recorder.end(lend(recorder, pool, 1, "/a"))
    the_file(recorder.directory)
    findings = FindingsSoFar(recorder.directory, None, Thresholds)
    findings.start()
    eventually(lambda: findings.latest is not None)
    findings.stop()
    assert findings.latest is not None
    assert findings.latest.report is not None
    assert findings.latest.error == ""
    gone = FindingsSoFar(recorder.directory / "none", None, Thresholds).compute()
    assert gone.report is None
    assert "no trace in" in gone.error


def text_of(live: Live, width: int = 100) -> list[str]:
    return [line.plain for line in top_lines(Showing(live, "run"), Choice(), width)]


def test_the_text_has_all_that_the_screen_has() -> None:
    lines = text_of(live_runs.live(live_runs.deadlock(), live_runs.mixed(WORKER)))
    assert lines[0].startswith("poolhog top  run")
    assert "2 processes running" in lines[0]
    assert lines[1].startswith("All 5 connections of pool main are held by requests that wait for")
    for name in ("checkouts 17", "routes 6", "findings being computed"):
        assert name in lines
    assert sum("nested" in line for line in lines) == 5
    assert max(map(len, lines)) <= 100


def test_processes_that_died_or_ended_are_told_in_a_line() -> None:
    def heading(*lives: Liveness) -> str:
        dumps = [live_runs.live(live_runs.empty(), life=life).dumps[0] for life in lives]
        return text_of(live_of(dumps))[0]

    assert "1 process running" in heading(Liveness.RUNNING)
    assert "1 of 2 processes running" in heading(Liveness.RUNNING, Liveness.DEAD)
    assert "the process died" in heading(Liveness.DEAD)
    assert "1 of 2 processes died" in heading(Liveness.DEAD, Liveness.FINISHED)
    assert "the run is over" in heading(Liveness.FINISHED)


def test_no_checkout_yet_is_told() -> None:
    lines = text_of(live_runs.live(live_runs.empty()))
    assert "No connection is lent, and nobody waits for one." in lines
    over = live_runs.live(live_runs.empty(), life=Liveness.FINISHED)
    assert "No connection was lent when the run ended." in text_of(over)


def test_work_without_a_request_is_one_route() -> None:
    trace = live_runs.mixed()
    checkouts = [dataclasses.replace(one, request=None) for one in trace.checkouts]
    live = live_runs.live(dataclasses.replace(trace, checkouts=tuple(checkouts)))
    (route,) = live.routes
    assert (route.name, route.held, route.unused, route.waiting) == (OTHER, 4, 3, 0)


def test_the_json_is_that_of_a_dump_and_more() -> None:
    live = live_runs.live(live_runs.deadlock(), live_runs.mixed(WORKER))
    found = json.loads(json.dumps(top_json(Showing(live, "run"))))
    assert set(found) == {
        *("unreadable", "missing", "is_over", "conclusions", "processes", "routes", "findings"),
    }
    assert [process["pid"] for process in found["processes"]] == [RUNNING.pid, WORKER.pid]
    assert found["findings"] is None
    assert found["conclusions"][0]["is_deadlock"]
    assert found["routes"][0] == {
        "route": "POST /orders",
        "held": 5,
        "unused": 5,
        "longest_held_s": 56.0,
        "waiting": 0,
        "longest_wait_s": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdef", 5, "ab…ef"), ("abcdef", 4, "ab…f"), ("abcdef", 1, "a…")],
)
def test_what_is_too_long_loses_its_middle(text: str, room: int, shown: str) -> None:
    assert middle(text, room) == shown
