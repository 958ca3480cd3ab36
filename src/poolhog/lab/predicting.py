"""What poolhog says beforehand, from the implicit service's trace alone, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poolhog.analysis.replay import ReplayWindow, predict, read_workload, replay, workload_of
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.replay import Performance, Replay, Workload
    from poolhog.lab.results import Results
    from poolhog.model import Checkout, Request, Trace
    from poolhog.trace.reader import ProcessReader

EXTERNAL_CALL = "updated_note_data = await external_api.sync_note(note_id)"
"""The line that the implicit service holds its connection at."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A run of the implicit style played again: as it was, and without holding through the call."""

    as_it_was: Performance
    released: Performance


@dataclass(frozen=True, slots=True)
class Compared:
    """A prediction beside what was measured.

    ``quantity`` says what of and in which unit; ``allowed`` is the error that is claimed not to be
    passed, ``from_trace`` the folder of the trace that it was made from.
    """

    what: str
    from_trace: str
    quantity: str
    predicted: float
    measured: float
    allowed: float

    @property
    def error(self) -> float | None:
        """How much too large the prediction is, as a share of what was measured."""
        return self.predicted / self.measured - 1 if self.measured else None

    @property
    def holds(self) -> bool:
        """Whether it is as near as is claimed."""
        return self.error is not None and abs(self.error) <= self.allowed

    def as_dict(self) -> dict[str, Any]:
        """The documented form."""
        return {
            "what": self.what,
            "from_trace": self.from_trace,
            "quantity": self.quantity,
            "predicted": round(self.predicted, 6),
            "measured": round(self.measured, 6),
            "error": None if self.error is None else round(self.error, 6),
        }


MAKESPAN = "makespan_s"
P95 = "p95_s"
THROUGHPUT = "requests_per_s"

AS_IT_WAS = 0.03
RELEASED = 0.05
POOL_OF_50 = 0.1
"""How far from the truth a replay, and a prediction, may be."""


def burst_replay(
    trace: Trace, requests: tuple[Request, ...], checkouts: tuple[Checkout, ...]
) -> Replay:
    """Some requests of a trace, played again as they were."""
    return replay(workload_of(replace(trace, requests=requests, checkouts=checkouts)))


def load_replay(readers: tuple[ProcessReader, ...], began_ns: int, ended_ns: int) -> Replay:
    """A load played again, counted between two readings of ``time.monotonic_ns()``."""
    began, ended = ((at - readers[0].origin_ns) / 1e9 for at in (began_ns, ended_ns))
    return replay(read_workload(readers), window=ReplayWindow(began, ended, is_steady=False))


def outlook_of(replayed: Replay, users: int | None = None) -> Outlook:
    """What is to be compared of a replay, which is of a closed loop if there are ``users``."""
    terms = WhatIf(release=external_call(replayed.workload), users=users)
    released = predict(replayed, terms)
    return Outlook(replayed.replayed, released.after)


def external_call(workload: Workload) -> frozenset[int]:
    """The external call's line among the places of a workload."""
    return frozenset(
        number
        for number, place in enumerate(workload.places)
        if place is not None and place.source == EXTERNAL_CALL
    )


def compared(results: Results) -> list[Compared]:
    """Every prediction that this run can hold to the truth."""
    return [*_bursts(results), *_loads(results), *_remedies(results)]


def _bursts(results: Results) -> Iterator[Compared]:
    for burst in results.burst:
        outlook = burst.outlook
        if outlook is None or burst.errors:
            continue
        of = f"{burst.requests} requests at once"
        trace = f"burst-{burst.style}"
        for quantity, predicted, measured in (
            (MAKESPAN, outlook.as_it_was.makespan, burst.makespan),
            (P95, outlook.as_it_was.responses.p95, burst.p95),
        ):
            what = f"{burst.style}, {of}, as it was"
            yield Compared(what, trace, quantity, predicted, measured, AS_IT_WAS)
        explicit = results.burst_of(Style.EXPLICIT, burst.requests)
        if explicit is not None and not explicit.errors:
            what = f"{burst.style}, {of}, releasing the external call"
            predicted = outlook.released.makespan
            yield Compared(what, trace, MAKESPAN, predicted, explicit.makespan, RELEASED)


def _loads(results: Results) -> Iterator[Compared]:
    for load in results.load:
        outlook = load.outlook
        if outlook is None or load.errors:
            continue
        of, trace = f"{load.users:,} users", f"load-{load.style}"
        for quantity, predicted, measured in (
            (THROUGHPUT, outlook.as_it_was.throughput, load.requests_per_s),
            (P95, outlook.as_it_was.responses.p95, load.p95),
        ):
            what = f"{load.style}, {of}, as it was"
            yield Compared(what, trace, quantity, predicted, measured, AS_IT_WAS)
        explicit = results.load_of(Style.EXPLICIT)
        if explicit is not None and not explicit.errors:
            what = f"{load.style}, {of}, releasing the external call"
            predicted = outlook.released.throughput
            yield Compared(what, trace, THROUGHPUT, predicted, explicit.requests_per_s, RELEASED)


def _remedies(results: Results) -> Iterator[Compared]:
    from poolhog.lab.remedies.names import RemedyName

    found = results.remedies.of(RemedyName.POOL_OF_50) if results.remedies is not None else None
    if found is None:
        return
    for burst in found.bursts:
        if burst.predicted.value is not None and not burst.errors:
            yield Compared(
                f"implicit, {burst.requests} requests at once, a pool of 50",
                "remedies-burst-implicit",
                MAKESPAN,
                burst.predicted.value,
                burst.makespan,
                POOL_OF_50,
            )
    load = found.load
    if load.predicted.value is not None and not load.failed_per_s:
        yield Compared(
            f"implicit, {load.users:,} users, a pool of 50",
            "remedies-load-implicit",
            THROUGHPUT,
            load.predicted.value,
            load.answered_per_s,
            POOL_OF_50,
        )
