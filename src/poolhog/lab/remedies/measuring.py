"""Measures a remedy: its bursts, its load, and two writers of one note."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from poolhog.analysis.replay import replay, workload_of
from poolhog.errors import PoolhogError
from poolhog.lab import children, pgbouncer
from poolhog.lab import remedy_catalogue as catalogue
from poolhog.lab.burst import run_burst, synchronize_paths
from poolhog.lab.fixture import part_of
from poolhog.lab.parameters import Experiment
from poolhog.lab.predictions import load_replay
from poolhog.lab.remedies.connection_count import POLL_S, ConnectionCount
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.remedy_results import (
    BurstOutcome,
    LoadOutcome,
    Race,
    RemediesResults,
    RemedyResult,
)
from poolhog.lab.service import shares
from poolhog.lab.service.settings import Style
from poolhog.trace.query import Database
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.lab.burst import Burst
    from poolhog.lab.fixture import Fixture, Service
    from poolhog.lab.load import LoadCount
    from poolhog.lab.remedies.predictions import Baseline
    from poolhog.lab.remedy_catalogue import Remedy
    from poolhog.lab.results import Results
    from poolhog.lab.service.settings import Settings
    from poolhog.trace.reader import ProcessReader

RACE_LATENCY_S = 0.5
"""The longest external call in a race: the reads and writes only have to overlap."""

_CONFLICT = 409


def begin(fixture: Fixture) -> tuple[list[Remedy], RemediesResults]:
    """The remedies to measure, and empty results that list the skipped remedies.

    Raises ``PoolhogError`` if none of the chosen remedies can be measured.
    """
    ((most,),) = fixture.database.query("SHOW max_connections")
    results = RemediesResults(max_connections=int(most), poll_s=POLL_S)
    names = fixture.parameters.only
    if pgbouncer.program() is None and RemedyName.PGBOUNCER in (names or RemedyName):
        if set(names) == {RemedyName.PGBOUNCER}:
            raise PoolhogError(pgbouncer.HOW_TO_GET_IT)
        results.skipped[RemedyName.PGBOUNCER] = pgbouncer.HOW_TO_GET_IT
    remedies = [r for r in catalogue.chosen(names) if r.name not in results.skipped]
    return remedies, results


def measure(remedy: Remedy, fixture: Fixture, results: Results, baseline: Baseline) -> RemedyResult:
    """Measure the bursts, the load and the races of a remedy, each on a fresh service.

    The implicit service comes first; its replays go to ``baseline``, from which all predictions are
    made.
    """
    with _serving(remedy, fixture, results, Experiment.BURST) as service:
        bursts = _bursts(remedy, fixture, service, baseline)
    with _serving(remedy, fixture, results, Experiment.LOAD) as service:
        counted, connections = _load(fixture, service)
    readers = stream_trace(service.traces)
    if remedy.name is RemedyName.IMPLICIT:
        baseline.load = load_replay(readers, counted.began_ns, counted.ended_ns)
    with children.external_api(_race_latency(fixture), 0, 0, fixture.logs) as api:
        unchecked, checked = (
            _race(remedy, replace(fixture, external_api_url=api.url), checks_version=checks)
            for checks in (False, True)
        )
    load = LoadOutcome(
        users=counted.users,
        answered_per_s=counted.requests_per_s,
        failed_per_s=counted.errors / counted.elapsed_s,
        written_per_s=_written(readers, counted) / counted.elapsed_s,
        p50=counted.p50_s,
        p95=counted.p95_s,
        connections=connections,
        predicted=baseline.answers_per_s(
            remedy, fixture.parameters.connections_in(Experiment.LOAD), counted.users
        ),
    )
    return RemedyResult(remedy, bursts, load, unchecked, checked)


@contextmanager
def _serving(
    remedy: Remedy, fixture: Fixture, results: Results, experiment: Experiment
) -> Iterator[Service]:
    """The remedy's recorded service; afterwards the results note what its recorders lost."""
    notes = fixture.parameters.users
    if experiment is Experiment.BURST:
        notes = fixture.parameters.most_requests
    name = f"remedies-{experiment}-{remedy.name}"
    with _settings(remedy, fixture, experiment) as (settings, workers):
        with fixture.serving(settings, workers, notes, name) as service:
            yield service
        for reader in stream_trace(service.traces):
            results.note_losses(reader.origin_ns, [reader.process])


@contextmanager
def _settings(
    remedy: Remedy, fixture: Fixture, experiment: Experiment
) -> Iterator[tuple[Settings, int]]:
    """The settings of the remedy's service, and its number of workers."""
    settings = fixture.settings(experiment, remedy.style)
    workers = remedy.workers or fixture.parameters.workers
    connections = settings.pool_size
    settings = replace(
        settings,
        pool_size=remedy.pool_size or settings.pool_size,
        max_overflow=settings.max_overflow if remedy.max_overflow is None else remedy.max_overflow,
        keeps_connections=remedy.keeps_connections,
    )
    with ExitStack() as stack:
        if remedy.through_pgbouncer:
            through = pgbouncer.pgbouncer(
                fixture.database, connections, settings.pool_timeout, fixture.logs
            )
            url = stack.enter_context(through)
            # PgBouncer sets the schema itself.
            settings = replace(settings, through_pgbouncer=True, database_url=url, schema=None)
        if remedy.workers is not None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="poolhog-shares-")))
            shares.lay_out(folder, connections, workers)
            settings = replace(settings, shares=str(folder))
        yield settings, workers


def _bursts(
    remedy: Remedy, fixture: Fixture, service: Service, baseline: Baseline
) -> tuple[BurstOutcome, ...]:
    with ConnectionCount(fixture.database) as connections:
        # Opens the pool's connections, if there is a pool: the bursts are about using them.
        service.open_connections(fixture.parameters.connections_in(Experiment.BURST))
        return tuple(
            _burst(remedy, fixture, service, connections, baseline, count)
            for count in fixture.parameters.requests
        )


def _burst(
    remedy: Remedy,
    fixture: Fixture,
    service: Service,
    connections: ConnectionCount,
    baseline: Baseline,
    count: int,
) -> BurstOutcome:
    fixture.watcher.tell(f"{count} requests at once")
    burst = service.send("POST", synchronize_paths(count))
    trace = service.recorded(burst)
    if remedy.name is RemedyName.IMPLICIT:
        baseline.bursts[count] = replay(workload_of(part_of(trace, burst)))
    return BurstOutcome(
        requests=count,
        makespan=burst.makespan,
        errors=sum(response.status != 200 for response in burst.responses),
        # Background tasks have ended by then, too.
        connections=connections.peak(burst.began_ns, time.monotonic_ns()),
        predicted=baseline.burst(remedy, count),
    )


def _load(fixture: Fixture, service: Service) -> tuple[LoadCount, int]:
    """Locust's counts, and the peak number of connections that the server had meanwhile."""
    with ConnectionCount(fixture.database) as connections:
        began_ns = time.monotonic_ns()
        counted = fixture.load(service, Experiment.REMEDIES)
        return counted, connections.peak(began_ns, counted.ended_ns)


def _written(readers: Sequence[ProcessReader], counted: LoadCount) -> int:
    """The number of updates in the trace while Locust counted."""
    with Database(readers) as database:
        ((written,),) = database.ask(_UPDATES.format(counted.began_ns, counted.ended_ns)).rows
    return int(written)


_UPDATES = """
SELECT count(*) FROM operations
WHERE kind = 'statement' AND statement LIKE 'UPDATE%' AND error IS NULL
AND ended_ns >= {} AND ended_ns < {}
"""


def _race(remedy: Remedy, fixture: Fixture, *, checks_version: bool) -> Race:
    """Two synchronize requests of one note at once, and a third if one was refused."""
    fixture.watcher.tell("two requests for one note")
    fixture.database.create_notes(1)
    port = fixture.parameters.port or None
    with _settings(remedy, fixture, Experiment.LOAD) as (settings, workers):
        settings = replace(settings, checks_version=checks_version)
        with children.service(settings, port, workers, fixture.logs) as server:
            both = run_burst(server.url, "POST", synchronize_paths(1) * 2)
            kept = _version(remedy, fixture)
            refused = _statuses(both).count(_CONFLICT)
            again = None
            if refused:
                run_burst(server.url, "POST", synchronize_paths(1))
                again = _version(remedy, fixture)
            return Race(_statuses(both).count(200), refused, kept, again)


def _version(remedy: Remedy, fixture: Fixture) -> int:
    """The number of synchronizations of the note that are in the database."""
    if remedy.style is Style.BACKGROUND_TASK:
        # Nothing reports its end, and a refused write leaves no trace in the database.
        time.sleep(2 * _race_latency(fixture))
    ((version,),) = fixture.database.query("SELECT version FROM notes")
    return int(version)


def _statuses(burst: Burst) -> list[int]:
    return [response.status for response in burst.responses]


def _race_latency(fixture: Fixture) -> float:
    return min(fixture.parameters.external_latency, RACE_LATENCY_S)
