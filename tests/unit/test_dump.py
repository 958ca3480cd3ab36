"""The dump: how each connection stands, from what was last written."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import oracle
import pytest
from factories import PROCESS, make_checkout, make_pool, make_request, make_site, op, sample

from poolhog.analysis.accounting import State
from poolhog.analysis.dump import Held, PoolDump, ProcessDump, process_dump
from poolhog.analysis.liveness import Liveness
from poolhog.model import Activity, OperationKind, Trace
from poolhog.render.dump import dump_text
from poolhog.render.dump_json import dump_json

if TYPE_CHECKING:
    from poolhog.model import Checkout, Pool, Process, Site

UNTIL = 60.0
BEGIN = op(OperationKind.BEGIN, 10.0, 10.0)
SELECT = op(OperationKind.STATEMENT, 10.0, 11.0, "SELECT 1")


def dump_of(
    *checkouts: Checkout,
    pools: tuple[Pool, ...] = (make_pool(),),
    life: Liveness = Liveness.RUNNING,
    age: float | None = None,
    process: Process = PROCESS,
) -> ProcessDump:
    requests = tuple(c.request for c in checkouts if c.request is not None)
    return process_dump(Trace((process,), pools, requests, checkouts, UNTIL), life, age)


def pool_of(*checkouts: Checkout) -> PoolDump:
    (pool,) = dump_of(*checkouts).pools
    return pool


def held_of(checkout: Checkout) -> Held:
    (held,) = pool_of(checkout).held
    return held


def text_of(*dumps: ProcessDump, every: bool = False, width: int = 100) -> list[str]:
    text = dump_text(dumps, every=every, width=width, next_command="poolhog report")
    return text.plain.splitlines()


def stack_of(*frames: tuple[str, bool]) -> Site:
    """Frames by their functions and whether they are the application's, the innermost first."""
    site = None
    for function, is_application in reversed(frames):
        file = "/app/service.py" if is_application else "/venv/site-packages/httpx/_client.py"
        site = make_site(
            7, "work()", file=file, function=function, is_application=is_application, caller=site
        )
    assert site is not None
    return site


def test_an_operation_in_flight_is_busy_where_it_was_asked_for() -> None:
    site = make_site()
    statement = op(OperationKind.STATEMENT, 20.0, None, "UPDATE notes", site=site)
    held = held_of(make_checkout(granted=5.0, operations=[BEGIN, SELECT, statement]))
    assert (held.state, held.state_seconds, held.idle_seconds) == (State.BUSY, 40.0, 0.0)
    assert (held.site, held.last, held.statement) == (site, statement, "UPDATE notes")
    assert held.in_transaction
    assert held.seconds == 55.0


@pytest.mark.parametrize("activity", Activity)
def test_a_gap_is_what_its_newest_sample_says(activity: Activity) -> None:
    before, now = make_site(1), make_site(2)
    checkout = make_checkout(
        granted=5.0,
        operations=[BEGIN, SELECT],
        samples=[sample(Activity.PARKED, 5.0, 9.0, before), sample(activity, 12.0, None, now)],
    )
    held = held_of(checkout)
    state = State(oracle.state_of(checkout.samples[-1]))
    assert (held.state, held.state_seconds, held.site) == (state, 48.0, now)
    assert (held.idle_seconds, held.in_transaction) == (49.0, True)


def test_a_state_lasts_as_long_as_the_samples_agree() -> None:
    places = [make_site(line) for line in range(3)]
    activities = [Activity.PARKED, Activity.RUNNING, Activity.RUNNING]
    samples = [
        sample(activity, 12.0 + n, 12.9 + n, place)
        for n, (activity, place) in enumerate(zip(activities, places, strict=True))
    ]
    held = held_of(make_checkout(granted=5.0, operations=[SELECT], samples=samples))
    assert (held.state, held.state_seconds) == (State.RUNNING, UNTIL - 13.0)
    assert held.site is places[-1]


def test_a_sample_of_an_earlier_gap_says_nothing_about_this_one() -> None:
    old = sample(Activity.PARKED, 6.0, 9.0, make_site())
    held = held_of(make_checkout(granted=5.0, operations=[SELECT], samples=[old]))
    assert (held.state, held.site, held.state_seconds) == (None, None, 49.0)


def test_a_connection_that_was_not_used_yet() -> None:
    connect = op(OperationKind.CONNECT, 1.0, 4.0)
    held = held_of(make_checkout(granted=5.0, operations=[connect]))
    assert (held.last, held.statement, held.state) == (None, None, None)
    assert (held.idle_seconds, held.in_transaction) == (55.0, False)


def test_a_transaction_that_was_committed_is_over() -> None:
    commit = op(OperationKind.COMMIT, 12.0, 13.0)
    held = held_of(make_checkout(granted=5.0, operations=[BEGIN, SELECT, commit]))
    assert not held.in_transaction
    assert held.last is commit
    assert held.statement == "SELECT 1"


def test_the_longest_come_first() -> None:
    checkouts = [
        make_checkout("late", 2.0, 30.0),
        make_checkout("early", 1.0, 20.0),
        make_checkout("waits", 50.0),
        make_checkout("waits longer", 40.0, operations=[op(OperationKind.CONNECT, 41.0, None)]),
    ]
    pool = pool_of(*checkouts)
    assert [held.checkout.id for held in pool.held] == ["early", "late"]
    assert [w.checkout.id for w in pool.waiting] == ["waits longer", "waits"]
    assert [w.seconds for w in pool.waiting] == [20.0, 10.0]
    assert [w.operation for w in pool.waiting] == [OperationKind.CONNECT, None]
    assert not pool.is_exhausted


def test_a_pool_without_anything_is_left_out() -> None:
    pools = (make_pool("old"), make_pool("new"))
    dump = dump_of(make_checkout(granted=1.0, pool=pools[1]), pools=pools)
    assert [pool.pool.id for pool in dump.pools] == ["new"]


def test_the_text_of_each_state() -> None:
    request = make_request()
    stack = stack_of(("get", False), ("ask", True), ("endpoint", True), ("app", False))
    for activity, told in (
        (Activity.PARKED, "    parked for 48.0 s in a transaction at"),
        (Activity.RUNNING, "    running for 48.0 s in a transaction at"),
        (
            Activity.READY,
            "    ready for 48.0 s in a transaction: it could go on, but this runs instead",
        ),
    ):
        checkout = make_checkout(
            granted=5.0,
            request=request,
            connection=3,
            operations=[BEGIN, SELECT],
            samples=[sample(activity, 12.0, None, stack)],
        )
        lines = text_of(dump_of(checkout))
        at = lines.index("  connection 3  held for 55.0 s by GET /notes/{note_id} (/notes/1)")
        assert lines[at + 1 : at + 7] == [
            "    last       SELECT 1  49.0 s ago",
            told,
            "      get (httpx/_client.py:7)  work()",
            "      ask (/app/service.py:7)  work()",
            "      endpoint (/app/service.py:7)  work()",
            "      … 1 library frame",
        ]


def test_what_cannot_be_seen_is_said() -> None:
    asked = make_site(3, "await session.execute(query)", function="endpoint")
    gone = make_checkout(
        granted=5.0, operations=[SELECT], samples=[sample(Activity.PARKED, 12.0, None)], site=asked
    )
    lines = text_of(dump_of(gone))
    at = lines.index("    parked for 48.0 s; its owner cannot be seen, or is gone")
    assert lines[at + 1 : at + 3] == [
        "    asked for the connection at",
        "      endpoint (/app/service.py:3)  await session.execute(query)",
    ]
    lines = text_of(dump_of(make_checkout(granted=5.0)))
    assert "    not in use for 55.0 s; there is no sample" in lines


def test_library_frames_are_folded_but_for_the_ends_of_the_innermost() -> None:
    stack = stack_of(
        *((f"wait_{n}", False) for n in range(6)),
        ("helper", True),
        *((f"decorator_{n}", False) for n in range(2)),
        ("endpoint", True),
        *((f"server_{n}", False) for n in range(20)),
    )
    checkout = make_checkout(granted=5.0, samples=[sample(Activity.PARKED, 12.0, None, stack)])
    shown = [
        line.split("(")[0].strip() for line in text_of(dump_of(checkout)) if line[:6] == " " * 6
    ]
    assert shown == [
        *("wait_0", "wait_1", "… 3 library frames", "wait_5", "helper"),
        *("… 2 library frames", "endpoint", "… 20 library frames"),
    ]
    every = text_of(dump_of(checkout), every=True)
    assert sum(line.startswith("      ") for line in every) == 30


def test_a_stack_of_libraries_only_is_shown_whole() -> None:
    stack = stack_of(*((f"wait_{n}", False) for n in range(6)))
    checkout = make_checkout(granted=5.0, samples=[sample(Activity.PARKED, 12.0, None, stack)])
    assert sum("wait_" in line for line in text_of(dump_of(checkout))) == 6


def test_lines_fit_the_width() -> None:
    stack = stack_of(("helper_with_quite_a_long_name", True), ("endpoint", True))
    select = op(OperationKind.STATEMENT, 10.0, 11.0, "SELECT " + ", ".join(["column"] * 40))
    checkout = make_checkout(
        granted=5.0, operations=[select], samples=[sample(Activity.PARKED, 12.0, None, stack)]
    )
    for width in (60, 80, 140):
        lines = text_of(dump_of(checkout), width=width)
        assert max(map(len, lines)) <= width
    assert "".join(lines).count("…") == 1


def test_many_that_wait_are_counted() -> None:
    waiting = [make_checkout(f"c{n}", asked=float(n)) for n in range(30)]
    held = [make_checkout(f"h{n}", granted=1.0) for n in range(5)]
    dump = dump_of(*held, *waiting)
    lines = text_of(dump)
    assert lines[0] == (
        "5 connections lent, 5 of them without an operation; "
        "30 requests wait for one, the longest for 60.0 s."
    )
    assert "  pool main (sqlalchemy): 5 of 5 lent, exhausted, 30 waiting" in lines
    assert "  30 waiting  for up to 60.0 s: Task-1 (30x)" in lines
    assert "  5 connections  held for up to 59.0 s by Task-1 (5x)" in lines
    assert sum(line.startswith("  waiting") for line in text_of(dump, every=True)) == 30


UNFINISHED = dataclasses.replace(PROCESS, finished=False)
CUT_OFF = dataclasses.replace(UNFINISHED, missing_checkouts=9, missing_reason="disk full")


@pytest.mark.parametrize(
    ("dump", "known"),
    [
        (
            dump_of(age=7.3),
            "The last commit is 7.30 s old: the interpreter has not run poolhog's thread since. "
            "What follows is the least that is lent; more may be.",
        ),
        (
            dump_of(age=7.3, life=Liveness.SILENT, process=CUT_OFF),
            "The last commit is 7.30 s old: writing failed (disk full). "
            "What follows is what was known then.",
        ),
        (
            dump_of(life=Liveness.DEAD, process=UNFINISHED),
            "Process 100 died. What follows is known as",
        ),
        (
            dump_of(life=Liveness.DEAD, process=CUT_OFF),
            "Process 100 has ended. What follows is known",
        ),
    ],
)
def test_what_is_not_of_now_says_so_first_and_never_that_nothing_is_lent(
    dump: ProcessDump, known: str
) -> None:
    assert dump.is_minimum
    lines = text_of(dump, width=500)
    assert lines[0].startswith(known)
    assert lines[1] == "At the last commit, no connection was lent, and nobody waited for one."
    assert "  nothing was lent then, nobody waited" in lines
    held = dataclasses.replace(dump, pools=dump_of(make_checkout(granted=5.0)).pools)
    assert text_of(held, width=500)[1] == (
        "At the last commit: 1 connection lent, 1 of them without an operation."
    )
    (told,) = dump_json([dump])["processes"]
    assert (told["written_age_s"], told["is_minimum"]) == (dump.age, True)


@pytest.mark.parametrize("dump", [dump_of(age=0.6), dump_of(life=Liveness.FINISHED)])
def test_what_is_of_now_or_final_is_told_as_it_is(dump: ProcessDump) -> None:
    assert text_of(dump)[0] == "No connection is lent, and nobody waits for one."
    (told,) = dump_json([dump])["processes"]
    assert (told["written_age_s"], told["is_minimum"]) == (dump.age, False)


def test_of_many_processes_those_that_are_late_are_named() -> None:
    others = [
        dump_of(age=float(n), process=dataclasses.replace(PROCESS, pid=n)) for n in range(1, 8)
    ]
    lines = text_of(*others, width=500)
    assert lines[0].startswith("The last commit of processes 2, 3, 4, 5 and 2 more is 7.00 s old:")


def test_processes_that_finished_with_nothing_left_are_counted() -> None:
    held = dump_of(make_checkout(granted=1.0))
    finished = dump_of(life=Liveness.FINISHED)
    lines = text_of(finished, held, finished)
    assert sum(line.startswith("process ") for line in lines) == 1
    assert "2 other processes finished" in lines
    alone = text_of(finished)
    assert alone[0] == "No connection is lent, and nobody waits for one."
    assert any(line.startswith("process 100 finished at ") for line in alone)


def test_what_was_lost_is_told() -> None:
    lossy = dataclasses.replace(PROCESS, dropped=3, errors=1)
    dump = dataclasses.replace(dump_of(make_checkout(granted=1.0)), process=lossy)
    assert "  The recorder did not see everything: 3 facts dropped, 1 fault." in text_of(dump)


def test_the_json_is_complete_also_where_little_is_known() -> None:
    dump = dump_of(make_checkout(granted=5.0), make_checkout("waits", 50.0), life=Liveness.DEAD)
    (process,) = json.loads(json.dumps(dump_json([dump])))["processes"]
    assert (process["pid"], process["life"]) == (100, "dead")
    (pool,) = process["pools"]
    (held,), (waiting,) = pool["held"], pool["waiting"]
    assert held["request"] is held["state"] is held["last_operation"] is None
    assert held["stack"] == held["asked_stack"] == []
    assert held["held_s"] == 55.0
    assert (waiting["wait_s"], waiting["operation"]) == (10.0, None)
