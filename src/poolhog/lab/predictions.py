"""What poolhog predicts from the implicit style's traces alone, compared with what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.replay import predict, read_workload, replay
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.analysis.throughput import Window
from poolhog.lab.parameters import Experiment
from poolhog.lab.parts import Part
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.replay import Performance, Replay, Workload
    from poolhog.lab.machine import MachineUse
    from poolhog.lab.results import Results
    from poolhog.trace.reader import ProcessReader

EXTERNAL_CALL = "updated_note_data = await external_api.sync_note(note_id)"
"""The line at which the implicit service holds its connection."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A replay of the implicit style: unchanged, and with the connection released for the call."""

    as_it_was: Performance
    released: Performance


@dataclass(slots=True)
class Outlooks:
    """The outlooks of one run: of its bursts, by their number of requests, and of its load."""

    bursts: dict[int, Outlook] = field(default_factory=dict)
    load: Outlook | None = None


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """A prediction and the measurement that it is compared with.

    ``quantity`` names what both are of, and their unit. ``allowed`` is the largest error that the
    lab accepts, as a share. ``from_trace`` is the folder of the trace that was replayed. ``part``
    is what was run for both, ``machine`` what the machine did during the measurement.
    """

    what: str
    from_trace: str
    quantity: str
    predicted: float
    measured: float
    allowed: float
    part: Part | None = None
    machine: MachineUse | None = None

    @property
    def error(self) -> float | None:
        """The relative error, positive if the prediction is too large; ``None`` if undefined."""
        return self.predicted / self.measured - 1 if self.measured else None

    @property
    def holds(self) -> bool:
        """Whether the prediction is within the allowed error."""
        return self.error is not None and abs(self.error) <= self.allowed


MAKESPAN = "makespan_s"
P95 = "p95_s"
THROUGHPUT = "requests_per_s"

AS_IT_WAS = 0.03
RELEASED = 0.05
POOL_OF_50 = 0.1
"""The largest relative errors of a replay and of the two kinds of prediction."""


def load_replay(readers: tuple[ProcessReader, ...], began_ns: int, ended_ns: int) -> Replay:
    """Replay a load unchanged, measured between two readings of ``time.monotonic_ns()``."""
    began, ended = ((at - readers[0].origin_ns) / 1e9 for at in (began_ns, ended_ns))
    return replay(read_workload(readers), window=Window(began, ended, is_steady=False))


def outlook_of(replayed: Replay, users: int | None = None) -> Outlook:
    """The outlook of a replay; with ``users`` it is of a closed loop of that many users."""
    terms = WhatIf(release=external_call(replayed.workload), users=users)
    released = predict(replayed, terms)
    return Outlook(replayed.replayed, released.after)


def external_call(workload: Workload) -> frozenset[int]:
    """The numbers of the places of a workload that are the line of the external call."""
    return frozenset(
        number
        for number, place in enumerate(workload.places)
        if place is not None and place.source == EXTERNAL_CALL
    )


def checked_predictions(results: Results, outlooks: Outlooks) -> list[PredictionCheck]:
    """Every prediction that this run can compare with a measurement."""
    return [*_bursts(results, outlooks), *_load(results, outlooks.load), *_remedies(results)]


def _bursts(results: Results, outlooks: Outlooks) -> Iterator[PredictionCheck]:
    for requests, outlook in outlooks.bursts.items():
        burst = results.burst_of(Style.IMPLICIT, requests)
        if burst is None or burst.errors:
            continue
        of = f"{burst.requests} requests at once"
        trace = f"burst-{burst.style}"
        for quantity, predicted, measured in (
            (MAKESPAN, outlook.as_it_was.makespan, burst.makespan),
            (P95, outlook.as_it_was.responses.p95, burst.p95),
        ):
            what = f"{burst.style}, {of}, as it was"
            part = Part(Experiment.BURST, (burst.style,), burst.requests)
            yield PredictionCheck(
                what, trace, quantity, predicted, measured, AS_IT_WAS, part, burst.machine
            )
        explicit = results.burst_of(Style.EXPLICIT, burst.requests)
        if explicit is not None and not explicit.errors:
            what = f"{burst.style}, {of}, releasing the external call"
            predicted, measured = outlook.released.makespan, explicit.makespan
            part = Part(Experiment.BURST, (burst.style, explicit.style), burst.requests)
            yield PredictionCheck(
                what, trace, MAKESPAN, predicted, measured, RELEASED, part, explicit.machine
            )


def _load(results: Results, outlook: Outlook | None) -> Iterator[PredictionCheck]:
    load = results.load_of(Style.IMPLICIT)
    if load is None or outlook is None or load.errors:
        return
    of, trace = f"{load.users:,} users", f"load-{load.style}"
    for quantity, predicted, measured in (
        (THROUGHPUT, outlook.as_it_was.throughput, load.requests_per_s),
        (P95, outlook.as_it_was.responses.p95, load.p95),
    ):
        what = f"{load.style}, {of}, as it was"
        part = Part(Experiment.LOAD, (load.style,))
        yield PredictionCheck(
            what, trace, quantity, predicted, measured, AS_IT_WAS, part, load.machine
        )
    explicit = results.load_of(Style.EXPLICIT)
    if explicit is not None and not explicit.errors:
        what = f"{load.style}, {of}, releasing the external call"
        predicted, measured = outlook.released.throughput, explicit.requests_per_s
        part = Part(Experiment.LOAD, (load.style, explicit.style))
        yield PredictionCheck(
            what, trace, THROUGHPUT, predicted, measured, RELEASED, part, explicit.machine
        )


def _remedies(results: Results) -> Iterator[PredictionCheck]:
    remedies = results.remedies
    larger_pool = remedies.of(RemedyName.POOL_OF_50) if remedies is not None else None
    if larger_pool is None:
        return
    for burst in larger_pool.bursts:
        if burst.predicted.value is not None and not burst.errors:
            yield PredictionCheck(
                f"implicit, {burst.requests} requests at once, a pool of 50",
                "remedies-burst-implicit",
                MAKESPAN,
                burst.predicted.value,
                burst.makespan,
                POOL_OF_50,
                _LARGER_POOL,
            )
    load = larger_pool.load
    if load.predicted.value is not None and not load.failed_per_s:
        yield PredictionCheck(
            f"implicit, {load.users:,} users, a pool of 50",
            "remedies-load-implicit",
            THROUGHPUT,
            load.predicted.value,
            load.answered_per_s,
            POOL_OF_50,
            _LARGER_POOL,
        )


_LARGER_POOL = Part(Experiment.REMEDIES, only=(RemedyName.IMPLICIT, RemedyName.POOL_OF_50))
