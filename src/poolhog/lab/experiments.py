"""The talk's experiments: each starts a fresh service, records it, and reads its trace."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

import aiohttp

from poolhog.analysis.accounting import account
from poolhog.analysis.lifecycle import lifecycle_of, log_of
from poolhog.analysis.timeline import build_timeline
from poolhog.errors import ChildError, TraceError
from poolhog.lab import children, load, postgres
from poolhog.lab.burst import run_burst
from poolhog.lab.parameters import Experiment, waves
from poolhog.lab.results import BurstResult, LifecycleResult, LoadResult, Results
from poolhog.lab.service.settings import Settings, Style
from poolhog.trace.reader import open_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.analysis.timeline import Timeline
    from poolhog.lab.burst import Burst
    from poolhog.lab.parameters import Parameters
    from poolhog.model import Checkout, Request, Trace

ON_DISK_WITHIN_S = 10.0
"""How long to wait for the last facts of a recorded process; they take a quarter of a second."""

GET = "GET /notes/{note_id}"
SYNCHRONIZE = "POST /notes/{note_id}/synchronize"


class Watcher(Protocol):
    """Whoever looks on while the lab runs."""

    def begin(self, steps: int) -> None:
        """The lab starts, and will take so many steps."""

    def step(self, what: str) -> None:
        """The next step starts."""

    def tell(self, what: str) -> None:
        """The step goes on; this is how far."""

    def draw(self, timeline: Timeline, expected_end: float) -> None:
        """A burst is going on; this is it up to now, and when it should end on the same clock."""


def run_experiments(results: Results, watcher: Watcher) -> None:
    """Run the experiments that the results' parameters name, and add what each step found.

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
        bench = _Bench(parameters, database, api.url, logs, watcher)
        steps = [step for e in parameters.experiments for step in _STEPS[e](bench, results)]
        watcher.begin(len(steps))
        for step in steps:
            watcher.step(step.what)
            step.take()


@dataclass(frozen=True, slots=True)
class _Step:
    what: str
    take: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all experiments share."""

    parameters: Parameters
    database: postgres.Database
    external_api_url: str
    logs: Path
    watcher: Watcher

    @contextmanager
    def service(self, experiment: Experiment, style: Style, notes: int) -> Iterator[_Service]:
        """A fresh service over a fresh table, recorded into a directory of its own."""
        self.database.create_notes(notes)
        parameters = self.parameters
        traces = parameters.output / "traces" / f"{experiment}-{style}"
        settings = Settings(
            style=style,
            database_url=self.database.url,
            schema=self.database.schema,
            pool_size=parameters.pool_size_in(experiment),
            max_overflow=parameters.max_overflow,
            pool_timeout=parameters.pool_timeout,
            external_api_url=self.external_api_url,
            external_api_timeout=10 * (parameters.external_latency + parameters.external_jitter),
            trace_directory=traces,
        )
        port = parameters.port or None
        with children.service(settings, port, parameters.workers, self.logs) as server:
            yield _Service(server, traces)


@dataclass(frozen=True, slots=True)
class _Service:
    """A running service and its trace."""

    server: children.Server
    traces: Path

    def send(
        self, method: str, paths: list[str], on_look: Callable[[], None] = lambda: None
    ) -> Burst:
        """Send requests at once. Raises ``ChildError`` if the service does not answer them."""
        try:
            return run_burst(self.server.url, method, paths, on_look)
        except aiohttp.ClientError as error:
            raise self.server.child.failure(f"did not answer ({error})") from error

    def recorded(self, burst: Burst) -> Trace:
        """The trace, once all requests of the burst have ended in it."""
        expected = len(burst.responses)

        def has_ended(trace: Trace) -> bool:
            found = requests_of(trace, burst)
            return len(found) == expected and all(r.ended is not None for r in found)

        return self.trace_when(has_ended, f"{expected} requests that were answered")

    def trace_when(self, complete: Callable[[Trace], bool], what: str) -> Trace:
        """The trace, once it is complete. Raises ``ChildError`` if that takes too long."""
        deadline = time.monotonic() + ON_DISK_WITHIN_S
        while time.monotonic() < deadline:
            with suppress(TraceError):  # until the service has recorded its first fact
                trace = open_trace(self.traces)
                if complete(trace):
                    return trace
            self.server.child.check()
            time.sleep(0.05)
        raise ChildError(
            f"the service did not record {what} within {ON_DISK_WITHIN_S:g} s: "
            f"see {self.server.child.log}"
        )


def requests_of(trace: Trace, burst: Burst) -> tuple[Request, ...]:
    """The requests that arrived during the burst."""
    began, ended = trace.at(burst.began_ns), trace.at(burst.ended_ns)
    return tuple(r for r in trace.requests if began <= r.started <= ended)


def checkouts_of(trace: Trace, requests: tuple[Request, ...]) -> dict[str, list[Checkout]]:
    """The checkouts of these requests, by the request's id."""
    found: dict[str, list[Checkout]] = defaultdict(list)
    wanted = {request.id for request in requests}
    for checkout in trace.checkouts:
        if checkout.request is not None and checkout.request.id in wanted:
            found[checkout.request.id].append(checkout)
    return found


def _lifecycle_steps(bench: _Bench, results: Results) -> Iterator[_Step]:
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
                    written = bench.database.note(2) != before if method == "POST" else None
                    results.lifecycle.append(_lifecycle(style, endpoint, trace, burst, written))

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
        lifecycle=lifecycle_of(request, checkouts, trace.until),
        written=written,
    )


def _burst_steps(bench: _Bench, results: Results) -> Iterator[_Step]:
    most = max(bench.parameters.requests)
    for style in bench.parameters.styles_in(Experiment.BURST):
        counts = " and ".join(map(str, bench.parameters.requests))

        def take(style: Style = style) -> None:
            with bench.service(Experiment.BURST, style, notes=most) as service:
                # Opens the pool's connections: the bursts are about using them.
                size = bench.parameters.connections_in(Experiment.BURST)
                service.recorded(service.send("GET", ["/notes/1"] * size))
                for count in bench.parameters.requests:
                    bench.watcher.tell(f"{count} requests at once")
                    results.burst.append(_burst(bench, service, style, count))

        yield _Step(f"burst: {style}, {counts} requests at once", take)


def _burst(bench: _Bench, service: _Service, style: Style, count: int) -> BurstResult:
    paths = [f"/notes/{note_id}/synchronize" for note_id in range(1, count + 1)]
    connections = bench.parameters.connections_in(Experiment.BURST)
    expected = waves(style, count, connections) * bench.parameters.external_latency
    live = _Live(bench.watcher, service.traces, time.monotonic_ns(), expected)
    burst = service.send("POST", paths, live.draw)
    trace = service.recorded(burst)
    requests = requests_of(trace, burst)
    checkouts = checkouts_of(trace, requests)
    accounts = [[account(c, trace.until) for c in checkouts[r.id]] for r in requests]
    by_path = dict(zip(paths, burst.responses, strict=True))
    responses = [by_path[request.path] for request in requests]
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
            [c for request in requests for c in checkouts[request.id]],
            requests,
            trace.pools,
            started=trace.at(burst.began_ns),
            ended=trace.at(burst.ended_ns),
        ),
    )


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
        )
        self.watcher.draw(timeline, began + self.expected)


def _load_steps(bench: _Bench, results: Results) -> Iterator[_Step]:
    users = bench.parameters.users
    for style in bench.parameters.styles_in(Experiment.LOAD):

        def take(style: Style = style) -> None:
            with bench.service(Experiment.LOAD, style, notes=users) as service:
                results.load.append(_load(bench, service, style))

        yield _Step(f"load: {style}, {users} users", take)


def _load(bench: _Bench, service: _Service, style: Style) -> LoadResult:
    parameters = bench.parameters
    plan = load.LoadPlan(
        url=service.server.url,
        users=parameters.users,
        ramp_s=parameters.ramp,
        settle_s=parameters.settle,
        measure_s=parameters.measure,
        notes=parameters.users,
    )
    counted = load.run_load(
        plan,
        bench.logs,
        lambda p: bench.watcher.tell(f"{p.phase}: {p.users} users, {p.requests} requests"),
    )
    trace = service.trace_when(
        lambda trace: all(p.written >= trace.at(counted.ended_ns) for p in trace.processes),
        "the end of the load",
    )
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
        p99=counted.p99_s or 0.0,
        errors=counted.errors,
        recorded_requests=_responded(trace, counted.began_ns, counted.ended_ns),
    )


def _responded(trace: Trace, began_ns: int, ended_ns: int) -> int:
    """How many synchronize requests were answered between two instants."""
    began, ended = trace.at(began_ns), trace.at(ended_ns)
    return sum(
        request.responded is not None and began <= request.responded < ended
        for request in trace.requests
        if request.name == SYNCHRONIZE
    )


_STEPS: dict[Experiment, Callable[[_Bench, Results], Iterator[_Step]]] = {
    Experiment.LIFECYCLE: _lifecycle_steps,
    Experiment.BURST: _burst_steps,
    Experiment.LOAD: _load_steps,
}


def _versions(database: postgres.Database) -> dict[str, str]:
    names = ("poolhog", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "databases", "locust")
    return {
        "python": sys.version.split()[0],
        "postgresql": database.server_version,
        **{name: metadata.version(name) for name in names},
    }
