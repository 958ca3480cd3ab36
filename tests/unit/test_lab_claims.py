from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from factories import make_checkout, make_request, make_site, op
from views import with_spans

from poolhog.analysis.findings import PARKED_CHECKOUT, Example, Finding
from poolhog.analysis.lifecycle import lifecycle_of
from poolhog.analysis.request_log import log_of
from poolhog.analysis.timeline import build_timeline
from poolhog.lab.claims import check
from poolhog.lab.parameters import Experiment, Parameters
from poolhog.lab.predictions import EXTERNAL_CALL
from poolhog.lab.results import (
    BurstResult,
    Claim,
    Diagnosis,
    LifecycleResult,
    LoadResult,
    Results,
)
from poolhog.lab.service.settings import Style
from poolhog.model import Checkout, OperationKind, Request

EMPTY = build_timeline([], [], [], started=0.0, ended=1.0)


def burst(style: Style, requests: int, makespan: float, use: float) -> BurstResult:
    each = (makespan,) * requests
    return BurstResult(
        style=style,
        requests=requests,
        pool_size=5,
        connections=5,
        external_latency=5.0,
        makespan=makespan,
        latencies=each,
        statuses=(200,) * requests,
        waits=(0.0,) * requests,
        uses=(use,) * requests,
        timeline=EMPTY,
    )


def load(style: Style, rate: float, *, errors: int = 0, recorded: int = 1000) -> LoadResult:
    return LoadResult(
        style=style,
        users=1000,
        pool_size=10,
        workers=1,
        requests=1000,
        requests_per_s=rate,
        limit_per_s=200.0,
        pool_limit_per_s=2.0,
        p50=5.0,
        p95=5.1,
        p99=5.2,
        errors=errors,
        recorded_requests=recorded,
    )


def results(**found: object) -> Results:
    parameters = Parameters(output=Path("out"))
    empty = Results(parameters, started_at="2026-01-01T00:00:00+0000")
    return dataclasses.replace(empty, **found)  # type: ignore[arg-type]  # lists of results


def only(claims: list[Claim], claim_id: str) -> Claim:
    """The claim about this slide that counts no requests."""
    (found,) = (c for c in claims if c.id == claim_id and c.unit != "requests")
    return found


@pytest.mark.parametrize(
    ("style", "requests", "makespan", "claim_id", "expected", "holds"),
    [
        (Style.IMPLICIT, 5, 5.04, "T7", 5.0, True),
        (Style.IMPLICIT, 5, 5.30, "T7", 5.0, False),
        (Style.IMPLICIT, 10, 10.1, "T8", 10.0, True),
        (Style.IMPLICIT, 10, 5.1, "T8", 10.0, False),
        (Style.IMPLICIT, 11, 15.1, "T8", 15.0, True),
        (Style.EXPLICIT, 10, 5.05, "T12", 5.0, True),
        (Style.EXPLICIT, 10, 10.0, "T12", 5.0, False),
    ],
)
def test_a_burst_is_held_against_the_arithmetic(
    style: Style, requests: int, makespan: float, claim_id: str, expected: float, holds: bool
) -> None:
    claims = check(results(burst=[burst(style, requests, makespan, 5.0)]))
    claim = only(claims, claim_id)
    assert claim.expected == expected
    assert claim.holds is holds


@pytest.mark.parametrize(
    ("style", "use", "claim_id", "holds"),
    [
        (Style.IMPLICIT, 5.02, "T9", True),
        (Style.IMPLICIT, 0.02, "T9", False),
        (Style.EXPLICIT, 0.02, "T11", True),
        (Style.EXPLICIT, 5.02, "T11", False),
    ],
)
def test_how_long_connections_are_held_is_a_claim_about_the_largest_burst(
    style: Style, use: float, claim_id: str, holds: bool
) -> None:
    claims = check(results(burst=[burst(style, 5, 5.0, 99.0), burst(style, 10, 5.0, use)]))
    assert only(claims, claim_id).holds is holds


@pytest.mark.parametrize(
    ("style", "rate", "holds"),
    [
        (Style.IMPLICIT, 1.9, True),
        (Style.IMPLICIT, 1.7, False),
        (Style.EXPLICIT, 196.0, True),
        (Style.EXPLICIT, 190.0, False),
        (Style.PER_QUERY, 200.0, True),
    ],
)
def test_throughput_is_held_against_its_limit(style: Style, rate: float, holds: bool) -> None:
    rates = [
        claim for claim in check(results(load=[load(style, rate)])) if claim.unit == "requests/s"
    ]
    assert [claim.holds for claim in rates] == [holds]


@pytest.mark.parametrize(("recorded", "holds"), [(1000, True), (991, True), (985, False)])
def test_locust_and_the_trace_must_agree_within_one_percent(recorded: int, holds: bool) -> None:
    claims = check(results(load=[load(Style.EXPLICIT, 200.0, recorded=recorded)]))
    (claim,) = (claim for claim in claims if "Locust" in claim.text)
    assert claim.holds is holds


def test_errors_under_load_break_a_claim() -> None:
    claims = check(results(load=[load(Style.EXPLICIT, 200.0, errors=3)]))
    (claim,) = (claim for claim in claims if "failed" in claim.text)
    assert not claim.holds


def test_a_burst_that_failed_does_not_hold_because_it_was_quick() -> None:
    failed = dataclasses.replace(burst(Style.EXPLICIT, 10, 5.0, 0.0), statuses=(200, *(502,) * 9))
    (claim,) = (c for c in check(results(burst=[failed])) if c.unit == "requests")
    assert (claim.id, claim.expected, claim.measured, claim.holds) == ("T12", 0, 9, False)
    told = results(burst=[failed])
    asked_for = dataclasses.replace(told.parameters, external_failure_rate=0.9)
    claims = check(dataclasses.replace(told, parameters=asked_for))
    assert all(claim.unit != "requests" for claim in claims)


def test_small_costs_never_hide_a_wave() -> None:
    quick = dataclasses.replace(burst(Style.IMPLICIT, 10, 0.35, 0.1), external_latency=0.1)
    assert not only(check(results(burst=[quick])), "T8").holds
    held = dataclasses.replace(burst(Style.EXPLICIT, 10, 0.1, 0.1), external_latency=0.1)
    assert not only(check(results(burst=[held])), "T11").holds


def test_workers_that_share_no_connections_may_take_more_waves() -> None:
    uneven = results(burst=[burst(Style.IMPLICIT, 5, 10.0, 5.0)])
    assert not only(check(uneven), "T7").holds
    two = dataclasses.replace(uneven.parameters, workers=2)
    assert only(check(dataclasses.replace(uneven, parameters=two)), "T7").holds


@pytest.mark.parametrize(
    ("style", "slide", "kept"),
    [
        (Style.IMPLICIT, "T6", True),
        (Style.IMPLICIT_FORGOTTEN_COMMIT, "T6", False),
        (Style.EXPLICIT, "T10", True),
        (Style.PER_QUERY, "T14", True),
    ],
)
def test_what_becomes_of_a_write_is_a_claim(style: Style, slide: str, kept: bool) -> None:
    post = dataclasses.replace(
        get(style, 0.4, OperationKind.COMMIT),
        endpoint="POST /notes/{note_id}/synchronize",
        written=kept,
    )
    assert only(check(results(lifecycle=[post])), slide).holds
    other = dataclasses.replace(post, written=not kept)
    assert not only(check(results(lifecycle=[other])), slide).holds


def get(style: Style, returned: float, ending: OperationKind) -> LifecycleResult:
    request = make_request(ended=1.0, responding=0.5, responded=0.6)
    checkout = make_checkout(
        request=request,
        asked=0.1,
        granted=0.1,
        returned=returned,
        operations=(
            op(OperationKind.BEGIN, 0.1, 0.1),
            op(OperationKind.STATEMENT, 0.11, 0.2, "SELECT notes.id FROM notes"),
            op(ending, returned - 0.02, returned - 0.01),
            op(OperationKind.RESET, returned - 0.005, returned - 0.004),
        ),
    )
    return lifecycle(style, request, checkout)


def lifecycle(style: Style, request: Request, checkout: Checkout) -> LifecycleResult:
    return LifecycleResult(
        style=style,
        endpoint="GET /notes/{note_id}",
        status=200,
        log=log_of(request, [checkout]),
        lifecycle=lifecycle_of(request, with_spans(checkout), 1.0),
        written=None,
    )


def test_when_the_connection_goes_back_is_the_difference() -> None:
    claims = check(
        results(
            lifecycle=[
                get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK),
                get(Style.EXPLICIT, 0.4, OperationKind.COMMIT),
            ]
        )
    )
    assert {claim.id for claim in claims} == {"T1", "T2", "T4"}
    assert all(claim.holds for claim in claims)


def test_a_log_in_another_order_breaks_its_claim() -> None:
    claims = check(results(lifecycle=[get(Style.IMPLICIT, 0.4, OperationKind.ROLLBACK)]))
    assert not only(claims, "T1").holds
    assert not only(claims, "T2").holds
    assert "ROLLBACK" in str(only(claims, "T2").measured)


def test_claims_come_in_the_order_of_the_slides() -> None:
    claims = check(
        results(
            lifecycle=[get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK)],
            burst=[burst(Style.EXPLICIT, 10, 5.0, 0.0), burst(Style.IMPLICIT, 5, 5.0, 5.0)],
            load=[load(Style.IMPLICIT, 2.0)],
        )
    )
    numbers = [int(claim.id[1:]) for claim in claims]
    assert numbers == sorted(numbers)


def test_jitter_widens_the_bounds() -> None:
    calm = results(burst=[burst(Style.EXPLICIT, 10, 5.9, 0.0)])
    assert not only(check(calm), "T12").holds
    jittery = dataclasses.replace(calm.parameters, external_jitter=1.0)
    assert only(check(dataclasses.replace(calm, parameters=jittery)), "T12").holds


@pytest.mark.parametrize("experiment", [Experiment.BURST, Experiment.LOAD])
@pytest.mark.parametrize(
    ("style", "sources", "holds"),
    [
        (Style.IMPLICIT, [EXTERNAL_CALL], True),
        (Style.IMPLICIT, [], False),
        (Style.IMPLICIT, ["result = await database.execute(query)"], False),
        (Style.IMPLICIT, [EXTERNAL_CALL, "result = await database.execute(query)"], False),
        (Style.EXPLICIT, [], True),
        (Style.EXPLICIT, ["result = await database.execute(update)"], False),
        (Style.PER_QUERY, [], True),
        (Style.PER_QUERY, [None], False),
    ],
)
def test_what_poolhog_names_is_held_against_what_is_true(
    experiment: Experiment, style: Style, sources: list[str | None], *, holds: bool
) -> None:
    named = tuple(make_finding(source) for source in sources)
    (claim,) = check(results(diagnoses=[Diagnosis(experiment, style, named)]))
    assert claim.holds is holds
    assert (claim.id == "T15") is (experiment is Experiment.LOAD)


def make_finding(source: str | None) -> Finding:
    return Finding(
        kind=PARKED_CHECKOUT,
        site=make_site(48, source) if source is not None else None,
        routes=(),
        checkouts=1,
        seconds=1.0,
        share=0.1,
        made_wait=0.0,
        waiters=(),
        evidence=None,
        awaiting=(),
        example=Example(None, "1.1", 1, 0.0, 1.0),
    )
