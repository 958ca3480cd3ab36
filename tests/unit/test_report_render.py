"""The report reads well: the conclusion first, in 80 columns, and every key is documented."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from factories import (
    PROCESS,
    SELECT,
    UPDATE,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    trace_of,
)

from poolhog.analysis.failures import Failure
from poolhog.analysis.findings import (
    KINDS,
    LOST_WRITE,
    NESTED_CHECKOUT,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    AnyKind,
    Example,
    Finding,
)
from poolhog.analysis.findings.blocking_checkout import BlockingWaits
from poolhog.analysis.findings.blocks_others import BlockedOthers, BlockedStatement
from poolhog.analysis.findings.connect_failed import FailedConnects
from poolhog.analysis.findings.connection_churn import Churn
from poolhog.analysis.findings.entry import Spread
from poolhog.analysis.findings.held_after_response import AfterResponse, Kept
from poolhog.analysis.findings.held_while_streaming import AskedAt, WhileStreaming
from poolhog.analysis.findings.lost_write import LostWrites
from poolhog.analysis.findings.many_pools import PoolsMade
from poolhog.analysis.findings.nested_checkout import NestedCheckouts
from poolhog.analysis.findings.never_returned import Fate, NotReturned
from poolhog.analysis.findings.parked_checkout import Asked, Between, ParkedGaps
from poolhog.analysis.findings.pool_timeout import Holder, TimedOut
from poolhog.analysis.findings.shared_over_fork import SharedConnections
from poolhog.analysis.findings.shared_session import Clash, Clashes
from poolhog.analysis.findings.starved_loop import InOneGo
from poolhog.analysis.findings.thread_starved import NoThread
from poolhog.analysis.report import EMPTY, Report, report_of
from poolhog.model import OperationKind
from poolhog.render.output import WIDE
from poolhog.render.report import Layout, report_json, report_lines, verdict
from poolhog.render.words import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).parents[2] / "docs" / "report.md"
LAYOUT = Layout(width=80, findings=3, routes=4, in_full=False)
SYNCHRONIZE = "POST /notes/{note_id}"


SPREAD = Spread(5.01, 5.02)
SELECTED = Asked(OperationKind.STATEMENT, SELECT, make_site(45))
UPDATED = Asked(OperationKind.STATEMENT, UPDATE, make_site(55))
EVIDENCE: dict[str, object] = {
    "blocks-others": BlockedOthers(
        {BlockedStatement("GET /notes", "UPDATE notes SET n = ?", is_known=False): 2.0},
        *(0.0, ("notes",)),
        is_advisory=False,
    ),
    "parked-checkout": ParkedGaps(SPREAD, {Between(SELECTED, UPDATED): 50.1}),
    "held-after-response": AfterResponse(SPREAD, {Kept("get_db", True, make_site(45)): 50.1}, None),
    "held-while-streaming": WhileStreaming(SPREAD, {AskedAt(make_site(45)): 50.1}),
    "nested-checkout": NestedCheckouts(2, 5, 5),
    "never-returned": NotReturned({Fate(is_collected=True): 50.1}),
    "lost-write": LostWrites({UPDATE: 10}),
    "shared-session": Clashes({Clash(make_site(45), make_site(46), None): 10}),
    "pool-timeout": TimedOut(30.0, {Holder("GET /notes", busy_with=UPDATED): 10}),
    "connection-churn": Churn("NullPool", 10, 10),
    "starved-loop": InOneGo(5.02),
    "connect-failed": FailedConnects(18, 30, {"OperationalError: too many connections": 18}, 2, 30),
    "many-pools": PoolsMade(30, 1, 30, 30, 18, {"OperationalError": 18}),
    "shared-over-fork": SharedConnections(1, 3),
    "thread-starved": NoThread(SPREAD, 8),
    "blocking-checkout": BlockingWaits(5.02, "QueuePool"),
}


def finding(kind: AnyKind = PARKED_CHECKOUT, **changes: Any) -> Finding:
    site = make_site(48, "data = await external_api.sync_note(note_id)", file="/srv/service.py")
    made = Finding(
        kind=kind,
        site=site,
        routes=(SYNCHRONIZE,),
        checkouts=10,
        seconds=50.1,
        share=0.83,
        made_wait=25.0,
        waiters=(SYNCHRONIZE, "GET /notes"),
        evidence=EVIDENCE[kind.name],
        awaiting=(make_site(7, file="/lib/http.py", is_application=False),),
        example=Example("100.4", "100.5", 100, 1.0, 6.0),
    )
    return replace(made, **changes)


def burst(*findings: Finding) -> Report:
    """The report of the talk's burst, with these findings."""
    some, requests, _, ended = implicit_burst()
    trace = trace_of(some, requests, process=replace(PROCESS, written=ended))
    return replace(report_of(trace), findings=findings)


def lines(report: Report, **changes: Any) -> list[str]:
    return [line.plain for line in report_lines(report, replace(LAYOUT, **changes))]


def test_the_verdict_comes_first_and_the_next_command_last() -> None:
    found = lines(burst(finding()))
    assert " ".join(found[:2]) == (
        "/srv/service.py:48 held connections for 50.1 s without using them: 83 % of all use. "
        "This made POST /notes/{note_id} and 1 other route wait 25.0 s."
    )
    assert found[-1] == "Next: poolhog log --route 'POST /notes/{note_id}'  step by step"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_has_a_verdict_with_its_line(kind: AnyKind) -> None:
    told = verdict(burst(finding(kind)))
    assert "/srv/service.py:48" in told
    assert "{" not in told.replace("{note_id}", "")
    assert verdict(burst(finding(kind, site=None))).count("not seen") == 1


def test_the_verdict_of_a_timeout_names_what_held_the_connections() -> None:
    late = finding(POOL_TIMEOUT, seconds=0.0, share=0.0, made_wait=0.0, checkouts=6)
    found = lines(burst(late, finding()))
    assert " ".join(found[:3]) == (
        "6 requests timed out waiting for a connection at /srv/service.py:48. "
        "/srv/service.py:48 held connections for 50.1 s without using them: 83 % of all use. "
        "This made POST /notes/{note_id} and 1 other route wait 25.0 s."
    )
    # Both are told in full: that is what to change.
    assert sum("→" in line for line in found) == 2
    assert sum("held 50.1 s in 10 checkouts" in line for line in found) == 1


def test_what_is_estimated_is_said_to_be() -> None:
    told = verdict(burst(finding(estimated=20.0)))
    assert told.endswith("Of this, 20.0 s are estimated: no sample fell into them.")
    assert "estimated" not in verdict(burst(finding(estimated=2.0)))


def test_the_verdict_says_that_some_waited_in_vain() -> None:
    stuck = finding(NESTED_CHECKOUT, evidence=NestedCheckouts(2, 5, 5, is_stuck=True))
    assert "Some waited in vain: such requests block each other." in verdict(burst(stuck))
    assert "in vain" not in verdict(burst(finding(NESTED_CHECKOUT)))


def test_what_failed_is_told_below_the_verdict_or_in_its_place() -> None:
    failures = (Failure("UniqueViolation", make_site(55), 3), Failure("KeyError", None, 1))
    said = "4 operations failed: 3 UniqueViolation (service.py:55), 1 KeyError (an unknown line)."
    with_finding = lines(replace(burst(finding()), failures=failures), width=200)
    assert with_finding[1] == said
    without = replace(burst(), failures=failures)
    assert verdict(without) == said
    assert report_json(without)["failures"][0]["count"] == 3


def test_what_wasted_nothing_has_no_share() -> None:
    one = finding(POOL_TIMEOUT, seconds=0.0, share=0.0, made_wait=0.0, checkouts=6)
    found = lines(burst(one))
    assert found[0] == "6 requests timed out waiting for a connection at /srv/service.py:48."
    assert any(line.startswith("    6x  pool-timeout") for line in found)


def test_a_typical_trace_fits_a_terminal() -> None:
    found = lines(burst(finding()))
    assert len(found) <= 25
    assert max(map(len, found)) <= 80
    many = lines(burst(*[finding()] * 9))
    assert len(many) <= 32
    assert "… and 6 findings more: --top N" in many


@pytest.mark.parametrize("width", [72, 80, 100, WIDE, 140, 250])
def test_lines_keep_to_the_width_and_use_it(width: int) -> None:
    found = lines(burst(*[finding()] * 2), width=width, findings=2, in_full=True)
    assert max(map(len, found[:-1])) <= width
    (heading,) = (line for line in found if line.startswith("route "))
    wide = {"checkouts", "running", "ready"}
    assert wide <= set(heading.split()) if width >= WIDE else wide.isdisjoint(heading.split())


def told(found: Sequence[str], beginning: str) -> int:
    """How many lines begin so."""
    return sum(line.strip().startswith(beginning) for line in found)


def test_all_evidence_is_shown_on_demand() -> None:
    two = burst(finding(), finding(LOST_WRITE))
    evidence = ("held 50.1 s", "10 writes were silently")
    assert [told(lines(two), text) for text in evidence] == [1, 0]
    full = lines(two, in_full=True)
    assert [told(full, text) for text in evidence] == [1, 1]
    assert not any(line.endswith("…") for line in full)


def test_a_pool_says_how_long_it_was_exhausted() -> None:
    (pool,) = (line for line in lines(burst(), width=200) if line.startswith("pool "))
    told = r"exhausted 99 % of 10.1 s: all 5 out, up to 5 waiting"
    assert re.fullmatch(r"pool main  ━{20}  " + told, pool)


def test_a_pool_that_was_never_exhausted_says_how_far_it_came() -> None:
    some = [
        make_checkout(name, 0.0, 0.1, 0.2, pool=make_pool(name, size=size, name=name))
        for name, size in (("plenty", 5), ("endless", None))
    ]
    found = "\n".join(lines(report_of(trace_of(some)), width=200))
    assert "─  at most 1 of 5 out in 200 ms" in found
    assert "pool endless  at most 1 out in 200 ms" in found


def test_what_was_not_seen_stands_at_the_top() -> None:
    report = burst(finding())
    lost = replace(PROCESS, dropped=12, errors=1)
    killed = replace(PROCESS, pid=101, finished=False)
    assert lines(replace(report, processes=(lost, killed)))[:2] == [
        "The recorder did not see everything of process 100: 12 facts dropped, 1 fault.",
        "Process 101 exited abnormally: the last moments may be missing.",
    ]
    running = lines(replace(report, processes=(killed,)), running={101: 0.4})
    assert running[0] == "Process 101 is still running; results so far."
    late = lines(replace(report, processes=(killed,)), running={101: 7.3})
    assert late[0] == (
        "Process 101 is still running, but its last commit is 7.30 s old: the interpreter has not "
        "run poolhog's thread since. Results up to then."
    )


@pytest.mark.parametrize(
    ("checkouts", "facts", "told"),
    [
        (90, 3, "90 of 100 checkouts could not be written (disk full): totals are too low."),
        (0, 3, "3 facts could not be written (disk full): the end may be missing."),
        (0, 0, "The last attempt to write failed (disk full): the end may be missing."),
    ],
)
def test_what_could_not_be_written_is_told_first(checkouts: int, facts: int, told: str) -> None:
    lacking = replace(
        PROCESS,
        finished=False,
        missing_checkouts=checkouts,
        missing_facts=facts,
        missing_reason="disk full",
    )
    found = lines(replace(burst(), processes=(lacking,)))
    assert found[0] == told
    assert found[1].startswith("Nothing that could be written held a connection without need: 10")
    assert not any("abnormally" in line for line in found)


def test_a_run_of_which_nothing_could_be_written_is_not_called_idle() -> None:
    lacking = replace(PROCESS, finished=False, missing_checkouts=7, missing_reason="disk full")
    found = lines(replace(EMPTY, processes=(lacking,)))
    assert found == [
        "7 of 7 checkouts could not be written (disk full): totals are too low.",
        "No checkout could be written: make room, and record again.",
    ]


def test_what_is_open_is_told_and_where_to_look() -> None:
    pool, request = make_pool(size=1), make_request(ended=None)
    some = [
        make_checkout("a", 1.0, 1.1, pool=pool, request=request),
        make_checkout("b", 2.0, pool=pool),
    ]
    found = lines(report_of(trace_of(some, process=replace(PROCESS, finished=False))), width=200)
    assert found[1] == "At its end: 1 connection not returned, 1 request waiting for one."
    assert any("exhausted 100 % of 59.0 s: its one out, 1 waiting now" in line for line in found)
    assert found[-1].startswith("Next: poolhog dump ")


def test_a_clean_run_is_called_clean() -> None:
    found = lines(burst(), target=("traces/1",))
    assert found[0].startswith("Nothing held a connection without need: 10 checkouts, 50.")
    assert found[-1] == "Next: poolhog timeline traces/1  who held what, and when"


def test_a_run_without_a_connection_says_what_to_do() -> None:
    told = "No connection was asked for yet: let the application work, and ask again."
    assert lines(EMPTY) == [told]
    over = replace(PROCESS, finished=True)
    assert lines(report_of(trace_of([], pools=[make_pool()], process=over))) == [
        "No connection was asked for, and the recording is over."
    ]
    goes_on = replace(PROCESS, finished=False)
    assert lines(report_of(trace_of([], pools=[make_pool()], process=goes_on)))[-1] == told


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        (("aiopg's pool",), "aiopg's pool is not recorded: "),
        (("Django's connections",), "Django's connections are not recorded: "),
        (("a's pool", "b's pool"), "a's pool and b's pool are not recorded: "),
    ],
)
def test_pools_that_are_not_recorded_are_named_first(pools: tuple[str, ...], expected: str) -> None:
    process = replace(PROCESS, unrecorded=pools)
    found = lines(report_of(trace_of([], pools=[make_pool()], process=process)), width=200)
    assert found[0].startswith(expected)
    assert found[1] == "No pool that poolhog records was asked for a connection."


def test_small_shares_are_not_called_nothing() -> None:
    assert [percent(part) for part in (0.0, 0.0001, 0.004, 0.006, 0.5, 0.999, 1.0)] == [
        *("0 %", "<1 %", "<1 %", "1 %", "50 %", "100 %", "100 %"),
    ]


def test_every_key_of_the_json_is_documented() -> None:
    page = PAGE.read_text()
    found = report_json(burst(finding()))
    assert list(found) == [
        "unreadable",
        "missing",
        "processes",
        "pools",
        "totals",
        "routes",
        "failures",
        "kept",
        "findings",
        "blame",
    ]
    own = {"python", "sqlalchemy"}  # the keys of versions are names of libraries
    missing = {key for key in keys(found) - own if f"`{key}`" not in page}
    assert missing == set()


def keys(value: object) -> set[str]:
    return set(_keys(value))


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)


def test_the_json_adds_up() -> None:
    found = report_json(burst(finding()))
    totals = found["totals"]
    for key in ("checkouts", "wait_s", "use_s", "busy_s", "parked_s", "running_s", "ready_s"):
        for part in ("routes", "pools"):
            assert sum(row[key] for row in found[part]) == pytest.approx(totals[key])
    assert totals["requests"] == sum(route["requests"] for route in found["routes"]) == 10
    states = ("busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    assert sum(totals[state] for state in states) == pytest.approx(totals["use_s"])
    assert totals["dropped"] == totals["recorder_errors"] == 0
    assert sum(row["seconds"] for row in found["blame"]) == pytest.approx(totals["wait_s"])
    held = sum(row["seconds"] for row in found["blame"] if row["holding"] is not None)
    assert sum(route["made_wait_s"] for route in found["routes"]) == pytest.approx(held)


def test_a_finding_in_json_has_its_line_and_its_evidence() -> None:
    (found,) = report_json(burst(finding()))["findings"]
    assert found["kind"] == "parked-checkout"
    assert found["site"] == {
        "file": "/srv/service.py",
        "line": 48,
        "function": "synchronize",
        "source": "data = await external_api.sync_note(note_id)",
    }
    assert (found["seconds"], found["share"], found["made_wait_s"]) == (50.1, 0.83, 25.0)
    assert found["example"]["request"] == "100.4"
    assert report_json(burst(finding(site=None)))["findings"][0]["site"] is None


def test_seconds_are_floats_in_json_also_if_there_are_none() -> None:
    (told,) = report_json(burst(finding(made_wait=0)))["findings"]
    assert isinstance(told["made_wait_s"], float)
