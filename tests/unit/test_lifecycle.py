from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from factories import SELECT, make_checkout, make_pool, make_request, one_get, op
from views import with_spans

from poolhog.analysis.accounting import State
from poolhog.analysis.lifecycle import LifePart, lifecycle_of
from poolhog.analysis.request_log import log_of
from poolhog.model import OperationKind, Outcome
from poolhog.render.lifecycle import LIFE_WORDS
from poolhog.render.request_log import event_text, response_text

IMPLICIT_LOG = [
    "Connection checked out from pool",
    "BEGIN (implicit)",
    SELECT,
    '"GET /notes/1 HTTP/1.1" 200 OK',
    "ROLLBACK",
    "Connection being returned to pool",
    "Connection rollback-on-return (already reset, nothing to do)",
]
EXPLICIT_LOG = [
    "Connection checked out from pool",
    "BEGIN (implicit)",
    SELECT,
    "COMMIT",
    "Connection being returned to pool",
    "Connection rollback-on-return (already reset, nothing to do)",
    '"GET /notes/1 HTTP/1.1" 200 OK',
]


@pytest.mark.parametrize(("explicit", "expected"), [(False, IMPLICIT_LOG), (True, EXPLICIT_LOG)])
def test_the_log_of_a_get(*, explicit: bool, expected: list[str]) -> None:
    request, checkout = one_get(explicit=explicit)
    lines = log_of(request, [checkout])
    assert [event_text(line) for line in lines] == expected
    assert [event_text(line) for line in lines if line.is_response] == [
        '"GET /notes/1 HTTP/1.1" 200 OK'
    ]
    assert all(line.at <= after.at for line, after in pairwise(lines))
    assert lines[0].at == pytest.approx(0.00101)


@pytest.mark.parametrize(("explicit", "expected"), [(False, IMPLICIT_LOG), (True, EXPLICIT_LOG)])
def test_a_clock_too_coarse_to_order_them_leaves_the_causal_order(
    *, explicit: bool, expected: list[str]
) -> None:
    """Everything at the same instant, but for the return, which tells the two apart."""
    request, checkout = one_get(explicit=explicit)
    operations = tuple(replace(o, started=100.0, ended=100.0) for o in checkout.operations)
    checkout = replace(
        checkout,
        asked=100.0,
        granted=100.0,
        returned=100.0 if explicit else 100.1,
        operations=operations,
    )
    lines = log_of(replace(request, responding=100.0), [checkout])
    assert [event_text(line) for line in lines] == expected


def test_what_is_known_of_the_wait_comes_before_the_checkout() -> None:
    request = make_request(started=1.0, ended=2.0)
    operations = [
        op(OperationKind.CONNECT, 1.1, 1.2),
        op(OperationKind.PING, 1.2, 1.2),
        op(OperationKind.BEGIN, 1.2, 1.2, "BEGIN\n  ISOLATION LEVEL   SERIALIZABLE;"),
        op(OperationKind.STATEMENT, 1.3, 1.4, "SELECT\n\t1", error="QueryCanceledError"),
        op(OperationKind.FETCH, 1.4, 1.5),
    ]
    checkout = make_checkout(asked=1.05, granted=1.2, request=request, operations=operations)
    assert [event_text(line) for line in log_of(request, [checkout])] == [
        "Connection opened",
        "Connection pinged",
        "Connection checked out from pool",
        "BEGIN ISOLATION LEVEL SERIALIZABLE;",
        "SELECT 1 (failed: QueryCanceledError)",
        "FETCH",
    ]


def test_a_wait_without_end_or_without_a_connection() -> None:
    request = make_request(started=0.0, ended=None)
    hung = make_checkout(
        "a", 1.0, request=request, operations=[op(OperationKind.CONNECT, 1.1, None)]
    )
    refused = make_checkout("b", 2.0, gave_up=32.0, request=request)
    lines = log_of(request, [hung, refused])
    assert [(line.at, event_text(line)) for line in lines] == [
        (32.0, "No connection from pool: timeout")
    ]


def test_how_a_connection_leaves_without_a_reset() -> None:
    request = make_request()
    plain = make_checkout("a", 0, 1, 2, request=request)
    detached = replace(make_checkout("b", 3, 4, 5, request=request), outcome=Outcome.DETACHED)
    assert [event_text(line) for line in log_of(request, [detached, plain])] == [
        "Connection checked out from pool",
        "Connection being returned to pool",
        "Connection checked out from pool",
        "Connection detached from pool",
    ]


def test_asyncpg_resets_on_return() -> None:
    request = make_request()
    checkout = make_checkout(
        asked=0,
        granted=0,
        returned=2,
        pool=make_pool(library="asyncpg"),
        request=request,
        operations=[op(OperationKind.RESET, 1, 2, "SELECT pg_advisory_unlock_all()")],
    )
    assert event_text(log_of(request, [checkout])[-1]) == "Connection reset on return"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, '"GET /notes/1 HTTP/1.1" 404 Not Found'),
        (299, '"GET /notes/1 HTTP/1.1" 299'),
        (None, '"GET /notes/1 HTTP/1.1"'),
    ],
)
def test_the_line_of_the_response(status: int | None, expected: str) -> None:
    assert response_text(make_request(status=status)) == expected


def test_the_stages_of_a_get() -> None:
    request, checkout = one_get()
    life = lifecycle_of(request, with_spans(checkout), until=200.0)
    assert [(LIFE_WORDS[stage.part], round(stage.duration * 1e6)) for stage in life.stages] == [
        ("middleware, routing", 210),
        ("dependency injection, validation", 420),
        ("request execution", 3460),
        ("response validation, serialization", 160),
        ("middleware", 140),
        ("return response", 260),
        ("async exit stack", 1180),
    ]
    assert all(a.ended <= b.started for a, b in pairwise(life.stages))
    assert life.stages[0].started == 0
    assert life.ended == pytest.approx(0.00602)


def test_what_was_open_in_an_implicit_get() -> None:
    request, checkout = one_get()
    life = lifecycle_of(request, with_spans(checkout), until=200.0)
    assert not life.returned_before_response
    assert life.ended_with == "ROLLBACK"
    assert life.returned == pytest.approx(0.00547)
    assert [(LIFE_WORDS[s.part], round(s.ended, 6)) for s in (*life.sessions, *life.checkouts)] == [
        ("session open", 0.0059),
        ("connection checked out", 0.00547),
    ]
    (transaction,) = life.transactions
    assert (transaction.started, transaction.ended) == pytest.approx((0.00102, 0.00525))
    assert life.holding[0].state is State.WAITING


def test_what_was_open_in_an_explicit_get() -> None:
    request, checkout = one_get(explicit=True)
    life = lifecycle_of(request, with_spans(checkout), until=200.0)
    assert life.returned_before_response
    assert life.ended_with == "COMMIT"


def test_a_function_scoped_exit_stack_comes_before_the_response() -> None:
    request = make_request(
        started=0,
        ended=9,
        responding=6,
        responded=7,
        stages=[
            ("exit stack", 7.5, 8),
            ("dependencies", 1, 2),
            ("endpoint", 2, 3),
            ("serialization", 3, 4),
            ("exit stack", 4, 5),
        ],
    )
    life = lifecycle_of(request, [], until=9)
    assert [(LIFE_WORDS[s.part], s.started, s.ended) for s in life.stages[3:]] == [
        ("response validation, serialization", 3, 4),
        ("async exit stack before the response", 4, 5),
        ("middleware", 5, 6),
        ("return response", 6, 7),
        ("async exit stack", 7.5, 8),
    ]


def test_two_exit_stacks_that_unwind_for_an_error_are_one_stage() -> None:
    request = make_request(
        started=0,
        ended=9,
        status=404,
        responding=6,
        responded=7,
        stages=[("endpoint", 2, 3), ("exit stack", 3, 4), ("exit stack", 4, 5)],
    )
    names = [
        (LIFE_WORDS[s.part], s.started, s.ended) for s in lifecycle_of(request, [], until=9).stages
    ]
    assert names[2] == ("async exit stack before the response", 3, 5)
    assert names[-1] == ("async exit stack", 7, 9)


def test_the_handling_of_an_exception_lasts_until_the_response() -> None:
    handling = [("exception handling", 4, 4), ("exception handling", 5, 5)]
    failed = make_request(
        started=0,
        ended=9,
        status=404,
        responding=6,
        responded=7,
        stages=[("endpoint", 2, 3), ("exit stack", 3, 4), *handling],
    )
    told = [(s.part, s.started, s.ended) for s in lifecycle_of(failed, [], until=9).stages]
    assert told[:4] == [
        (LifePart.ROUTING, 0, 2),
        (LifePart.EXECUTION, 2, 3),
        (LifePart.EARLY_EXIT, 3, 4),
        (LifePart.EXCEPTION_HANDLING, 4, 6),
    ]
    starlette = replace(failed, stages=failed.stages[-2:])
    told = [(s.part, s.started, s.ended) for s in lifecycle_of(starlette, [], until=9).stages]
    assert told[:2] == [(LifePart.UNDIVIDED, 0, 4), (LifePart.EXCEPTION_HANDLING, 4, 6)]
    late = make_request(
        started=0, ended=9, responding=3, responded=7, stages=[("exception handling", 5, 5)]
    )
    parts = [stage.part for stage in lifecycle_of(late, [], until=9).stages]
    assert LifePart.EXCEPTION_HANDLING not in parts


def test_a_request_whose_stages_were_not_recorded() -> None:
    request = make_request(started=0, ended=9, responding=6, responded=7)
    assert [LIFE_WORDS[s.part] for s in lifecycle_of(request, [], until=9).stages] == [
        "middleware, routing, request execution",
        "return response",
        "async exit stack",
    ]


def test_a_request_in_flight_lasts_until_now() -> None:
    request = make_request(
        started=1, ended=None, stages=[("endpoint", 2, None), ("session", 1.5, None)]
    )
    open_checkout = make_checkout(
        asked=2, granted=3, request=request, operations=[op(OperationKind.BEGIN, 3, 3)]
    )
    life = lifecycle_of(request, with_spans(open_checkout), until=5)
    assert [(LIFE_WORDS[s.part], s.ended) for s in life.stages] == [
        ("middleware, routing", 1),
        ("request execution", 4),
    ]
    assert (life.sessions[0].ended, life.checkouts[0].ended) == (4, 4)
    assert life.returned is None
    assert life.ended_with is None
    assert not life.returned_before_response


def test_one_late_return_among_several_is_late() -> None:
    request = make_request(started=0, ended=9, responding=5, responded=6)
    early = make_checkout("a", 1, 1, 2, request=request)
    late = make_checkout("b", 3, 3, 7, request=request)
    refused = make_checkout("c", 3, None, gave_up=4, request=request)
    assert not lifecycle_of(request, with_spans(early, late), until=9).returned_before_response
    assert lifecycle_of(request, with_spans(early, refused), until=9).returned_before_response
    assert not lifecycle_of(request, with_spans(refused), until=9).returned_before_response
    assert not lifecycle_of(request, [], until=9).returned_before_response


def test_autocommit_ends_with_nothing() -> None:
    request = make_request(responding=5, responded=6)
    checkout = make_checkout(
        asked=1,
        granted=1,
        returned=2,
        request=request,
        operations=[op(OperationKind.STATEMENT, 1, 2, SELECT)],
    )
    assert lifecycle_of(request, with_spans(checkout), until=9).ended_with is None


def test_background_tasks_are_a_stage_between_the_response_and_the_unwinding() -> None:
    stages = [("endpoint", 2, 3), ("background", 5, 6), ("background", 6, 8), ("exit stack", 8, 9)]
    request = make_request(ended=9.0, responding=4.0, responded=4.5, stages=stages)
    told = [(LIFE_WORDS[s.part], s.started, s.ended) for s in lifecycle_of(request, (), 9.0).stages]
    assert told[-3:] == [
        ("return response", 4, 4.5),
        ("background tasks", 5, 8),
        ("async exit stack", 8, 9),
    ]


def test_what_follows_background_tasks_without_a_stage_is_the_unwinding() -> None:
    request = make_request(ended=9.0, responding=4.0, responded=4.5, stages=[("background", 5, 8)])
    told = [(LIFE_WORDS[s.part], s.started, s.ended) for s in lifecycle_of(request, (), 9.0).stages]
    assert told[-2:] == [("background tasks", 5, 8), ("async exit stack", 8, 9)]


@pytest.mark.parametrize("kind", ["task", "test"])
def test_what_no_server_answers_has_no_middleware_and_no_routing(kind: str) -> None:
    request = replace(make_request(started=1.0, ended=4.0, status=None), kind=kind)
    told = [(LIFE_WORDS[s.part], s.started, s.ended) for s in lifecycle_of(request, (), 9.0).stages]
    assert told == [("execution", 0, 3)]
