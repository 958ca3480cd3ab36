"""The verdict is true of every run, and says what a manager wants to know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    EXTERNAL_CALL,
    explicit_burst,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    named_requests,
    op,
    trace_of,
)

from poolhog.analysis.digest import digest_of
from poolhog.analysis.findings import (
    CONNECT_FAILED,
    KINDS,
    LOST_WRITE,
    NEVER_RETURNED,
    POOL_TIMEOUT,
    SHARED_OVER_FORK,
    SHARED_SESSION,
    AnyKind,
)
from poolhog.analysis.findings.connect_failed import FailedConnects
from poolhog.analysis.findings.entry import Spread
from poolhog.analysis.findings.held_after_response import AfterResponse
from poolhog.analysis.findings.held_while_streaming import WhileStreaming
from poolhog.analysis.findings.lost_write import LostWrites
from poolhog.analysis.findings.many_pools import PoolsMade
from poolhog.analysis.findings.nested_checkout import NestedCheckouts
from poolhog.analysis.findings.never_returned import Fate, NotReturned
from poolhog.analysis.findings.pool_timeout import TimedOut
from poolhog.analysis.findings.shared_over_fork import SharedConnections
from poolhog.analysis.report import report_of
from poolhog.model import OperationKind, Site
from poolhog.render.findings import WORDS
from poolhog.render.page.cards import MOST_CARDS, cards, patch_of, sentence
from poolhog.render.page.run import LeftOut, page_run, unseen
from poolhog.render.page.source import SourceFiles
from poolhog.render.page.verdict import (
    called,
    cause_sentence,
    finding_sentence,
    happened,
    numbers,
    pool_sentence,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.report import Report
    from poolhog.model import Checkout, Pool
    from poolhog.render.page.run import PageRun


EVIDENCE: dict[str, object] = {
    "held-after-response": AfterResponse(Spread(1.0, 2.0), {}, "get_session"),
    "held-while-streaming": WhileStreaming(Spread(1.0, 2.0), {}),
    "lost-write": LostWrites({"UPDATE notes": 3}),
    "never-returned": NotReturned({Fate(is_collected=False): 1.0}),
    "pool-timeout": TimedOut(30.0, {}),
    "nested-checkout": NestedCheckouts(2, 5, 5),
    "connect-failed": FailedConnects(3, 30, {"OperationalError": 3}, 0, 0),
    "many-pools": PoolsMade(30, 1, 30, 30, 0, {}),
    "shared-over-fork": SharedConnections(1, 3),
}

HARM = (SHARED_OVER_FORK, CONNECT_FAILED, LOST_WRITE, POOL_TIMEOUT, NEVER_RETURNED)


def reported(checkouts: Iterable[Checkout], requests: int = 0) -> Report:
    return report_of(trace_of(checkouts, named_requests({"GET /x": requests})))


def found(kind: AnyKind, share: float, source: str = "rows = load(x)") -> Report:
    """A report with one finding of this kind."""
    report = reported(implicit_burst()[0])
    first = report.findings[0]
    evidence = EVIDENCE.get(kind.name, first.evidence)
    finding = replace(
        first, kind=kind, share=share, site=site_with(source), checkouts=3, evidence=evidence
    )
    return replace(report, findings=(finding,))


def make_run(report: Report) -> PageRun:
    """What a page has of a burst, with another report."""
    run = page_run("run", digest_of(trace_of(implicit_burst()[0]), 0.0, 60.0))
    return replace(run, report=report)


def site_with(source: str) -> Site:
    return Site("/app/a.py", 7, "f", source, is_application=True)


def test_a_burst_that_holds_its_connections() -> None:
    pool, cause = verdict(reported(implicit_burst()[0]))
    assert pool.startswith("The pool of 5 was exhausted ")
    assert pool.endswith(" % of the time.")
    assert cause.endswith(
        " of connection time was spent waiting for `external_api.sync_note`, not for the database."
    )


def test_start_up_code_is_said_to_be() -> None:
    report = reported(implicit_burst()[0])
    first = replace(report.findings[0], is_at_start=True)
    told = finding_sentence(first)
    assert told.endswith(", not for the database, at start-up, before the first request.")


def test_what_is_estimated_is_said_to_be() -> None:
    report = reported(implicit_burst()[0])
    guessed = replace(report.findings[0], estimated=report.findings[0].seconds / 2)
    told = cause_sentence(replace(report, findings=(guessed,)))
    assert told.endswith(" s are estimated: no sample fell into them.")


def test_a_burst_that_gives_them_back() -> None:
    sentences = verdict(reported(explicit_burst()[0]))
    assert sentences[-1].startswith("Nothing held a connection without need: ")


def test_a_pool_that_never_ran_out() -> None:
    checkouts = [make_checkout(f"c{n}", n, n, n + 1.5, connection=n % 2) for n in range(4)]
    told = pool_sentence(reported(checkouts))
    assert told == "The pool of 5 never ran out: it lent at most 2 connections at once."


def test_a_pool_without_a_limit() -> None:
    pool = replace(make_pool(size=2), max_overflow=-1)
    told = pool_sentence(reported([make_checkout("c1", 0, 0, 1, pool=pool)]))
    assert told == "The pool has no limit: it lent up to 1 connection at once."


def two_pools() -> tuple[list[Checkout], Pool]:
    """Half a second of a small pool's life, and a large one whose connections are parked."""
    small = make_pool("small", size=1, name="sessions")
    short = make_checkout("c0", 0, 0, 0.5, pool=small, connection=1)
    return [short, *implicit_burst()[0]], small


def test_of_several_pools_it_is_that_of_the_line_that_is_named() -> None:
    checkouts, _ = two_pools()
    pool, cause = verdict(reported(checkouts))
    assert pool.startswith("The pool `main` (5 connections, one of 2 pools) was exhausted ")
    assert " s of " in pool
    assert "`external_api.sync_note`" in cause


def test_a_line_of_another_pool_is_no_cause() -> None:
    checkouts, small = two_pools()
    report = reported(checkouts)
    timed_out = replace(report.findings[0], kind=POOL_TIMEOUT)
    of_small = replace(timed_out, example=replace(timed_out.example, pool=small.id))
    mixed = replace(report, findings=(of_small, *report.findings))
    told = verdict(mixed)
    assert len(told) == 2
    assert "timed out" in told[0]
    assert told[1].startswith("The pool `sessions` (1 connection, one of 2 pools) was exhausted")


def test_a_lost_write_is_no_matter_of_its_pool() -> None:
    checkouts, small = two_pools()
    report = reported(checkouts)
    first = report.findings[0]
    example = replace(first.example, pool=small.id)
    lost = replace(first, kind=LOST_WRITE, example=example, checkouts=3)
    told = verdict(replace(report, findings=(lost, *report.findings)))
    assert told[0].startswith("3 writes were rolled back because nobody committed (")
    assert told[1].startswith("The pool `main` ")
    assert "`external_api.sync_note`" in told[2]


def test_without_findings_it_is_the_pool_that_was_waited_for() -> None:
    busy, idle = (make_pool(n, size=s, name=n) for n, s in (("busy", 15), ("idle", 1)))
    checkouts = [
        make_checkout("c0", 0, 0, 0.5, pool=idle, connection=1),
        make_checkout("c1", 0, 2, 3, pool=busy, connection=2),
    ]
    report = replace(reported(checkouts), findings=())
    assert pool_sentence(report).startswith("The pool `busy` (15 connections, one of 2 pools)")


def test_pools_of_one_name_are_told_by_their_processes_and_numbers() -> None:
    checkouts = [
        make_checkout("c1", 0, 0, 10, pool=make_pool("7.1", size=1), connection=1),
        make_checkout("c2", 0, 0, 1, pool=make_pool("7.2"), connection=1),
    ]
    told = pool_sentence(reported(checkouts))
    assert told.startswith("The pool `main` in process 100, number 1 (1 connection, ")


def test_timeouts_are_told_unless_they_are_the_finding_anyway() -> None:
    late = [make_checkout(f"t{n}", 1.0, None, None, gave_up=9.0) for n in range(2)]
    report = reported([*implicit_burst()[0], *late])
    harm, pool, cause = verdict(report)
    assert harm.startswith("2 waits for a connection timed out (")
    assert cause.endswith(
        " of connection time was spent waiting for `external_api.sync_note`, not for the database."
    )
    assert pool.endswith(" % of the time.")
    # The first finding is another one.
    other = replace(report, findings=report.findings[1:])
    assert pool_sentence(other).endswith(", and 2 waits for a connection timed out.")


def test_nothing_was_asked_for() -> None:
    assert verdict(reported([])) == ("No connection was asked for while this was recorded.",)
    (told,) = verdict(reported([], requests=3))
    assert told.endswith("3 requests needed none.")
    assert [number.name for number in numbers(reported([]))] == ["requests", "checkouts"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_every_kind_of_finding_is_a_sentence(kind: AnyKind, share: float) -> None:
    finding = found(kind, share).findings[0]
    told = finding_sentence(finding)
    assert told[0].isupper() or told[0].isdigit()
    assert told.endswith(".")
    assert "{" not in told
    if share and WORDS[kind.name].spent is not None and not finding.is_harm:
        assert told.startswith("25 % of connection time ")
    elif "times" in told or "connection" not in told.split()[1]:
        assert "3" in told or "s of connection time" in told


@pytest.mark.parametrize("kind", HARM, ids=str)
def test_harm_is_told_first_and_has_its_card(kind: AnyKind) -> None:
    report = found(kind, 0.25)
    (harm,) = report.findings
    wasted = reported(implicit_burst()[0]).findings[0]
    crowded = replace(report, findings=(harm, *[wasted] * 30))
    assert verdict(crowded)[0] == finding_sentence(harm)
    run = make_run(crowded)
    first, *others = cards(run, SourceFiles(None))
    assert (first.kind, first.is_harm, first.number) == (kind.name, True, 1)
    assert len(others) == MOST_CARDS - 1
    # More harm than there are cards otherwise.
    every = cards(replace(run, report=replace(report, findings=(harm,) * 30)), SourceFiles(None))
    assert len(every) == 30
    told = verdict(replace(report, findings=(harm,) * 30))
    assert told[3] == "There are 27 more findings of this gravity below."


@pytest.mark.parametrize("kind", [*HARM, SHARED_SESSION], ids=str)
def test_a_card_says_what_happened(kind: AnyKind) -> None:
    (finding,) = found(kind, 0.0).findings
    told = sentence(replace(finding, seconds=0.0, made_wait=0.0))
    assert told == f"{happened(finding)}"
    assert len(told.split()) > 5


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_finding_has_a_title_and_says_what_to_do(kind: AnyKind) -> None:
    (finding,) = found(kind, 0.0).findings
    assert WORDS[kind.name].title
    assert {line.sign for line in patch_of(finding)} <= {" ", "+", "-"}
    assert patch_of(replace(finding, site=site_with(""))) == ()
    assert patch_of(replace(finding, site=None)) == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("note = await external_api.sync_note(note_id)", "`external_api.sync_note`"),
        ("return await self._client.post(url, json=f(x))", "`self._client.post`"),
        ("risk = assess_risk(amount)", "`assess_risk`"),
        ("time.sleep(1)", "`time.sleep`"),
        ("yield row", "`a.py:7`"),
        ("with e.connect() as c: c.execute(text(x)); time.sleep(1)", "`a.py:7`"),
        ("rows = list(session.execute(query(x)))", "`list`"),
        ("async with self._http.post(url) as response:", "`self._http.post`"),
        ("async for chunk in stream(x):", "`stream`"),
        ("note = await external_api.sync_note(", "`external_api.sync_note`"),
        ("rows = load(", "`load`"),
        ("await task", "`task`"),
        ("x, await f(), y)", "`a.py:7`"),
        ("if await ready():", "`ready`"),
        ("\0", "`a.py:7`"),
        ("", "`a.py:7`"),
    ],
)
def test_what_a_line_calls(source: str, name: str) -> None:
    assert called(site_with(source)) == name
    assert called(None) == "code that was not seen"


@pytest.mark.parametrize(
    "source",
    ["a" + ".b" * 900 + "()", "f" + "()" * 900, "-" * 1900 + "f()", "1+" * 900 + "f()", "'\\d'(x"],
)
def test_a_line_that_nobody_would_write(
    source: str, recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(site_with(source)) == "`a.py:7`"
    assert not recwarn
    assert capsys.readouterr().err == ""


def test_what_was_not_seen_stands_at_the_top() -> None:
    open_one = make_checkout("c1", 0.0, 0.0, None, request=make_request(), site=make_site())
    report = reported([open_one])
    (process,) = report.processes
    lossy = replace(process, dropped=7, finished=False, sampling_interval=0.0)
    report, left_out = replace(report, processes=(lossy,)), LeftOut(spans=7, routes=2, nodes=3)
    told = " ".join(one.text for one in unseen(report, left_out) if one.is_grave)
    assert "7 facts dropped" in told
    assert "Process 100 exited abnormally, or was still running" in told
    assert "1 connection not returned" in told
    every = " ".join(one.text for one in unseen(report, left_out))
    assert "7 short spans are added up" in every
    assert "2 routes left out of the tables" in every
    assert "leaves out 3 parts" in every
    assert "were not looked at" in every
    cut_off = replace(lossy, missing_checkouts=9, missing_reason="disk full")
    report = replace(report, processes=(cut_off,))
    told = " ".join(one.text for one in unseen(report, left_out) if one.is_grave)
    assert told.startswith("9 of 10 checkouts could not be written (disk full): totals are too low")
    assert "abnormally" not in told
    assert "not returned" not in told


def test_a_churn_is_told_by_what_it_cost() -> None:
    pool = make_pool(size=1)
    checkouts = [
        make_checkout(
            f"c{n}",
            n,
            n + 0.5,
            n + 0.6,
            pool=pool,
            connection=n,
            operations=[op(OperationKind.CONNECT, n, n + 0.5)],
            site=EXTERNAL_CALL,
        )
        for n in range(60)
    ]
    told = cause_sentence(reported(checkouts))
    assert "was spent on opening connections instead of keeping them" in told
