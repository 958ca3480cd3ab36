"""What the talk claims, against what the lab measured.

The arithmetic: L is the external call's latency, P the connections, N simultaneous requests, U
users in a closed loop; all other costs are small. A burst that holds its connections takes
ceil(N / P) * L, any other L. Under load, holding connections allows P / L requests per second at
the most, and users who do nothing but wait for their answers U / L.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.lab.parameters import HOLDING_STYLES, Experiment, waves
from poolhog.lab.results import Claim
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.results import BurstResult, LifecycleResult, LoadResult, Results

LOGS = {
    Style.IMPLICIT: (
        "Connection checked out from pool",
        "BEGIN (implicit)",
        "SELECT",
        '"GET',
        "ROLLBACK",
        "Connection being returned to pool",
        "Connection rollback-on-return",
    ),
    Style.EXPLICIT: (
        "Connection checked out from pool",
        "BEGIN (implicit)",
        "SELECT",
        "COMMIT",
        "Connection being returned to pool",
        "Connection rollback-on-return",
        '"GET',
    ),
}
"""How the lines of a GET's log begin on the slides."""

FIRST_WAVE = 0.05
EACH_FURTHER_WAVE = 0.03
SMALL_COSTS_S = 0.25
"""What "all other costs small" allows a burst: shares of L, and as many seconds in any case."""


def check(results: Results) -> list[Claim]:
    """The talk's claims about what was run, in the talk's order."""
    found = [
        *_about_lifecycles(results),
        *(claim for burst in results.burst for claim in _about_burst(results, burst)),
        *(claim for load in results.load for claim in _about_load(results, load)),
    ]
    return sorted(found, key=lambda claim: int(claim.id.removeprefix("T")))


def _about_lifecycles(results: Results) -> Iterator[Claim]:
    implicit = results.lifecycle_of(Style.IMPLICIT, "GET")
    explicit = results.lifecycle_of(Style.EXPLICIT, "GET")
    scoped = results.lifecycle_of(Style.IMPLICIT_FUNCTION_SCOPE, "GET")
    forgotten = results.lifecycle_of(Style.IMPLICIT_FORGOTTEN_COMMIT, "POST")
    if implicit is not None:
        yield _text("T1", "implicit: when a GET's connection goes back", AFTER, _return(implicit))
        yield _log("T2", "implicit: the log of a GET", implicit)
    if explicit is not None:
        yield _text("T4", "explicit: when a GET's connection goes back", BEFORE, _return(explicit))
        yield _log("T4", "explicit: the log of a GET", explicit)
    if scoped is not None:
        expected = "before the response, ROLLBACK"
        text = 'implicit under scope="function": when a GET\'s connection goes back'
        yield _text("T5", text, expected, _return(scoped))
    if forgotten is not None:
        text = "implicit, commit forgotten: what a synchronize does"
        measured = f"answers {forgotten.status}, the write is " + (
            "kept" if forgotten.written else "lost"
        )
        yield _text("T6", text, "answers 200, the write is lost", measured)


AFTER = "after the response, ROLLBACK"
BEFORE = "before the response, COMMIT"


def _return(result: LifecycleResult) -> str:
    lifecycle = result.lifecycle
    when = "before" if lifecycle.returned_before_response else "after"
    return f"{when} the response, {lifecycle.ended_with or 'autocommit'}"


def _text(claim: str, text: str, expected: str, measured: str) -> Claim:
    return Claim(claim, text, expected, measured, holds=expected == measured)


def _log(claim: str, text: str, result: LifecycleResult) -> Claim:
    lines = [line.what for line in result.log]
    starts = LOGS[result.style]
    holds = len(lines) == len(starts) and all(
        line.startswith(start) for line, start in zip(lines, starts, strict=True)
    )
    return Claim(
        claim, text, "the slide's lines", "the same" if holds else " · ".join(lines), holds
    )


def _about_burst(results: Results, burst: BurstResult) -> Iterator[Claim]:
    latency = burst.external_latency
    turns = waves(burst.style, burst.requests, burst.connections)
    allowed = FIRST_WAVE + EACH_FURTHER_WAVE * (turns - 1)
    jitter = results.parameters.external_jitter * turns
    expected = turns * latency
    yield _number(
        _burst_id(burst, turns),
        f"{burst.style}: {burst.requests} requests at once, {burst.connections} connections",
        expected,
        burst.makespan,
        "s",
        least=expected - jitter,
        most=expected + max(allowed * expected, SMALL_COSTS_S) + jitter,
    )
    if burst.requests == max(results.parameters.requests):
        yield _about_use(burst, jitter=results.parameters.external_jitter)


def _burst_id(burst: BurstResult, turns: int) -> str:
    if burst.style in HOLDING_STYLES:
        return "T7" if turns == 1 else "T8"
    return "T14" if burst.style is Style.PER_QUERY else "T12"


def _about_use(burst: BurstResult, *, jitter: float) -> Claim:
    """How long a request has a connection: through the call, or for moments."""
    latency = burst.external_latency
    holding = burst.style in HOLDING_STYLES
    small = max(FIRST_WAVE * latency, SMALL_COSTS_S)
    expected = latency if holding else 0.0
    claim = "T9" if holding else "T14" if burst.style is Style.PER_QUERY else "T11"
    return _number(
        claim,
        f"{burst.style}: how long a request of {burst.requests} has a connection, on average",
        expected,
        burst.mean_use,
        "s",
        least=max(expected - jitter, 0.0),
        most=expected + small + jitter,
    )


def _about_load(results: Results, load: LoadResult) -> Iterator[Claim]:
    holding = load.style in HOLDING_STYLES
    expected = min(load.pool_limit_per_s, load.limit_per_s) if holding else load.limit_per_s
    connections = results.parameters.connections_in(Experiment.LOAD)
    yield _number(
        "T15",
        f"{load.style}: {load.users} users, {connections} connections",
        expected,
        load.requests_per_s,
        "requests/s",
        least=(0.9 if holding else 0.97) * expected,
        most=1.05 * expected,
    )
    if results.parameters.external_failure_rate == 0:
        text = f"{load.style}: failed requests under load"
        yield Claim("T15", text, 0, load.errors, load.errors == 0, "requests", 0, 0)
    yield _number(
        "T15",
        f"{load.style}: requests in the trace, against Locust's count",
        load.requests,
        load.recorded_requests,
        "requests",
        least=0.99 * load.requests,
        most=1.01 * load.requests,
    )


def _number(
    claim: str,
    text: str,
    expected: float,
    measured: float,
    unit: str,
    *,
    least: float,
    most: float,
) -> Claim:
    # A clock's resolution: a sleep of 5 s may measure as 4.999 s.
    holds = least * 0.999 <= measured <= most
    return Claim(claim, text, expected, round(measured, 3), holds, unit, least, most)
