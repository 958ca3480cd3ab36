"""The talk's claims, compared with what the lab measured.

The arithmetic: L is the external call's latency, P the connections, N simultaneous requests, U
users in a closed loop; all other costs are small. A burst that holds its connections takes
ceil(N / P) * L, any other burst L. Under load, services that hold connections answer at most P / L
requests per second; users who do nothing but wait for their answers allow U / L.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from poolhog.analysis.findings import LOST_WRITE
from poolhog.lab.parameters import HOLDING_STYLES, Experiment, waves
from poolhog.lab.parts import Part
from poolhog.lab.predictions import EXTERNAL_CALL, MAKESPAN, P95, THROUGHPUT
from poolhog.lab.results import Claim
from poolhog.lab.service.settings import Style
from poolhog.render.request_log import event_text
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.lab.machine import MachineUse
    from poolhog.lab.predictions import PredictionCheck
    from poolhog.lab.results import (
        BurstResult,
        Diagnosis,
        LifecycleResult,
        LoadResult,
        Results,
    )

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
"""The beginnings of the lines in a GET's log, from the slides."""

FIRST_WAVE = 0.05
EACH_FURTHER_WAVE = 0.03
SMALL_COSTS_S = 0.25
"""What "all other costs are small" allows a burst: shares of L for its waves, or this number of
seconds, but never enough to mistake a held connection for a released one."""


def check(results: Results, predictions: Sequence[PredictionCheck] = ()) -> list[Claim]:
    """The claims about what was run, in the order of the slides; those about predictions last."""
    claims = [
        *_about_lifecycles(results),
        *(claim for burst in results.burst for claim in _of_burst(results, burst)),
        *(claim for load in results.load for claim in _of_load(results, load)),
        *_about_diagnoses(results),
    ]
    in_order = sorted(claims, key=lambda claim: int(claim.id.removeprefix("T")))
    return [*in_order, *_about_predictions(results, predictions)]


def _about_predictions(results: Results, predictions: Sequence[PredictionCheck]) -> Iterator[Claim]:
    """No claims if the external API fails or varies: it does so differently in each run."""
    if _fails(results) or results.parameters.external_jitter:
        return
    for prediction in predictions:
        measured, allowed = prediction.measured, prediction.allowed
        unit = "requests/s" if prediction.quantity == THROUGHPUT else "s"
        yield Claim(
            PREDICTED,
            f"{prediction.what}: {QUANTITIES[prediction.quantity]}, predicted",
            round(prediction.predicted, 3),
            round(measured, 3),
            prediction.holds,
            unit,
            prediction.predicted / (1 + allowed),
            prediction.predicted / (1 - allowed),
            prediction.part,
            prediction.machine,
        )


PREDICTED = "P"
QUANTITIES = {
    MAKESPAN: "the time for all",
    P95: "the time that 95 % do not exceed",
    THROUGHPUT: "answers per second",
}
"""The predicted quantities in words."""


def _about_lifecycles(results: Results) -> Iterator[Claim]:
    implicit = results.lifecycle_of(Style.IMPLICIT, "GET")
    explicit = results.lifecycle_of(Style.EXPLICIT, "GET")
    scoped = results.lifecycle_of(Style.IMPLICIT_FUNCTION_SCOPE, "GET")
    if implicit is not None:
        text = "implicit: when a GET's connection goes back"
        yield _of(implicit, _text("T1", text, AFTER, _return(implicit)))
        yield _of(implicit, _log("T2", "implicit: the log of a GET", implicit))
    if explicit is not None:
        text = "explicit: when a GET's connection goes back"
        yield _of(explicit, _text("T4", text, BEFORE, _return(explicit)))
        yield _of(explicit, _log("T4", "explicit: the log of a GET", explicit))
    if scoped is not None:
        expected = "before the response, ROLLBACK"
        text = 'implicit under scope="function": when a GET\'s connection goes back'
        yield _of(scoped, _text("T5", text, expected, _return(scoped)))
    for style, (claim, name) in WRITES.items():
        result = results.lifecycle_of(style, "POST")
        # An external call that fails on purpose says nothing about the style.
        if result is not None and (result.status == 200 or not _fails(results)):
            yield _of(result, _about_write(claim, name, result))


def _of(result: LifecycleResult, claim: Claim) -> Claim:
    part = Part(Experiment.LIFECYCLE, (result.style,))
    return replace(claim, part=part, machine=result.machine)


def _about_write(claim: str, name: str, result: LifecycleResult) -> Claim:
    kept = result.style is not Style.IMPLICIT_FORGOTTEN_COMMIT
    return _text(
        claim,
        f"{name}: what a synchronize does",
        f"answers 200, the write is {'kept' if kept else 'lost'}",
        f"answers {result.status}, the write is {'kept' if result.written else 'lost'}",
    )


def _about_diagnoses(results: Results) -> Iterator[Claim]:
    """The line that poolhog names in each style's trace: the external call's, or none."""
    for style, (of_burst, expected) in DIAGNOSES.items():
        for experiment, slide, under in (
            (Experiment.BURST, of_burst, ""),
            (Experiment.LOAD, UNDER_LOAD, " under load"),
        ):
            diagnosis = results.diagnosis_of(experiment, style)
            if diagnosis is not None:
                text = f"{style}: the line that poolhog names{under}"
                claim = _text(slide, text, expected, _named(diagnosis))
                yield replace(
                    claim, part=Part(experiment, (style,)), machine=_machine(results, diagnosis)
                )
    forgotten = results.diagnosis_of(Experiment.LIFECYCLE, Style.IMPLICIT_FORGOTTEN_COMMIT)
    if forgotten is not None:
        lost = [f for f in forgotten.findings if f.kind is LOST_WRITE]
        measured = str(lost[0].kind) if lost else NOTHING
        text = "implicit, commit forgotten: what poolhog says of it"
        part = Part(Experiment.LIFECYCLE, (Style.IMPLICIT_FORGOTTEN_COMMIT,))
        yield replace(_text("T6", text, str(LOST_WRITE), measured), part=part)


def _machine(results: Results, diagnosis: Diagnosis) -> MachineUse | None:
    """What the machine did while the largest burst, or the load, of a trace was measured."""
    style = diagnosis.style
    if diagnosis.experiment is Experiment.BURST:
        burst = results.burst_of(style, results.parameters.most_requests)
        return None if burst is None else burst.machine
    load = results.load_of(style)
    return None if load is None else load.machine


def _named(diagnosis: Diagnosis) -> str:
    """The lines of the findings, each once, in their order; without a line, the kind."""
    lines = (f.site.source if f.site is not None else str(f.kind) for f in diagnosis.findings)
    return " · ".join(dict.fromkeys(lines)) or NOTHING


NOTHING = "nothing"
UNDER_LOAD = "T15"
DIAGNOSES = {
    Style.IMPLICIT: ("T9", EXTERNAL_CALL),
    Style.EXPLICIT: ("T11", NOTHING),
    Style.PER_QUERY: ("T14", NOTHING),
}
"""For each style the slide of its burst, and the line that poolhog must name in its traces."""


def _fails(results: Results) -> bool:
    """Whether the external API fails on purpose now and then."""
    return results.parameters.external_failure_rate > 0


WRITES = {
    Style.IMPLICIT: ("T6", "implicit"),
    Style.IMPLICIT_FORGOTTEN_COMMIT: ("T6", "implicit, commit forgotten"),
    Style.EXPLICIT: ("T10", "explicit"),
    Style.PER_QUERY: ("T14", "per-query"),
}
"""For each style the slide that shows its synchronize, and its name on that slide."""

AFTER = "after the response, ROLLBACK"
BEFORE = "before the response, COMMIT"


def _return(result: LifecycleResult) -> str:
    lifecycle = result.lifecycle
    when = "before" if lifecycle.returned_before_response else "after"
    return f"{when} the response, {lifecycle.ended_with or 'autocommit'}"


def _text(claim: str, text: str, expected: str, measured: str) -> Claim:
    return Claim(claim, text, expected, measured, holds=expected == measured)


def _log(claim: str, text: str, result: LifecycleResult) -> Claim:
    lines = [event_text(event) for event in result.log]
    starts, expected = LOGS[result.style], "the slide's lines"
    holds = len(lines) == len(starts) and all(
        line.startswith(start) for line, start in zip(lines, starts, strict=True)
    )
    measured = expected if holds else " · ".join(lines)
    detail = "" if holds else _first_difference(lines, starts)
    return Claim(claim, text, expected, measured, holds, detail=detail)


def _first_difference(lines: Sequence[str], starts: Sequence[str]) -> str:
    for number, (line, start) in enumerate(zip(lines, starts, strict=False), 1):
        if not line.startswith(start):
            return f"Line {number} should begin with “{start}”, and is “{line}”."
    return f"The log has {count(len(lines), 'line')}, the slide {len(starts)}."


def _of_burst(results: Results, burst: BurstResult) -> Iterator[Claim]:
    part = Part(Experiment.BURST, (burst.style,), burst.requests)
    for claim in _about_burst(results, burst):
        yield replace(claim, part=part, machine=burst.machine, detail=_slowest(burst))


def _slowest(burst: BurstResult) -> str:
    """A sentence about the request that took the longest."""
    if not burst.latencies:
        return ""
    index = max(range(len(burst.latencies)), key=burst.latencies.__getitem__)
    return (
        f"Request #{index + 1} took the longest: {seconds(burst.latencies[index])}, of which it "
        f"waited {seconds(burst.waits[index])} for connections and had them for "
        f"{seconds(burst.uses[index])}."
    )


def _about_burst(results: Results, burst: BurstResult) -> Iterator[Claim]:
    latency = burst.external_latency
    parameters = results.parameters
    turns = burst.waves
    # At worst one of several workers, which share no connections, gets all of the requests.
    worst = waves(burst.style, burst.requests, burst.connections // parameters.workers)
    allowed = FIRST_WAVE + EACH_FURTHER_WAVE * (worst - 1)
    jitter = parameters.external_jitter * worst
    yield _number(
        _burst_id(burst, turns),
        f"{burst.style}: {count(burst.requests, 'request')} at once, "
        f"{count(burst.connections, 'connection')}",
        turns * latency,
        burst.makespan,
        "s",
        least=turns * latency - jitter,
        most=worst * latency + max(allowed * worst * latency, _small(latency)) + jitter,
    )
    if not _fails(results):
        text = f"{burst.style}: failed requests of {burst.requests} at once"
        claim = _burst_id(burst, turns)
        yield Claim(claim, text, 0, burst.errors, burst.errors == 0, "requests", 0, 0)
    if burst.requests == parameters.most_requests:
        yield _about_use(burst, jitter=parameters.external_jitter)


def _burst_id(burst: BurstResult, turns: int) -> str:
    if burst.style in HOLDING_STYLES:
        return "T7" if turns == 1 else "T8"
    return "T14" if burst.style is Style.PER_QUERY else "T12"


def _about_use(burst: BurstResult, *, jitter: float) -> Claim:
    """The claim about how long a request has a connection: through the call, or for moments."""
    latency = burst.external_latency
    holding = burst.style in HOLDING_STYLES
    small = max(FIRST_WAVE * latency, _small(latency))
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


def _small(latency: float) -> float:
    return min(SMALL_COSTS_S, latency / 4)


def _of_load(results: Results, load: LoadResult) -> Iterator[Claim]:
    part = Part(Experiment.LOAD, (load.style,))
    detail = (
        f"Half of the answers took at most {seconds(load.p50)}, and 99 % at most "
        f"{seconds(load.p99)}; {count(load.errors, 'request')} failed."
    )
    for claim in _about_load(results, load):
        yield replace(claim, part=part, machine=load.machine, detail=detail)


def _about_load(results: Results, load: LoadResult) -> Iterator[Claim]:
    holding = load.style in HOLDING_STYLES
    expected = min(load.pool_limit_per_s, load.limit_per_s) if holding else load.limit_per_s
    succeeding = 1 - results.parameters.external_failure_rate
    expected *= succeeding
    connections = count(results.parameters.connections_in(Experiment.LOAD), "connection")
    yield _number(
        "T15",
        f"{load.style}: {count(load.users, 'user')}, {connections}",
        expected,
        load.requests_per_s,
        "requests/s",
        least=(0.9 if holding else 0.97) * expected,
        most=1.05 * expected,
    )
    if not _fails(results):
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
