"""Predictions are made of the implicit style alone, and compared with what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import implicit_burst
from test_lab_claims import burst, load, results
from test_replay import trace_of

from poolhog.analysis.replay import replay, workload_of
from poolhog.lab.claims import PREDICTED, check
from poolhog.lab.predictions import (
    EXTERNAL_CALL,
    MAKESPAN,
    P95,
    THROUGHPUT,
    Outlook,
    Outlooks,
    checked_predictions,
    outlook_of,
)
from poolhog.lab.results_json import results_json
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from poolhog.lab.results import Results


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    """Of ten requests over five connections, whose external call takes 5 s."""
    trace = trace_of(implicit_burst(10, 5, 5.0)[0])
    checkouts = tuple(
        replace(
            checkout,
            samples=tuple(
                replace(s, site=replace(s.site, source=EXTERNAL_CALL)) if s.site else s
                for s in checkout.samples
            ),
        )
        for checkout in trace.checkouts
    )
    return outlook_of(replay(workload_of(replace(trace, checkouts=checkouts))))


@pytest.fixture
def measured() -> Results:
    return results(
        burst=[burst(Style.IMPLICIT, 10, 10.1, 5.0), burst(Style.EXPLICIT, 10, 5.1, 0.1)],
        load=[load(Style.IMPLICIT, 2.0), load(Style.EXPLICIT, 198.0)],
    )


def test_an_outlook_has_the_waves_of_the_burst_and_of_the_released_one(outlook: Outlook) -> None:
    assert outlook.as_it_was.makespan == pytest.approx(10.0, rel=0.02)
    assert outlook.released.makespan == pytest.approx(5.0, rel=0.02)


def test_each_outlook_is_compared_with_the_implicit_and_the_explicit_style(
    outlook: Outlook, measured: Results
) -> None:
    checks = checked_predictions(measured, Outlooks({10: outlook}, outlook))
    assert [(check.from_trace, check.quantity) for check in checks] == [
        ("burst-implicit", MAKESPAN),
        ("burst-implicit", P95),
        ("burst-implicit", MAKESPAN),
        ("load-implicit", THROUGHPUT),
        ("load-implicit", P95),
        ("load-implicit", THROUGHPUT),
    ]
    as_it_was, _, released = checks[:3]
    assert (as_it_was.measured, released.measured) == (10.1, 5.1)
    assert as_it_was.holds
    assert released.holds


def test_a_run_that_failed_is_compared_with_nothing(outlook: Outlook, measured: Results) -> None:
    slow, fast = measured.burst
    outlooks = Outlooks({10: outlook})
    failed = (502,) * 10
    without_explicit = replace(measured, burst=[slow, replace(fast, statuses=failed)])
    assert len(checked_predictions(without_explicit, outlooks)) == 2
    without_implicit = replace(measured, burst=[replace(slow, statuses=failed), fast])
    assert checked_predictions(without_implicit, outlooks) == []


def test_an_outlook_without_a_result_is_left_out(outlook: Outlook) -> None:
    assert checked_predictions(results(), Outlooks({10: outlook}, outlook)) == []


def test_predictions_are_claims_unless_the_external_api_varies(
    outlook: Outlook, measured: Results
) -> None:
    checks = checked_predictions(measured, Outlooks({10: outlook}))
    claims = [claim for claim in check(measured, checks) if claim.id == PREDICTED]
    assert [claim.holds for claim in claims] == [check.holds for check in checks]
    for parameters in (
        replace(measured.parameters, external_jitter=0.1),
        replace(measured.parameters, external_failure_rate=0.1),
    ):
        varied = replace(measured, parameters=parameters)
        assert all(claim.id != PREDICTED for claim in check(varied, checks))


def test_the_json_has_the_predictions_of_the_run(outlook: Outlook, measured: Results) -> None:
    checks = checked_predictions(measured, Outlooks({10: outlook}))
    written = results_json(measured, checks)
    assert [each["measured"] for each in written["predictions"]] == [c.measured for c in checks]
    assert results_json(measured, ())["predictions"] == []
    assert written["parameters"]["requests"] == list(measured.parameters.requests)
