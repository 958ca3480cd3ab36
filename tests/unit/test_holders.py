"""The conclusion of a dump: why connections are not back, said in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    PROCESS,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    op,
    sample,
    trace_of,
)

from poolhog.analysis.dump import process_dump
from poolhog.analysis.holders import Reason, conclusions, holdings
from poolhog.analysis.liveness import Liveness
from poolhog.model import Activity, OperationKind
from poolhog.render.dump import dump_text
from poolhog.render.dump_json import dump_json
from poolhog.render.holders import conclusion_told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.dump import ProcessDump
    from poolhog.model import Checkout, Pool, Process, Site

LIBRARY = make_site(158, "await getter", file="/lib/queues.py", is_application=False)
FIRST = make_site(90, "async with Session() as first:", file="/app/victim.py")
SECOND = make_site(93, "async with Session() as second:", file="/app/victim.py")
CALL = make_site(46, "await call_the_llm()", file="/app/service.py")
AT = "/app/service.py:46"
GONE = "are lost: the tasks or threads that took them at /app/victim.py:90 are gone."
SELECT = op(OperationKind.STATEMENT, 2.0, 3.0, "SELECT 1")


def dump_of(checkouts: Iterable[Checkout], process: Process = PROCESS) -> ProcessDump:
    return process_dump(trace_of(checkouts, process=process), Liveness.RUNNING)


def holder(
    number: int,
    activity: Activity | None = Activity.PARKED,
    where: Site | None = CALL,
    *,
    pool: Pool | None = None,
    in_flight: Site | None = None,
) -> Checkout:
    operations = [SELECT]
    if in_flight is not None:
        operations.append(op(OperationKind.STATEMENT, 4.0, None, "SELECT 2", site=in_flight))
    return make_checkout(
        f"h{number}",
        granted=1.0,
        connection=number,
        owner=f"Task-{number}",
        pool=pool,
        request=make_request(f"r{number}", ended=None),
        operations=operations,
        samples=[] if activity is None else [sample(activity, 5.0, None, where)],
        site=FIRST,
    )


def waiter(number: int, *, pool: Pool | None = None, site: Site = SECOND) -> Checkout:
    request = make_request(f"r{number}", ended=None)
    owner = f"Task-{number}"
    return make_checkout(f"w{number}", 6.0, pool=pool, owner=owner, request=request, site=site)


def told(*dumps: ProcessDump) -> list[str]:
    return [conclusion_told(one) for one in conclusions(dumps)]


def test_a_deadlock_of_holders_that_wait_for_a_second_one() -> None:
    five = [holder(n, where=LIBRARY) for n in range(5)]
    dump = dump_of([*five, *(waiter(n) for n in range(8))])
    assert told(dump) == [
        "All 5 connections of pool main are held by requests that wait for a second one at "
        "/app/victim.py:93: this is a deadlock."
    ]
    assert {one.reason for one in holdings(dump)["pool"]} == {Reason.NESTED}


def test_a_pool_with_one_connection_left_is_no_deadlock() -> None:
    dump = dump_of([*(holder(n) for n in range(4)), *(waiter(n) for n in range(4))])
    assert told(dump) == [
        "All 4 lent connections of pool main are held by requests that wait for a second one at "
        "/app/victim.py:93."
    ]


def test_holders_that_wait_for_another_pool() -> None:
    other = make_pool("other", name="reports")
    dump = dump_of([*(holder(n) for n in range(5)), waiter(0, pool=other), waiter(9)])
    assert told(dump)[0] == (
        "All 5 connections of pool main are lent: 4 parked at /app/service.py:46, "
        "1 wait for one of another pool at /app/victim.py:93."
    )


def test_a_holder_that_works_while_another_task_of_its_request_waits_is_not_nested() -> None:
    busy = holder(1, in_flight=CALL)
    child = replace(waiter(1), owner="Task-99")
    assert [one.reason for one in holdings(dump_of([busy, child]))["pool"]] == [Reason.BUSY]


@pytest.mark.parametrize(
    ("activity", "where", "sentence"),
    [
        (Activity.PARKED, CALL, "are parked at /app/service.py:46."),
        (Activity.COMPUTING, CALL, "are parked at /app/service.py:46."),
        (Activity.RUNNING, CALL, f"are held by Python code that is running at {AT}."),
        (Activity.READY, CALL, f"are held by code that could go on, but {AT} runs instead."),
        (Activity.PARKED, None, GONE),
        (Activity.IDLE, CALL, GONE),
        (None, None, "are not in use; they were asked for at /app/victim.py:90."),
    ],
)  # fmt: skip
def test_the_sentence_of_each_state(
    activity: Activity | None, where: Site | None, sentence: str
) -> None:
    dump = dump_of(holder(n, activity, where) for n in range(5))
    assert told(dump) == [f"All 5 connections of pool main {sentence}"]
    single = dump_of([holder(1, activity, where, pool=make_pool(size=1))])
    (one,) = told(single)
    assert one.startswith("The only connection of pool main is ")
    assert " are " not in one
    assert " they " not in one


def test_every_reason_has_a_sentence() -> None:
    states = {reason.value for reason in Reason}
    (conclusion,) = conclusions([dump_of(holder(n) for n in range(5))])
    for reason in Reason:
        parts = (replace(conclusion.parts[0], reason=reason),)
        assert conclusion_told(replace(conclusion, parts=parts)).endswith(".")
        assert conclusion_told(replace(conclusion, parts=(*parts, *conclusion.parts)))
    assert states >= {"busy", "blocked", "parked", "running", "ready"}


def test_an_operation_in_flight_is_told_where_it_was_asked_for() -> None:
    dump = dump_of(holder(n, in_flight=CALL) for n in range(5))
    assert told(dump) == [
        "All 5 connections of pool main are busy with an operation that was asked for at "
        "/app/service.py:46."
    ]


def test_equal_conclusions_of_several_processes_are_one() -> None:
    dumps = [
        dump_of((holder(n) for n in range(5)), replace(PROCESS, pid=pid)) for pid in (100, 200)
    ]
    (conclusion,) = conclusions(dumps)
    assert (conclusion.held, conclusion.capacity, conclusion.pids) == (10, 10, (100, 200))
    assert conclusion_told(conclusion) == (
        "All 10 connections of pool main in 2 processes are parked at /app/service.py:46."
    )


def test_the_deadlock_comes_first() -> None:
    parked = dump_of((holder(n) for n in range(5)), replace(PROCESS, pid=200))
    nested = dump_of([*(holder(n) for n in range(5)), *(waiter(n) for n in range(5))])
    first, second = told(parked, nested)
    assert first.endswith("this is a deadlock.")
    assert "parked" in second


def test_little_is_said_of_a_pool_that_is_well() -> None:
    assert told(dump_of([holder(1)])) == []
    assert told(dump_of([holder(1), holder(2, in_flight=SECOND)])) == []
    assert told(dump_of([])) == []


def test_holders_with_equal_stacks_are_shown_as_one_and_each_with_all() -> None:
    five = [holder(n) for n in range(5)]
    dump = dump_of([*five, *(waiter(n) for n in range(10, 17))])

    def lines(*, every: bool) -> list[str]:
        text = dump_text([dump], every=every, width=120, next_command="poolhog report")
        return text.plain.splitlines()

    short = lines(every=False)
    assert short[0] == "All 5 connections of pool main are parked at /app/service.py:46."
    assert short[1].startswith("5 connections lent, 5 of them without an operation; 7 requests")
    assert (
        "  5 connections (0, 1, 2, 3, 4)  held for up to 59.0 s by GET /notes/{note_id} (5x)"
        in short
    )
    assert "  7 waiting  for up to 54.0 s: GET /notes/{note_id} (7x)" in short
    assert sum("await call_the_llm()" in line for line in short) == 1
    whole = lines(every=True)
    assert sum("await call_the_llm()" in line for line in whole) == 5
    assert sum(line.startswith("  waiting  for") for line in whole) == 7


def test_the_conclusion_as_json() -> None:
    dump = dump_of([*(holder(n) for n in range(5)), *(waiter(n) for n in range(5))])
    found = json.loads(json.dumps(dump_json([dump])))
    (conclusion,) = found["conclusions"]
    assert conclusion["is_deadlock"]
    assert (conclusion["held"], conclusion["capacity"], conclusion["waiting"]) == (5, 5, 5)
    (part,) = conclusion["parts"]
    assert (part["reason"], part["connections"], part["site"]["line"]) == ("nested", 5, 93)
    held = found["processes"][0]["pools"][0]["held"][0]
    assert (held["reason"], held["line"]["line"], held["state"]) == ("nested", 93, "parked")
