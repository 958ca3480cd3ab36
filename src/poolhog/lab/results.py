"""What the lab measured, and the file that keeps it: ``results.json``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from poolhog.analysis.sums import percentile
from poolhog.lab.parameters import TALK, Experiment
from poolhog.lab.predicting import compared
from poolhog.render.output import write_whole
from poolhog.render.report import finding_json
from poolhog.render.request_log import event_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.lifecycle import Lifecycle
    from poolhog.analysis.log import LogEvent
    from poolhog.analysis.timeline import Timeline
    from poolhog.analysis.whole import Whole
    from poolhog.lab.parameters import Parameters
    from poolhog.lab.predicting import Outlook
    from poolhog.lab.remedies.found import RemediesFound
    from poolhog.lab.service.settings import Style
    from poolhog.model import Trace
    from poolhog.trace.reader import ProcessReader


@dataclass(frozen=True, slots=True)
class LifecycleResult:
    """One request of a style, from its validation to the unwinding of its dependencies.

    ``written`` says for a synchronize request whether the note in the database changed.
    """

    style: Style
    endpoint: str
    status: int
    log: tuple[LogEvent, ...]
    lifecycle: Lifecycle
    written: bool | None

    @property
    def is_synchronize(self) -> bool:
        """Whether it is the request with the external call."""
        return self.endpoint.startswith("POST")


@dataclass(frozen=True, slots=True)
class BurstResult:
    """Simultaneous synchronize requests, each list in the order of their arrival.

    Latencies and statuses are the client's; waits and uses the trace's: the seconds that each
    request waited for connections and held them. ``whole`` is for the pictures that can be moved,
    ``outlook``, which only the implicit style has, for predictions.
    """

    style: Style
    requests: int
    pool_size: int
    connections: int
    external_latency: float
    makespan: float
    latencies: tuple[float, ...]
    statuses: tuple[int, ...]
    waits: tuple[float, ...]
    uses: tuple[float, ...]
    timeline: Timeline
    whole: Whole | None = None
    outlook: Outlook | None = None

    @property
    def p95(self) -> float:
        """The latency that 95 % of the requests do not exceed (nearest rank)."""
        return percentile(sorted(self.latencies), 0.95) if self.latencies else 0.0

    @property
    def errors(self) -> int:
        """Responses other than 200."""
        return sum(status != 200 for status in self.statuses)

    @property
    def mean_use(self) -> float:
        """How long a request had a connection, on average."""
        return fmean(self.uses) if self.uses else 0.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A closed loop of users, measured by Locust and counted again in the trace."""

    style: Style
    users: int
    pool_size: int
    workers: int
    requests: int
    requests_per_s: float
    limit_per_s: float
    pool_limit_per_s: float
    p50: float
    p99: float
    errors: int
    recorded_requests: int
    p95: float = 0.0
    outlook: Outlook | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``poolhog report`` finds in the trace of a style, after an experiment."""

    experiment: Experiment
    style: Style
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the talk says, and what came of it here.

    ``expected`` and ``measured`` are numbers in ``unit``, or texts without one. ``least`` and
    ``most`` are the bounds between which a number holds.
    """

    id: str
    text: str
    expected: float | str
    measured: float | str
    holds: bool
    unit: str | None = None
    least: float | None = None
    most: float | None = None


@dataclass(slots=True)
class Results:
    """A run of the lab, which grows while it runs.

    ``complete`` is false if it was interrupted or failed; ``failure`` says why.
    """

    parameters: Parameters
    started_at: str
    versions: dict[str, str] = field(default_factory=dict)
    lifecycle: list[LifecycleResult] = field(default_factory=list)
    burst: list[BurstResult] = field(default_factory=list)
    load: list[LoadResult] = field(default_factory=list)
    remedies: RemediesFound | None = None
    diagnoses: list[Diagnosis] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    recorders: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    complete: bool = False
    failure: str | None = None

    def saw(self, trace: Trace) -> None:
        """Remember what the recorder of each process says that it lost."""
        for process in trace.processes:
            key = (str(trace.clock_origin_ns), str(process.pid))
            self.recorders[key] = process.dropped, process.errors

    def saw_processes(self, readers: Iterable[ProcessReader]) -> None:
        """The same of a trace that is not read as a whole."""
        for reader in readers:
            process = reader.process
            key = (str(reader.origin_ns), str(process.pid))
            self.recorders[key] = process.dropped, process.errors

    @property
    def dropped(self) -> int:
        """Facts that the recorders dropped because a buffer was full."""
        return sum(dropped for dropped, _ in self.recorders.values())

    @property
    def recorder_errors(self) -> int:
        """Faults inside the recorders."""
        return sum(errors for _, errors in self.recorders.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        measured = self.remedies is not None and self.remedies.measured
        return not (self.lifecycle or self.burst or self.load or measured)

    def lifecycle_of(self, style: Style, method: str) -> LifecycleResult | None:
        """The result for a style and an HTTP method, if it was run."""
        found = (r for r in self.lifecycle if r.style == style and r.endpoint.startswith(method))
        return next(found, None)

    def burst_of(self, style: Style, requests: int) -> BurstResult | None:
        """The result for a style and a number of requests, if it was run."""
        return next((r for r in self.burst if r.style == style and r.requests == requests), None)

    def load_of(self, style: Style) -> LoadResult | None:
        """The result for a style, if it was run."""
        return next((r for r in self.load if r.style == style), None)

    def diagnosis_of(self, experiment: Experiment, style: Style) -> Diagnosis | None:
        """What was found in the trace of a style, if it was run."""
        found = (d for d in self.diagnoses if d.experiment is experiment and d.style == style)
        return next(found, None)

    def as_dict(self) -> dict[str, Any]:
        """The documented form: snake_case, seconds as floats with ``_s``."""
        return {
            "complete": self.complete,
            "failure": self.failure,
            "recording": {"dropped": self.dropped, "errors": self.recorder_errors},
            "started_at": self.started_at,
            "versions": self.versions,
            "parameters": _parameters(self.parameters),
            "lifecycle": [_lifecycle(result) for result in self.lifecycle],
            "burst": [_burst(result) for result in self.burst],
            "load": [_load(result) for result in self.load],
            "remedies": self.remedies.as_dict() if self.remedies is not None else None,
            "findings": [_diagnosis(diagnosis) for diagnosis in self.diagnoses],
            "predictions": [prediction.as_dict() for prediction in compared(self)],
            "claims": [dataclasses.asdict(claim) for claim in self.claims],
        }

    def write(self, path: Path) -> None:
        """Replace the file as a whole: a reader never sees half of it. Raises ``OutputError``."""
        write_whole(path, json.dumps(self.as_dict(), indent=2) + "\n")


def _parameters(parameters: Parameters) -> dict[str, Any]:
    return {
        "experiments": [str(experiment) for experiment in parameters.experiments],
        "styles": [str(style) for style in parameters.styles],
        "only": [str(name) for name in parameters.only],
        "external_latency_s": parameters.external_latency,
        "external_jitter_s": parameters.external_jitter,
        "external_failure_rate": parameters.external_failure_rate,
        "pool_sizes": {str(e): parameters.pool_size_in(e) for e in TALK},
        "max_overflow": parameters.max_overflow,
        "pool_timeout_s": parameters.pool_timeout,
        "workers": parameters.workers,
        "requests": list(parameters.requests),
        "users": parameters.users,
        "ramp_s": parameters.ramp,
        "settle_s": parameters.settle,
        "measure_s": parameters.window_in(Experiment.LOAD),
        "embedded_database": parameters.database_url is None,
    }


def _lifecycle(result: LifecycleResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "endpoint": result.endpoint,
        "status": result.status,
        "events": [{"at_s": round(line.at, 6), "what": event_text(line)} for line in result.log],
        "returned_before_response": result.lifecycle.returned_before_response,
        "ended_with": result.lifecycle.ended_with,
        "written": result.written,
    }


def _burst(result: BurstResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "requests": result.requests,
        "pool_size": result.pool_size,
        "connections": result.connections,
        "external_latency_s": result.external_latency,
        "makespan_s": round(result.makespan, 6),
        "latencies_s": [round(latency, 6) for latency in result.latencies],
        "wait_s": [round(wait, 6) for wait in result.waits],
        "use_s": [round(use, 6) for use in result.uses],
        "errors": result.errors,
    }


def _load(result: LoadResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "users": result.users,
        "pool_size": result.pool_size,
        "workers": result.workers,
        "requests": result.requests,
        "requests_per_s": round(result.requests_per_s, 3),
        "limit_per_s": round(result.limit_per_s, 3),
        "pool_limit_per_s": round(result.pool_limit_per_s, 3),
        "p50_s": round(result.p50, 6),
        "p95_s": round(result.p95, 6),
        "p99_s": round(result.p99, 6),
        "errors": result.errors,
        "recorded_requests": result.recorded_requests,
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "experiment": str(diagnosis.experiment),
        "style": str(diagnosis.style),
        "findings": [finding_json(finding) for finding in diagnosis.findings],
    }
