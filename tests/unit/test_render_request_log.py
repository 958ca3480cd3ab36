from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    EXTERNAL_CALL,
    PROCESS,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    op,
    sample,
)
from rich.console import Console
from views import with_spans

from poolhog.analysis.lifecycle import lifecycle_of
from poolhog.analysis.request_log import RequestLog, log_with_gaps
from poolhog.model import Activity, Checkout, OperationKind, Request
from poolhog.render.output import Hint
from poolhog.render.request_log import request_log_json, request_log_text

if TYPE_CHECKING:
    from collections.abc import Sequence

UNTIL = 20.0
ENDPOINT = make_site(46, "note = await session.scalar(find)")
HELPER = make_site(80, "await post(note)", function="sync_note", caller=EXTERNAL_CALL)
REQUEST = make_request("7.1", 0.0, 6.0, method="POST", path="/notes/1/synchronize", responding=5.9)


def synchronize(samples: Sequence[Activity] = (Activity.PARKED,)) -> Checkout:
    return make_checkout(
        asked=0.1,
        granted=0.6,
        returned=5.8,
        request=REQUEST,
        connection=1,
        site=ENDPOINT,
        operations=[
            op(OperationKind.STATEMENT, 0.6, 0.7, "SELECT notes.data FROM notes", site=ENDPOINT),
            op(OperationKind.COMMIT, 5.7, 5.8, site=make_site(52, "await session.commit()")),
        ],
        samples=[sample(activity, 1.0, 5.0, HELPER) for activity in samples],
    )


def told(
    checkouts: Sequence[Checkout], request: Request | None = REQUEST, total: int | None = None
) -> RequestLog:
    return RequestLog(
        id=request.id if request is not None else "Task-1",
        name=request.name if request is not None else "Task-1",
        process=checkouts[0].pool.process if checkouts else REQUEST.process,
        request=request,
        life=None if request is None else lifecycle_of(request, with_spans(*checkouts), UNTIL),
        checkouts=checkouts,
        accounts=[one.spent for one in with_spans(*checkouts)],
        total=len(checkouts) if total is None else total,
        started=0.0,
        ended=6.0,
        until=UNTIL,
        lines=log_with_gaps(request, with_spans(*checkouts)),
    )


def shown(log: RequestLog, width: int = 100, most_lines: int = 0) -> list[str]:
    console = Console(width=width, color_system=None)
    hints = [Hint.of(["log", "--route", "a b"], "why")]
    with console.capture() as capture:
        console.print(request_log_text(log, width=width, most_lines=most_lines, hints=hints))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_request_that_parks_its_connection() -> None:
    assert shown(told([synchronize()])) == [
        "POST /notes/1/synchronize · 200 OK · took 6.00 s",
        "waited 500 ms, held a connection 5.20 s: busy 200 ms, parked 5.00 s",
        "The connection came back 100 ms before the response was sent.",
        "request 7.1 · POST /notes/{note_id} · process 100",
        "",
        "  100.00 ms   ░ waiting 500 ms at /app/service.py:46  note = await session.scalar(find)",
        "  600.00 ms   Connection checked out from pool",
        "  600.00 ms   SELECT notes.data FROM notes  100 ms",
        "  700.00 ms   ▒ parked 5.00 s at /app/service.py:80  await post(note)",
        "                called at /app/service.py:48  await external_api.sync_note(note_id)",
        "5,700.00 ms   COMMIT  100 ms",
        "              /app/service.py:52  await session.commit()",
        "5,800.00 ms   Connection being returned to pool",
        '5,900.00 ms → "POST /notes/1/synchronize HTTP/1.1" 200 OK',
        "",
        "    0.00 ms   middleware, routing, request execution  5.90 s",
        "5,900.00 ms   return response                         100 ms",
        "",
        "poolhog log --route 'a b'  why",
    ]


def test_a_connection_that_waits_for_the_loop_says_what_ran_instead() -> None:
    (line,) = [line for line in shown(told([synchronize([Activity.READY])])) if "─ ready" in line]
    assert line.endswith("─ ready 5.00 s while this ran: /app/service.py:80  await post(note)")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_terminal_is_not_overrun(width: int) -> None:
    assert all(len(line) <= width for line in shown(told([synchronize()]), width))


def test_of_many_lines_the_first_and_the_last_are_shown() -> None:
    lines = shown(told([synchronize()]), most_lines=2)
    assert any("░ waiting" in line for line in lines)
    assert any("… 5 lines not shown …" in line for line in lines)
    assert any("→" in line for line in lines)


def test_a_request_that_goes_on_and_one_without_a_checkout() -> None:
    request = make_request(ended=None, status=None)
    process = replace(PROCESS, written=UNTIL)
    pool = replace(make_pool(), process=process)
    waiting = make_checkout(asked=1.0, pool=pool, request=replace(request, process=process))
    lines = shown(told([waiting], request))
    assert lines[0] == "GET /notes/1 · went on for 6.00 s"
    assert lines[1] == "waited 19.0 s, held a connection 0 s"
    assert "It was not over when the trace was last written." in lines
    assert shown(told([]))[1] == "It asked for no connection."


def test_an_owner_without_a_request() -> None:
    checkout = make_checkout(granted=0.0, returned=1.0)
    lines = shown(told([checkout], None, total=1_001))
    assert lines[0] == "Task-1: an owner without a request"
    assert lines[1] == "waited 0 s, held a connection 1.00 s in 1,001 checkouts: running 1.00 s"
    assert "… 1,000 later checkouts of 1,001 not read" in lines


def test_markup_in_names_and_code_stays_text() -> None:
    request = make_request(path="/[red]a", responding=1.0)
    site = make_site(1, 'x["[bold]"]')
    statement = op(OperationKind.STATEMENT, 0, 1, "SELECT [b]", site=site)
    checkout = make_checkout(granted=0.0, returned=1.0, request=request, operations=[statement])
    text = "\n".join(shown(told([checkout], request)))
    for kept in ("/[red]a", 'x["[bold]"]', "SELECT [b]"):
        assert kept in text


def test_the_json_adds_up() -> None:
    found = request_log_json(told([synchronize(), make_checkout("2", 5.8, 5.8, 5.9)]))
    parts = ("busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    for one in (found, *found["checkouts"]):
        assert sum(one[part] for part in parts) == pytest.approx(one["use_s"])
        waits = ("queueing_s", "connecting_s", "pinging_s")
        assert sum(one[part] for part in waits) == pytest.approx(one["wait_s"])
    assert found["use_s"] == sum(one["use_s"] for one in found["checkouts"])
    assert found["checkouts"][0]["asked_s"] == found["log"][0]["at_s"] == 0.1
    (parked,) = [line for line in found["log"] if line["state"] == "parked"]
    assert parked["site"] == {
        "file": "/app/service.py",
        "line": 80,
        "function": "sync_note",
        "source": "await post(note)",
    }
