"""The talk's experiments: each starts a fresh service, records it, and reads its trace."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING

from poolhog import open_trace
from poolhog.analysis.accounting import Shares, account
from poolhog.analysis.lifecycle import lifecycle_of
from poolhog.analysis.log import log_of
from poolhog.analysis.report import read_report
from poolhog.analysis.thresholds import Thresholds
from poolhog.analysis.timeline import build_timeline
from poolhog.analysis.whole import whole_of
from poolhog.errors import TraceError
from poolhog.lab import children, postgres
from poolhog.lab.bench import Bench, checkouts_of, requests_of
from poolhog.lab.parameters import Experiment, waves
from poolhog.lab.predicting import burst_replay, load_replay, outlook_of
from poolhog.lab.remedies import measuring
from poolhog.lab.remedies.predicting import Basis
from poolhog.lab.results import BurstResult, Diagnosis, LifecycleResult, LoadResult, Results
from poolhog.lab.service.settings import Style
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.lab.bench import Service, Watcher
    from poolhog.lab.burst import Burst
    from poolhog.lab.remedies.catalogue import Remedy
    from poolhog.model import Trace

GET = "GET /notes/{note_id}"
SYNCHRONIZE = "POST /notes/{note_id}/synchronize"


def run_experiments(results: Results, watcher: Watcher, check: Callable[[], None]) -> None:
    """Run the experiments that the results' parameters name, and add what each step found.

    ``check`` is called between the steps, and raises if the run is to end.
    The output folder has its ``logs`` and ``traces`` already. Raises a ``PoolhogError`` if
    something cannot be started or measured.
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
        bench = Bench(parameters, database, api.url, logs, watcher)
        steps = [step for e in parameters.experiments for step in _STEPS[e](bench, results)]
        watcher.begin(len(steps))
        for step in steps:
            check()
            watcher.step(step.what)
            step.take()


@dataclass(frozen=True, slots=True)
class _Step:
    what: str
    take: Callable[[], None]


def _lifecycle_steps(bench: Bench, results: Results) -> Iterator[_Step]:
    for style in bench.parameters.styles_in(Experiment.LIFECYCLE):

        def take(style: Style = style) -> None:
            with bench.service(Experiment.LIFECYCLE, style, notes=2) as service:
                # The first request opens a connection, which is not what the talk is about.
                service.recorded(service.send("GET", ["/notes/1"]))
                for method, path, endpoint in (
                    ("GET", "/notes/1", GET),
                    ("POST", "/notes/2/synchronize", SYNCHRONIZE),
                ):
                    bench.watcher.tell(endpoint)
                    before = bench.database.note(2)
                    burst = service.send(method, [path])
                    trace = service.recorded(burst)
                    results.saw(trace)
                    written = bench.database.note(2) != before if method == "POST" else None
                    results.lifecycle.append(_lifecycle(style, endpoint, trace, burst, written))
            results.diagnoses.append(_diagnosis(Experiment.LIFECYCLE, style, service.traces))

        yield _Step(f"lifecycle: {style}", take)


def _lifecycle(
    style: Style, endpoint: str, trace: Trace, burst: Burst, written: bool | None
) -> LifecycleResult:
    (request,) = requests_of(trace, burst)
    checkouts = checkouts_of(trace, (request,))[request.id]
    return LifecycleResult(
        style=style,
        endpoint=endpoint,
        status=burst.responses[0].status,
        log=log_of(request, checkouts),
        lifecycle=lifecycle_of(request, checkouts, trace.until, _shares(trace)),
        written=written,
    )


def _burst_steps(bench: Bench, results: Results) -> Iterator[_Step]:
    most = max(bench.parameters.requests)
    for style in bench.parameters.styles_in(Experiment.BURST):

        def take(style: Style = style) -> None:
            with bench.service(Experiment.BURST, style, notes=most) as service:
                # Opens the pool's connections: the bursts are about using them.
                size = bench.parameters.connections_in(Experiment.BURST)
                service.recorded(service.send("GET", ["/notes/1"] * size))
                for count in bench.parameters.requests:
                    bench.watcher.tell(f"{count} requests at once")
                    results.burst.append(_burst(bench, service, results, style, count))
            results.diagnoses.append(_diagnosis(Experiment.BURST, style, service.traces))

        yield _Step(f"burst: {style}", take)


def _burst(
    bench: Bench, service: Service, results: Results, style: Style, count: int
) -> BurstResult:
    paths = [f"/notes/{note_id}/synchronize" for note_id in range(1, count + 1)]
    connections = bench.parameters.connections_in(Experiment.BURST)
    expected = waves(style, count, connections) * bench.parameters.external_latency
    live = _Live(bench.watcher, service.traces, time.monotonic_ns(), expected)
    burst = service.send("POST", paths, live.draw)
    trace = service.recorded(burst)
    results.saw(trace)
    requests = requests_of(trace, burst)
    checkouts = checkouts_of(trace, requests)
    accounts = [[account(c, trace.until) for c in checkouts[r.id]] for r in requests]
    by_path = dict(zip(paths, burst.responses, strict=True))
    responses = [by_path[request.path] for request in requests]
    owned = [c for request in requests for c in checkouts[request.id]]
    began, ended = trace.at(burst.began_ns), trace.at(burst.ended_ns)
    return BurstResult(
        style=style,
        requests=count,
        pool_size=bench.parameters.pool_size_in(Experiment.BURST),
        connections=connections,
        external_latency=bench.parameters.external_latency,
        makespan=burst.makespan,
        latencies=tuple(response.latency for response in responses),
        statuses=tuple(response.status for response in responses),
        waits=tuple(sum(a.wait for a in each) for each in accounts),
        uses=tuple(sum(a.use for a in each) for each in accounts),
        timeline=build_timeline(
            owned, requests, trace.pools, started=began, ended=ended, shares=_shares(trace)
        ),
        whole=whole_of(replace(trace, requests=requests, checkouts=tuple(owned)), began, ended),
        outlook=outlook_of(burst_replay(trace, requests, tuple(owned)))
        if style is Style.IMPLICIT
        else None,
    )


def _shares(trace: Trace) -> Shares:
    return Shares(trace.checkouts, trace.until)


@dataclass(frozen=True, slots=True)
class _Live:
    """Shows a burst while it goes on: what happened is on disk by then."""

    watcher: Watcher
    traces: Path
    began_ns: int
    expected: float

    def draw(self) -> None:
        """Show what the trace has of the burst up to now."""
        with suppress(TraceError):
            self._draw(open_trace(self.traces))

    def _draw(self, trace: Trace) -> None:
        began = trace.at(self.began_ns)
        if trace.until <= began:
            return
        timeline = build_timeline(
            [checkout for checkout in trace.checkouts if checkout.asked >= began],
            [request for request in trace.requests if request.started >= began],
            trace.pools,
            started=began,
            ended=trace.until,
            shares=_shares(trace),
        )
        self.watcher.draw(timeline, began + self.expected)


def _load_steps(bench: Bench, results: Results) -> Iterator[_Step]:
    users = bench.parameters.users
    for style in bench.parameters.styles_in(Experiment.LOAD):

        def take(style: Style = style) -> None:
            with bench.service(Experiment.LOAD, style, notes=users) as service:
                results.load.append(_load(bench, service, results, style))
            results.diagnoses.append(_diagnosis(Experiment.LOAD, style, service.traces))

        yield _Step(f"load: {style}", take)


def _load(bench: Bench, service: Service, results: Results, style: Style) -> LoadResult:
    parameters = bench.parameters
    counted = bench.load(service, Experiment.LOAD)
    trace = service.trace_when(
        lambda trace: all(p.written >= trace.at(counted.ended_ns) for p in trace.processes),
        "the end of the load",
    )
    results.saw(trace)
    latency = parameters.external_latency
    return LoadResult(
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
        outlook=outlook_of(
            load_replay(stream_trace(service.traces), counted.began_ns, counted.ended_ns),
            parameters.users,
        )
        if style is Style.IMPLICIT
        else None,
    )


def _responded(trace: Trace, began_ns: int, ended_ns: int) -> int:
    """How many synchronize requests were answered between two instants."""
    began, ended = trace.at(began_ns), trace.at(ended_ns)
    return sum(
        request.responded is not None and began <= request.responded < ended
        for request in trace.requests
        if request.name == SYNCHRONIZE
    )


def _diagnosis(experiment: Experiment, style: Style, traces: Path) -> Diagnosis:
    """What is found in the trace of a service that has ended."""
    report = read_report(stream_trace(traces), Thresholds())
    return Diagnosis(experiment, style, report.findings)


def _remedy_steps(bench: Bench, results: Results) -> Iterator[_Step]:
    remedies, found = measuring.begin(bench)
    results.remedies = found
    basis = Basis()
    for remedy in remedies:

        def take(remedy: Remedy = remedy) -> None:
            found.measured.append(measuring.measure(remedy, bench, results, basis))

        yield _Step(f"remedies: {remedy.name}", take)


_STEPS: dict[Experiment, Callable[[Bench, Results], Iterator[_Step]]] = {
    Experiment.LIFECYCLE: _lifecycle_steps,
    Experiment.BURST: _burst_steps,
    Experiment.LOAD: _load_steps,
    Experiment.REMEDIES: _remedy_steps,
}


def _versions(database: postgres.Database) -> dict[str, str]:
    names = ("poolhog", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "databases", "locust")
    return {
        "python": sys.version.split()[0],
        "postgresql": database.server_version,
        **{name: metadata.version(name) for name in names},
    }
