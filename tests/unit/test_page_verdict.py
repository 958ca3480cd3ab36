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

from poolhog.analysis.findings import KINDS, AnyKind
from poolhog.analysis.findings.connect_failed import FailedConnects
from poolhog.analysis.findings.many_pools import PoolsMade
from poolhog.analysis.findings.nested_checkout import NestedCheckouts
from poolhog.analysis.findings.shared_over_fork import SharedConnections
from poolhog.analysis.report import report_of
from poolhog.model import OperationKind, Site
from poolhog.render.findings import WORDS
from poolhog.render.page.cards import patch_of
from poolhog.render.page.run import LeftOut, unseen
from poolhog.render.page.verdict import called, cause_sentence, numbers, pool_sentence, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.report import Report
    from poolhog.model import Checkout


EVIDENCE: dict[str, object] = {
    "nested-checkout": NestedCheckouts(2, 5, 5),
    "connect-failed": FailedConnects(3, 30, {"OperationalError": 3}, 0, 0),
    "many-pools": PoolsMade(30, 1, 30, 30, 0, {}),
    "shared-over-fork": SharedConnections(1, 3),
}


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


def site_with(source: str) -> Site:
    return Site("/app/a.py", 7, "f", source, is_application=True)


def test_a_burst_that_holds_its_connections() -> None:
    pool, cause = verdict(reported(implicit_burst()[0]))
    assert pool.startswith("The pool of 5 was exhausted ")
    assert pool.endswith(" % of the time.")
    assert cause.endswith(
        " of connection time was spent waiting for `external_api.sync_note`, not for the database."
    )


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


def test_of_several_pools_it_is_the_busiest() -> None:
    busy = make_pool("busy", size=1)
    checkouts = [
        make_checkout("c1", 0, 0, 10, pool=busy, connection=1),
        make_checkout("c2", 0, 0, 1, pool=make_pool("idle"), connection=1),
    ]
    told = pool_sentence(reported(checkouts))
    assert told == "Of 2 pools, the busiest one (1 connection) was exhausted 100 % of the time."


def test_timeouts_are_told_unless_they_are_the_finding_anyway() -> None:
    late = [make_checkout(f"t{n}", 1.0, None, None, gave_up=9.0) for n in range(2)]
    report = reported([*implicit_burst()[0], *late])
    cause = cause_sentence(report)
    assert cause.startswith("2 requests got no connection in time (")
    assert cause.endswith(
        " of connection time was spent waiting for `external_api.sync_note`, not for the database."
    )
    assert pool_sentence(report).endswith(" % of the time.")
    # The first finding is another one.
    other = replace(report, findings=report.findings[1:])
    assert pool_sentence(other).endswith(", and 2 requests got no connection in time.")


def test_nothing_was_asked_for() -> None:
    assert verdict(reported([])) == ("No connection was asked for while this was recorded.",)
    (told,) = verdict(reported([], requests=3))
    assert told.endswith("3 requests needed none.")
    assert [number.name for number in numbers(reported([]))] == ["requests", "checkouts"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_every_kind_of_finding_is_a_sentence(kind: AnyKind, share: float) -> None:
    told = cause_sentence(found(kind, share))
    assert told[0].isupper() or told[0].isdigit()
    assert told.endswith(".")
    assert "{" not in told
    if share and WORDS[kind.name].spent is not None:
        assert told.startswith("25 % of connection time ")
    elif "times" in told or "connection" not in told.split()[1]:
        assert "3" in told or "s of connection time" in told


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_finding_has_a_title_and_a_patch_with_its_line(kind: AnyKind) -> None:
    source = "row = await client.post(url)"
    assert WORDS[kind.name].title
    patch = patch_of(kind.name, source)
    assert any(source in line.text for line in patch)
    assert {line.sign for line in patch} <= {" ", "+", "-"}
    assert patch_of(kind.name, "") == ()


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
