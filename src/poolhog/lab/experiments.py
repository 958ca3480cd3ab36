"""The talk's experiments: each starts a fresh service, records it, and reads its trace."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from poolhog import open_trace
from poolhog.analysis.digest import digest_of
from poolhog.analysis.lifecycle import lifecycle_of
from poolhog.analysis.replay import replay, workload_of
from poolhog.analysis.report import read_report
from poolhog.analysis.request_log import log_of
from poolhog.analysis.shown import shown_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.analysis.timeline import build_timeline
from poolhog.errors import TraceError
from poolhog.lab import children, postgres
from poolhog.lab.burst import synchronize_paths
from poolhog.lab.fixture import Fixture, checkouts_of, part_of
from poolhog.lab.machine import MachineMeter
from poolhog.lab.parameters import Experiment, waves
from poolhog.lab.predictions import load_replay, outlook_of
from poolhog.lab.remedies import measuring
from poolhog.lab.remedies.predictions import Baseline
from poolhog.lab.results import BurstResult, Diagnosis, LifecycleResult, LoadResult, Results
from poolhog.lab.service.settings import Style
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.analysis.shown import Shown
    from poolhog.lab.burst import Burst
    from poolhog.lab.fixture import Service, Watcher
    from poolhog.lab.parameters import Parameters
    from poolhog.lab.predictions import Outlooks
    from poolhog.lab.remedy_catalogue import Remedy
    from poolhog.model import Trace

GET = "GET /notes/{note_id}"
SYNCHRONIZE = "POST /notes/{note_id}/synchronize"


def run_experiments(
    results: Results, outlooks: Outlooks, watcher: Watcher, check: Callable[[], None]
) -> None:
    """Run the experiments that the results' parameters name.

    Each step adds to ``results``, and to ``outlooks`` if it measured the implicit style. ``check``
    is called between the steps, and raises if the run is to end. The output folder has its ``logs``
    and ``traces`` already. Raises a ``PoolhogError`` if something cannot be started or measured.
    """
    parameters = results.parameters
    logs = parameters.output / "logs"
    with (
        postgres.database(parameters.database_url, logs) as database,
        children.external_api(
            parameters.external_latency,
            parameters.external_jitter,
            parameters.external_failure_rate,
            logs,
        ) as api,
    ):
        results.versions = _versions(database)
        fixture = Fixture(parameters, database, api.url, logs, watcher)
        talk = _TalkExperiments(fixture, results, outlooks)
        steps = [
            step
            for experiment in parameters.experiments
            for step in (
                _remedy_steps(fixture, results)
                if experiment is Experiment.REMEDIES
                else talk.steps(experiment)
            )
        ]
        watcher.begin(len(steps))
        for step in steps:
            check()
            watcher.step(step.what)
            step.take()


@dataclass(frozen=True, slots=True)
class ExperimentStep:
    """A step of the run, ``what`` it is for people, and the function that takes it."""

    what: str
    take: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _TalkExperiments:
    fixture: Fixture
    results: Results
    outlooks: Outlooks

    def steps(self, experiment: Experiment) -> Iterator[ExperimentStep]:
        """One step for each style."""
        for style in self.fixture.parameters.styles_in(experiment):
            yield ExperimentStep(f"{experiment}: {style}", partial(self._take, experiment, style))

    def _take(self, experiment: Experiment, style: Style) -> None:
        measure, notes = {
            Experiment.LIFECYCLE: (self._lifecycle, 2),
            Experiment.BURST: (self._bursts, self.fixture.parameters.most_requests),
            Experiment.LOAD: (self._load, self.fixture.parameters.users),
        }[experiment]
        with self.fixture.service(experiment, style, notes) as service:
            measure(service, style)
        # The service has ended: its trace is complete.
        report = read_report(stream_trace(service.traces), Thresholds())
        self.results.diagnoses.append(Diagnosis(experiment, style, report.findings))

    def _lifecycle(self, service: Service, style: Style) -> None:
        # The first request opens a connection, which is not what the talk is about.
        service.open_connections(1)
        database = self.fixture.database
        for method, path, endpoint in (
            ("GET", "/notes/1", GET),
            ("POST", "/notes/2/synchronize", SYNCHRONIZE),
        ):
            self.fixture.watcher.tell(endpoint)
            before = database.note(2)
            meter = MachineMeter(service.server.pid)
            burst = service.send(method, [path])
            machine = meter.use()
            trace = self._recorded(service, burst)
            written = database.note(2) != before if method == "POST" else None
            result = _lifecycle(style, endpoint, trace, burst, written)
            self.results.lifecycle.append(replace(result, machine=machine))

    def _bursts(self, service: Service, style: Style) -> None:
        parameters = self.fixture.parameters
        # Opens the pool's connections: the bursts are about using them.
        service.open_connections(parameters.connections_in(Experiment.BURST))
        for count in parameters.requests:
            self.fixture.watcher.tell(f"{count} requests at once")
            self._one_burst(service, style, count)

    def _one_burst(self, service: Service, style: Style, count: int) -> None:
        parameters = self.fixture.parameters
        connections = parameters.connections_in(Experiment.BURST)
        expected = waves(style, count, connections) * parameters.external_latency
        live = _LiveTimeline(self.fixture.watcher, service.traces, time.monotonic_ns(), expected)
        meter = MachineMeter(service.server.pid)
        burst = service.send("POST", synchronize_paths(count), live.draw)
        machine = meter.use()
        trace = self._recorded(service, burst)
        part = part_of(trace, burst)
        result = _burst(parameters, style, burst, trace, part)
        self.results.burst.append(replace(result, machine=machine))
        if style is Style.IMPLICIT:
            self.outlooks.bursts[count] = outlook_of(replay(workload_of(part)))

    def _load(self, service: Service, style: Style) -> None:
        parameters = self.fixture.parameters
        meter = MachineMeter(service.server.pid)
        counted = self.fixture.load(service, Experiment.LOAD)
        machine = meter.use()
        trace = service.trace_when(
            lambda trace: all(p.written >= trace.at(counted.ended_ns) for p in trace.processes),
            "the end of the load",
        )
        self.results.note_losses(trace.clock_origin_ns, trace.processes)
        latency = parameters.external_latency
        result = LoadResult(
            style=style,
            users=parameters.users,
            pool_size=parameters.pool_size_in(Experiment.LOAD),
            workers=parameters.workers,
            requests=counted.requests,
            requests_per_s=counted.requests_per_s,
            limit_per_s=parameters.users / latency,
            pool_limit_per_s=parameters.connections_in(Experiment.LOAD) / latency,
            p50=counted.p50_s or 0.0,
            p95=counted.p95_s or 0.0,
            p99=counted.p99_s or 0.0,
            errors=counted.errors,
            recorded_requests=_responded(trace, counted.began_ns, counted.ended_ns),
            machine=machine,
        )
        self.results.load.append(result)
        if style is Style.IMPLICIT:
            readers = stream_trace(service.traces)
            replayed = load_replay(readers, counted.began_ns, counted.ended_ns)
            self.outlooks.load = outlook_of(replayed, parameters.users)

    def _recorded(self, service: Service, burst: Burst) -> Trace:
        """The trace of a burst; the results note what its recorders lost."""
        trace = service.recorded(burst)
        self.results.note_losses(trace.clock_origin_ns, trace.processes)
        return trace


def _lifecycle(
    style: Style, endpoint: str, trace: Trace, burst: Burst, written: bool | None
) -> LifecycleResult:
    part = part_of(trace, burst)
    (request,) = part.requests
    return LifecycleResult(
        style=style,
        endpoint=endpoint,
        status=burst.responses[0].status,
        log=log_of(request, part.checkouts),
        lifecycle=lifecycle_of(request, _shown(trace, part), trace.until),
        written=written,
    )


def _burst(
    parameters: Parameters, style: Style, burst: Burst, trace: Trace, part: Trace
) -> BurstResult:
    """The result of a burst; ``part`` is its part of the ``trace``."""
    requests = len(burst.responses)
    began, ended = trace.at(burst.began_ns), trace.at(burst.ended_ns)
    by_path = dict(zip(synchronize_paths(requests), burst.responses, strict=True))
    responses = [by_path[request.path] for request in part.requests]
    by_request = checkouts_of(part)
    shown = _shown(trace, part)
    spent = {one.checkout.id: one.spent for one in shown}
    accounts = [[spent[c.id] for c in by_request[r.id]] for r in part.requests]
    return BurstResult(
        style=style,
        requests=requests,
        pool_size=parameters.pool_size_in(Experiment.BURST),
        connections=parameters.connections_in(Experiment.BURST),
        external_latency=parameters.external_latency,
        makespan=burst.makespan,
        latencies=tuple(response.latency for response in responses),
        statuses=tuple(response.status for response in responses),
        waits=tuple(sum(a.wait for a in each) for each in accounts),
        uses=tuple(sum(a.use for a in each) for each in accounts),
        timeline=build_timeline(shown, part.requests, trace.pools, started=began, ended=ended),
        whole=digest_of(part, began, ended),
    )


def _responded(trace: Trace, began_ns: int, ended_ns: int) -> int:
    """The number of synchronize requests that were answered between two instants."""
    began, ended = trace.at(began_ns), trace.at(ended_ns)
    return sum(
        request.responded is not None and began <= request.responded < ended
        for request in trace.requests
        if request.name == SYNCHRONIZE
    )


def _shown(trace: Trace, part: Trace) -> list[Shown]:
    """The checkouts of a part of a trace, with gaps split by the samples of the whole."""
    every = shown_of(trace)
    return [every[checkout.id] for checkout in part.checkouts]


@dataclass(frozen=True, slots=True)
class _LiveTimeline:
    """Shows a burst while it is under way, from what is on disk by then."""

    watcher: Watcher
    traces: Path
    began_ns: int
    expected: float

    def draw(self) -> None:
        """Show the burst as far as the trace has it."""
        with suppress(TraceError):
            self._draw(open_trace(self.traces))

    def _draw(self, trace: Trace) -> None:
        began = trace.at(self.began_ns)
        if trace.until <= began:
            return
        timeline = build_timeline(
            [one for one in shown_of(trace).values() if one.checkout.asked >= began],
            [request for request in trace.requests if request.started >= began],
            trace.pools,
            started=began,
            ended=trace.until,
        )
        self.watcher.draw(timeline, began + self.expected)


def _remedy_steps(fixture: Fixture, results: Results) -> Iterator[ExperimentStep]:
    remedies, measured = measuring.begin(fixture)
    results.remedies = measured
    baseline = Baseline()

    def take(remedy: Remedy) -> None:
        measured.measured.append(measuring.measure(remedy, fixture, results, baseline))

    for remedy in remedies:
        yield ExperimentStep(f"remedies: {remedy.name}", partial(take, remedy))


def _versions(database: postgres.LabDatabase) -> dict[str, str]:
    names = ("poolhog", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "databases", "locust")
    return {
        "python": sys.version.split()[0],
        "postgresql": database.server_version,
        **{name: metadata.version(name) for name in names},
    }
