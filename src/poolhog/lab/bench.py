"""What the experiments share: a fresh recorded service, and its trace."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
    from poolhog.lab.postgres import Database
    from poolhog.lab.service.settings import Style
    from poolhog.model import Checkout, Request, Trace

ON_DISK_WITHIN_S = 10.0
"""How long to wait for the last facts of a recorded process; they take a quarter of a second."""


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


@dataclass(frozen=True, slots=True)
class Bench:
    """What all experiments share."""

    parameters: Parameters
    database: Database
    external_api_url: str
    logs: Path
    watcher: Watcher

    @contextmanager
    def service(self, experiment: Experiment, style: Style, notes: int) -> Iterator[Service]:
        """A fresh service over a fresh table, recorded into a directory of its own."""
        # One request needs one process, and its connection is to be open already.
        workers = 1 if experiment is Experiment.LIFECYCLE else self.parameters.workers
        settings = self.settings(experiment, style)
        with self.serving(settings, workers, notes, f"{experiment}-{style}") as service:
            yield service

    def settings(self, experiment: Experiment, style: Style) -> Settings:
        """What a service is told, by what was chosen for the run."""
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
        """A service as told, over a fresh table, recorded into a directory of this name."""
        self.database.create_notes(notes)
        traces = self.parameters.output / "traces" / name
        port = self.parameters.port or None
        with children.service(settings, port, workers, self.logs, traces) as server:
            yield Service(server, traces)

    def load(self, service: Service, experiment: Experiment) -> load.LoadResult:
        """Put load on a service, as chosen for the run, and tell how it goes."""
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
