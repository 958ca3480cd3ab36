"""Evidence in words: what read the same is one thing, and each case has its sentence."""

from __future__ import annotations

from typing import Any

import pytest
from factories import SELECT, UPDATE, make_checkout, make_request, make_site, op, sample

from poolhog.analysis.findings import (
    BLOCKS_OTHERS,
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    NESTED_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    AnyKind,
    Example,
    Finding,
)
from poolhog.analysis.findings.blocks_others import BlockedOthers, BlockedStatement
from poolhog.analysis.findings.entry import Spread
from poolhog.analysis.findings.held_after_response import AfterResponse, Kept
from poolhog.analysis.findings.held_while_streaming import AskedAt, WhileStreaming
from poolhog.analysis.findings.nested_checkout import NestedCheckouts
from poolhog.analysis.findings.never_returned import Fate, NotReturned
from poolhog.analysis.findings.parked_checkout import Asked, Between, ParkedGaps
from poolhog.analysis.findings.pool_timeout import Holder, TimedOut, holder
from poolhog.model import Activity, OperationKind
from poolhog.render.findings import advice, detail

SPREAD = Spread(1.0, 2.0)
STATEMENT, FETCH, COMMIT = OperationKind.STATEMENT, OperationKind.FETCH, OperationKind.COMMIT
LIBRARY = make_site(3, file="/lib/asyncio.py", function="sleep", is_application=False)
LINE = make_site(12, "await call()")


def finding(kind: AnyKind, evidence: object, **changes: Any) -> Finding:
    fields: dict[str, Any] = {
        "site": LINE,
        "routes": ("GET /notes",),
        "checkouts": 2,
        "seconds": 3.0,
        "share": 0.5,
        "made_wait": 0.0,
        "waiters": (),
        "awaiting": (),
        "example": Example(None, "1.1", 1, 0.0, 1.0),
    }
    return Finding(kind=kind, evidence=evidence, **{**fields, **changes})


def test_notes_that_read_the_same_are_weighed_together() -> None:
    """As those of two processes, whose lines are other objects, or of statements alike."""

    def between(statement: str) -> Between:
        return Between(Asked(STATEMENT, statement, make_site(1)), None)

    notes = {between("SELECT a FROM notes"): 2.0, between("SELECT b FROM notes"): 2.0}
    other = Between(Asked(STATEMENT, UPDATE, make_site(2)), None)
    text = detail(finding(PARKED_CHECKOUT, ParkedGaps(SPREAD, {**notes, other: 3.0})))
    assert text == (
        "held 3 s in 2 checkouts (median 1 s, longest 2 s) between `SELECT … FROM notes` "
        "(service.py:1) and its return"
    )


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, None, "between its checkout and its return"),
        (Asked(FETCH, None, LINE), None, "between a fetch (service.py:12) and its return"),
        (None, Asked(COMMIT, None, None), "between its checkout and COMMIT"),
        (Asked(STATEMENT, None, None), None, "between STATEMENT and its return"),
    ],
)
def test_what_a_gap_lies_between(before: Asked | None, after: Asked | None, text: str) -> None:
    evidence = ParkedGaps(SPREAD, {Between(before, after): 1.0})
    assert detail(finding(PARKED_CHECKOUT, evidence, checkouts=1)) == (
        f"held 3 s in 1 checkout {text}"
    )


@pytest.mark.parametrize(
    ("is_seen", "text"),
    [
        ("busy", "busy with `SELECT … FROM notes` (service.py:12)"),
        ("commit", "busy with COMMIT"),
        ("unseen", "between two operations, asked for at service.py:9"),
        ("gone", "left behind, asked for at service.py:9"),
        ("nowhere", "running, asked for at service.py:9"),
        ("library", "asked for at service.py:9"),
        ("line", "parked at service.py:12"),
    ],
)
def test_what_a_holder_did_when_others_timed_out(is_seen: str, text: str) -> None:
    operations, samples = [], []
    match is_seen:
        case "busy":
            operations = [op(STATEMENT, 1.0, 9.0, SELECT, site=LINE)]
        case "commit":
            operations = [op(COMMIT, 1.0, None)]
        case "gone":
            samples = [sample(Activity.PARKED, 2.0, 8.0, None)]
        case "nowhere":
            samples = [sample(Activity.RUNNING, 2.0, 8.0, None)]
        case "library":
            samples = [sample(Activity.PARKED, 2.0, 8.0, LIBRARY)]
        case "line":
            samples = [sample(Activity.PARKED, 2.0, 8.0, LINE)]
    checkout = make_checkout(
        *("c1", 0.0, 0.5, 10.0),
        request=make_request("r1"),
        operations=operations,
        samples=samples,
        site=make_site(9),
    )
    found = holder(checkout, 5.0)
    sentence = detail(finding(POOL_TIMEOUT, TimedOut(4.0, {found: 2.0})))
    assert sentence == (
        "2 waits ended without a connection after up to 4 s. The connections were held by "
        f"GET /notes/{{note_id}}, {text} (100%)"
    )


def test_only_the_most_frequent_holders_are_named() -> None:
    holders = {Holder(f"GET /{n}", asked_at=LINE, activity=Activity.READY): n for n in range(1, 5)}
    text = detail(finding(POOL_TIMEOUT, TimedOut(4.0, {**holders})))
    assert [f"GET /{n}" in text for n in range(1, 5)] == [False, True, True, True]
    assert "(40%)" in text
    assert "held by" not in detail(finding(POOL_TIMEOUT, TimedOut(4.0, {})))


def test_what_kept_a_connection_after_the_response() -> None:
    kept = Kept("get_db", in_background=True, asked_at=LINE)
    found = finding(HELD_AFTER_RESPONSE, AfterResponse(SPREAD, {kept: 1.0}, "get_db"))
    assert detail(found).endswith(
        "by the dependency `get_db`, while background tasks ran, asked for at service.py:12"
    )
    assert 'response: `Depends(get_db, scope="function")` (FastAPI' in advice(found)
    unknown = finding(HELD_AFTER_RESPONSE, AfterResponse(SPREAD, {}, None))
    assert '`Depends(…, scope="function")` on the dependency that yields it (' in advice(unknown)


@pytest.mark.parametrize(
    ("route", "text"),
    [("GET /", "the response was being sent"), ("WS /", "the websocket was open")],
)
def test_what_was_sent_meanwhile(route: str, text: str) -> None:
    evidence = WhileStreaming(SPREAD, {AskedAt(LINE): 1.0})
    assert text in detail(finding(HELD_WHILE_STREAMING, evidence, routes=(route,)))


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (NestedCheckouts(2, None, None), "a request had up to 2 at once"),
        (NestedCheckouts(2, 1, 1), "The pool has 1 connection: it blocks itself"),
        (NestedCheckouts(3, 5, 3), "With 5 connections in the pool, 3 requests at the same time"),
    ],
)
def test_who_can_block_whom(evidence: NestedCheckouts, text: str) -> None:
    assert text in detail(finding(NESTED_CHECKOUT, evidence))


def test_what_was_not_returned() -> None:
    lost = NotReturned({Fate(is_collected=False): 1.0, Fate(is_collected=True): 2.0})
    assert detail(finding(NEVER_RETURNED, lost)) == (
        "2 connections came back by the garbage collector only; held for 3 s after their last use"
    )
    out = NotReturned({Fate(is_collected=False): 1.0})
    assert detail(finding(NEVER_RETURNED, out, seconds=0.0)) == "2 connections did not come back"


@pytest.mark.parametrize(
    ("known", "said", "is_advised"),
    [
        (0.0, "this is inferred", True),
        (1.5, "the database said so of 1.5 s, the rest is inferred", False),
        (2.0, "the database said so", False),
    ],
)
def test_a_lock_that_others_waited_for_is_known_or_inferred(
    known: float, said: str, *, is_advised: bool
) -> None:
    statement = BlockedStatement("GET /notes", "UPDATE notes SET n = ?", is_known=bool(known))
    evidence = BlockedOthers({statement: 2.0}, known, ("notes",), is_advisory=False)
    found = finding(BLOCKS_OTHERS, evidence)
    assert said in detail(found)
    assert "a lock on notes" in detail(found)
    assert ("--watch-locks" in advice(found)) == is_advised
