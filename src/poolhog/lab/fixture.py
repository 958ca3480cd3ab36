"""The experiments' fixture: fresh recorded services, and their traces."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import aiohttp

from poolhog import open_trace
from poolhog.errors import ChildError, TraceError
from poolhog.lab import children, load
from poolhog.lab.burst import run_burst
from poolhog.lab.parameters import Experiment
from poolhog.lab.service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.analysis.timeline import Timeline
    from poolhog.lab.burst import Burst
    from poolhog.lab.parameters import Parameters
    from poolhog.lab.postgres import LabDatabase
    from poolhog.lab.service.settings import Style
    from poolhog.model import Checkout, Request, Trace

ON_DISK_WITHIN_S = 10.0
"""How long to wait for the last facts of a recorded process; they take a quarter of a second."""


class Watcher(Protocol):
    """Is notified of the progress of the lab."""

    def begin(self, steps: int) -> None:
        """The lab starts, and will take this number of ``steps``."""

    def step(self, what: str) -> None:
        """The next step starts."""

    def tell(self, what: str) -> None:
        """The step goes on; ``what`` says how far it is."""

    def draw(self, timeline: Timeline, expected_end: float) -> None:
        """A burst is under way: its timeline so far, and its expected end on the same clock."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """The parameters, database, external API and output folders of one run."""

    parameters: Parameters
    database: LabDatabase
    external_api_url: str
    logs: Path
    watcher: Watcher

    @contextmanager
    def service(self, experiment: Experiment, style: Style, notes: int) -> Iterator[Service]:
        """A fresh service over a fresh table, recorded into a directory of its own."""
        # One request needs one process: its connection must be open already.
        workers = 1 if experiment is Experiment.LIFECYCLE else self.parameters.workers
        settings = self.settings(experiment, style)
        with self.serving(settings, workers, notes, f"{experiment}-{style}") as service:
            yield service

    def settings(self, experiment: Experiment, style: Style) -> Settings:
        """The settings of a service, by the parameters of the run."""
        parameters = self.parameters
        return Settings(
            style=style,
            database_url=self.database.url,
            schema=self.database.schema,
            pool_size=parameters.pool_size_in(experiment),
            max_overflow=parameters.max_overflow,
            pool_timeout=parameters.pool_timeout,
            external_api_url=self.external_api_url,
            external_api_timeout=parameters.external_timeout,
        )

    @contextmanager
    def serving(self, settings: Settings, workers: int, notes: int, name: str) -> Iterator[Service]:
        """A service with these settings over a fresh table, recorded into a folder ``name``."""
        self.database.create_notes(notes)
        traces = self.parameters.output / "traces" / name
        port = self.parameters.port or None
        with children.service(settings, port, workers, self.logs, traces) as server:
            yield Service(server, traces)

    def load(self, service: Service, experiment: Experiment) -> load.LoadCount:
        """Put load on a service, by the parameters of the run, and show the progress."""
        parameters = self.parameters
        plan = load.LoadPlan(
            url=service.server.url,
            users=parameters.users,
            ramp_s=parameters.ramp,
            settle_s=parameters.settle,
            measure_s=parameters.window_in(experiment),
            notes=parameters.users,
        )
        return load.run_load(
            plan,
            self.logs,
            lambda p: self.watcher.tell(f"{p.phase}: {p.users} users, {p.requests} requests"),
        )


@dataclass(frozen=True, slots=True)
class Service:
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

    def open_connections(self, count: int) -> Trace:
        """Send ``count`` reads at once, so that connections are open, and wait for the trace."""
        return self.recorded(self.send("GET", ["/notes/1"] * count))

    def recorded(self, burst: Burst) -> Trace:
        """The trace, once all requests of the burst have ended in it."""
        expected = len(burst.responses)

        def has_ended(trace: Trace) -> bool:
            requests = requests_of(trace, burst)
            return len(requests) == expected and all(r.ended is not None for r in requests)

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


def part_of(trace: Trace, burst: Burst) -> Trace:
    """The trace of a burst alone: its requests, and their checkouts in the order of these."""
    requests = requests_of(trace, burst)
    by_request = checkouts_of(trace)
    checkouts = tuple(checkout for request in requests for checkout in by_request[request.id])
    return replace(trace, requests=requests, checkouts=checkouts)


def checkouts_of(trace: Trace) -> dict[str, list[Checkout]]:
    """The checkouts of each request, by the request's id."""
    by_request: dict[str, list[Checkout]] = defaultdict(list)
    for checkout in trace.checkouts:
        if checkout.request is not None:
            by_request[checkout.request.id].append(checkout)
    return by_request
