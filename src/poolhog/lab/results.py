"""What the lab measured in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from poolhog.analysis.measured import percentile
from poolhog.lab.parameters import waves
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.digest import Digest
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.lifecycle import Lifecycle
    from poolhog.analysis.request_log import LogEvent
    from poolhog.analysis.timeline import Timeline
    from poolhog.lab.machine import MachineUse
    from poolhog.lab.parameters import Experiment, Parameters
    from poolhog.lab.parts import Part
    from poolhog.lab.remedy_results import RemediesResults
    from poolhog.model import Process


@dataclass(frozen=True, slots=True)
class LifecycleResult:
    """One request of a style, from its validation to the unwinding of its dependencies.

    ``written`` says whether a synchronize request changed the note in the database; ``None`` for a
    GET.
    """

    style: Style
    endpoint: str
    status: int
    log: tuple[LogEvent, ...]
    lifecycle: Lifecycle
    written: bool | None
    machine: MachineUse | None = None

    @property
    def is_synchronize(self) -> bool:
        """Whether it is the request with the external call."""
        return self.endpoint.startswith("POST")


@dataclass(frozen=True, slots=True)
class BurstResult:
    """Simultaneous synchronize requests, each list in the order of their arrival.

    Latencies and statuses are the client's; waits and uses the trace's: the seconds that each
    request waited for connections and held them. ``whole`` is for the interactive pictures.
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
    whole: Digest | None = None
    machine: MachineUse | None = None

    @property
    def p95(self) -> float:
        """The latency that 95 % of the requests do not exceed (nearest rank)."""
        return percentile(sorted(self.latencies), 0.95) if self.latencies else 0.0

    @property
    def waves(self) -> int:
        """How often a request has to wait for the external call, by the arithmetic."""
        return waves(self.style, self.requests, self.connections)

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
    p95: float
    p99: float
    errors: int
    recorded_requests: int
    machine: MachineUse | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``poolhog report`` finds in the trace of a style, after an experiment."""

    experiment: Experiment
    style: Style
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the talk, and what this run measured of it.

    ``expected`` and ``measured`` are numbers in ``unit``, or texts without one. ``least`` and
    ``most`` are the bounds between which a number holds. ``part`` is what was run for it,
    ``machine`` what the machine did meanwhile, ``detail`` a sentence about what was measured.
    """

    id: str
    text: str
    expected: float | str
    measured: float | str
    holds: bool
    unit: str | None = None
    least: float | None = None
    most: float | None = None
    part: Part | None = None
    machine: MachineUse | None = None
    detail: str = ""


@dataclass(slots=True)
class Results:
    """Everything that one run of the lab measured; it grows while the lab runs.

    ``complete`` is false if it was interrupted or failed; ``failure`` says why.
    """

    parameters: Parameters
    started_at: str
    versions: dict[str, str] = field(default_factory=dict)
    lifecycle: list[LifecycleResult] = field(default_factory=list)
    burst: list[BurstResult] = field(default_factory=list)
    load: list[LoadResult] = field(default_factory=list)
    remedies: RemediesResults | None = None
    diagnoses: list[Diagnosis] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    recorders: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    complete: bool = False
    failure: str | None = None

    def note_losses(self, clock_origin_ns: int, processes: Iterable[Process]) -> None:
        """Remember what the recorders of one trace lost; the latest numbers of a process count."""
        for process in processes:
            key = (clock_origin_ns, process.pid)
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

    @property
    def distinct_gets(self) -> list[LifecycleResult]:
        """One GET of each style whose GET differs.

        A GET has nothing to commit: with the commit forgotten it is the implicit style's again.
        """
        return [
            result
            for result in self.lifecycle
            if not result.is_synchronize and result.style is not Style.IMPLICIT_FORGOTTEN_COMMIT
        ]

    @property
    def largest_bursts(self) -> list[BurstResult]:
        """The burst with the most requests, of each style that was run."""
        return [burst for burst in self.burst if burst.requests == self.parameters.most_requests]

    def lifecycle_of(self, style: Style, method: str) -> LifecycleResult | None:
        """The result for a style and an HTTP method, if it was run."""
        matching = (r for r in self.lifecycle if r.style == style and r.endpoint.startswith(method))
        return next(matching, None)

    def burst_of(self, style: Style, requests: int) -> BurstResult | None:
        """The result for a style and a number of requests, if it was run."""
        return next((r for r in self.burst if r.style == style and r.requests == requests), None)

    def load_of(self, style: Style) -> LoadResult | None:
        """The result for a style, if it was run."""
        return next((r for r in self.load if r.style == style), None)

    def diagnosis_of(self, experiment: Experiment, style: Style) -> Diagnosis | None:
        """The findings in the trace of a style, if it was run."""
        matching = (d for d in self.diagnoses if d.experiment is experiment and d.style == style)
        return next(matching, None)
