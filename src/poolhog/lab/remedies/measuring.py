"""Each remedy in turn: its bursts, its load, and two writers of one note."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from poolhog.errors import PoolhogError
from poolhog.lab import children, pgbouncer
from poolhog.lab.bench import checkouts_of, requests_of
from poolhog.lab.burst import run_burst
from poolhog.lab.parameters import Experiment
from poolhog.lab.predicting import burst_replay, load_replay
from poolhog.lab.remedies import catalogue
from poolhog.lab.remedies.found import (
    BurstOutcome,
    LoadOutcome,
    Race,
    RemediesFound,
    RemedyResult,
)
from poolhog.lab.remedies.names import RemedyName
from poolhog.lab.remedies.watch import POLL_S, ServerWatch
from poolhog.lab.service import shares
from poolhog.lab.service.settings import Style
from poolhog.trace.query import Database
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.lab.bench import Bench, Service
    from poolhog.lab.burst import Burst
    from poolhog.lab.load import LoadResult
    from poolhog.lab.remedies.catalogue import Remedy
    from poolhog.lab.remedies.predicting import Basis
    from poolhog.lab.results import Results
    from poolhog.lab.service.settings import Settings
    from poolhog.trace.reader import ProcessReader

RACE_LATENCY_S = 0.5
"""The longest external call of two at once: their reads and writes only have to overlap."""

_CONFLICT = 409


def begin(bench: Bench) -> tuple[list[Remedy], RemediesFound]:
    """The remedies to measure, and results that know by now why others are not.

    Raises ``PoolhogError`` if nothing can be measured of what was asked for.
    """
    ((most,),) = bench.database.query("SHOW max_connections")
    found = RemediesFound(max_connections=int(most), poll_s=POLL_S)
    names = bench.parameters.only
    if pgbouncer.program() is None and RemedyName.PGBOUNCER in (names or RemedyName):
        if set(names) == {RemedyName.PGBOUNCER}:
            raise PoolhogError(pgbouncer.HOW_TO_GET_IT)
        found.skipped[RemedyName.PGBOUNCER] = pgbouncer.HOW_TO_GET_IT
    remedies = [r for r in catalogue.chosen(names) if r.name not in found.skipped]
    return remedies, found


def measure(remedy: Remedy, bench: Bench, results: Results, basis: Basis) -> RemedyResult:
    """All that is measured of a remedy, each part on a fresh service.

    Of what is to be cured, which comes first, ``basis`` gets the replays that all predictions are
    made from.
    """
    with _serving(remedy, bench, results, Experiment.BURST) as service:
        bursts = _bursts(remedy, bench, service, basis)
    with _serving(remedy, bench, results, Experiment.LOAD) as service:
        counted, connections = _load(bench, service)
    readers = stream_trace(service.traces)
    if remedy.name is RemedyName.IMPLICIT:
        basis.load = load_replay(readers, counted.began_ns, counted.ended_ns)
    with children.external_api(_race_latency(bench), 0, 0, bench.logs) as api:
        unchecked, checked = (
            _race(remedy, replace(bench, external_api_url=api.url), checks_version=checks)
            for checks in (False, True)
        )
    load = LoadOutcome(
        users=counted.users,
        answered_per_s=counted.requests_per_s,
        failed_per_s=counted.errors / _elapsed_s(counted),
        written_per_s=_written(readers, counted) / _elapsed_s(counted),
        p50=counted.p50_s,
        p95=counted.p95_s,
        connections=connections,
        predicted=basis.answers_per_s(
            remedy, bench.parameters.connections_in(Experiment.LOAD), counted.users
        ),
    )
    return RemedyResult(remedy, bursts, load, unchecked, checked)


@contextmanager
def _serving(
    remedy: Remedy, bench: Bench, results: Results, experiment: Experiment
) -> Iterator[Service]:
    """The remedy's service, recorded; what its recorder lost is in the results afterwards."""
    notes = bench.parameters.users
    if experiment is Experiment.BURST:
        notes = max(bench.parameters.requests)
    name = f"remedies-{experiment}-{remedy.name}"
    with _settings(remedy, bench, experiment) as (settings, workers):
        with bench.serving(settings, workers, notes, name) as service:
            yield service
        results.saw_processes(stream_trace(service.traces))


@contextmanager
def _settings(
    remedy: Remedy, bench: Bench, experiment: Experiment
) -> Iterator[tuple[Settings, int]]:
    """What the remedy's service is told, and how many workers it has."""
    settings = bench.settings(experiment, remedy.style)
    workers = remedy.workers or bench.parameters.workers
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
                bench.database, connections, settings.pool_timeout, bench.logs
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
    remedy: Remedy, bench: Bench, service: Service, basis: Basis
) -> tuple[BurstOutcome, ...]:
    with ServerWatch(bench.database) as watch:
        # Opens the pool's connections, where it has any: the bursts are about using them.
        size = bench.parameters.connections_in(Experiment.BURST)
        service.recorded(service.send("GET", ["/notes/1"] * size))
        return tuple(
            _burst(remedy, bench, service, watch, basis, count)
            for count in bench.parameters.requests
        )


def _burst(
    remedy: Remedy, bench: Bench, service: Service, watch: ServerWatch, basis: Basis, count: int
) -> BurstOutcome:
    bench.watcher.tell(f"{count} requests at once")
    burst = service.send("POST", [_path(note_id) for note_id in range(1, count + 1)])
    trace = service.recorded(burst)
    if remedy.name is RemedyName.IMPLICIT:
        requests = requests_of(trace, burst)
        owned = checkouts_of(trace, requests)
        checkouts = tuple(checkout for request in requests for checkout in owned[request.id])
        basis.bursts[count] = burst_replay(trace, requests, checkouts)
    return BurstOutcome(
        requests=count,
        makespan=burst.makespan,
        errors=sum(response.status != 200 for response in burst.responses),
        # Background tasks have ended by then, too.
        connections=watch.peak(burst.began_ns, time.monotonic_ns()),
        predicted=basis.burst(remedy, count),
    )


def _load(bench: Bench, service: Service) -> tuple[LoadResult, int]:
    """What Locust counted, and the server's most connections meanwhile."""
    with ServerWatch(bench.database) as watch:
        began_ns = time.monotonic_ns()
        counted = bench.load(service, Experiment.REMEDIES)
        return counted, watch.peak(began_ns, counted.ended_ns)


def _elapsed_s(counted: LoadResult) -> float:
    return (counted.ended_ns - counted.began_ns) / 1e9


def _written(readers: Sequence[ProcessReader], counted: LoadResult) -> int:
    """How many updates were made while Locust counted, by the trace."""
    with Database(readers) as database:
        ((written,),) = database.ask(_UPDATES.format(counted.began_ns, counted.ended_ns)).rows
    return int(written)


_UPDATES = """
SELECT count(*) FROM operations
WHERE kind = 'statement' AND statement LIKE 'UPDATE%' AND error IS NULL
AND ended_ns >= {} AND ended_ns < {}
"""


def _race(remedy: Remedy, bench: Bench, *, checks_version: bool) -> Race:
    """Two synchronize requests of one note at once, and a third if one was refused."""
    bench.watcher.tell("two requests for one note")
    bench.database.create_notes(1)
    port = bench.parameters.port or None
    with _settings(remedy, bench, Experiment.LOAD) as (settings, workers):
        settings = replace(settings, checks_version=checks_version)
        with children.service(settings, port, workers, bench.logs) as server:
            both = run_burst(server.url, "POST", [_path(1)] * 2)
            kept = _version(remedy, bench)
            refused = _statuses(both).count(_CONFLICT)
            again = None
            if refused:
                run_burst(server.url, "POST", [_path(1)])
                again = _version(remedy, bench)
            return Race(_statuses(both).count(200), refused, kept, again)


def _version(remedy: Remedy, bench: Bench) -> int:
    """How often the note was written, as those who did so knew."""
    if remedy.style is Style.BACKGROUND_TASK:
        # Nobody tells when it is done, and a write that is refused leaves nothing to see.
        time.sleep(2 * _race_latency(bench))
    ((version,),) = bench.database.query("SELECT version FROM notes")
    return int(version)


def _statuses(burst: Burst) -> list[int]:
    return [response.status for response in burst.responses]


def _race_latency(bench: Bench) -> float:
    return min(bench.parameters.external_latency, RACE_LATENCY_S)


def _path(note_id: int) -> str:
    return f"/notes/{note_id}/synchronize"
