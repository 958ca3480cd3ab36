"""Reads the workload of a trace, of which only what is remarkable becomes objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.collector import no_collector
from poolhog.analysis.replay.brief import Brief
from poolhog.analysis.replay.building import Asker, Builder
from poolhog.analysis.routes import owner_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.replay.workload import Workload
    from poolhog.model import Trace
    from poolhog.trace.reader import ProcessReader
    from poolhog.trace.snapshot import Outline, Snapshot

_BRIEF = """
    c.outcome = :returned AND c.granted NOT NULL AND c.returned NOT NULL AND c.connecting IS NULL
    AND (r.id IS NULL OR r.ended NOT NULL)
    AND coalesce(c.busy, 0) <= c.returned - c.granted
    AND c.id NOT IN (SELECT checkout_id FROM packed_samples)
    AND c.id NOT IN (SELECT checkout_id FROM packed_operations)
"""


def workload_of(trace: Trace) -> Workload:
    """The workload of a trace in memory."""
    builder = Builder()
    for process in trace.processes:
        builder.begin(process, [p for p in trace.pools if p.process is process])
        for checkout in trace.checkouts:
            if checkout.pool.process is process:
                builder.add(checkout)
        builder.end()
    return builder.workload()


def read_workload(
    readers: Sequence[ProcessReader], tell: Callable[[int], None] | None = None
) -> Workload:
    """The workload of some processes of a run; ``tell`` learns how many checkouts were read.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    builder = Builder()
    done = 0
    with no_collector():
        for reader in readers:
            with reader.snapshot() as snapshot:
                builder.begin(snapshot.process, snapshot.pools.values(), snapshot.checkout)
                for number in _read(snapshot, builder):
                    done += number
                    if tell is not None:
                        tell(done)
                builder.end()
    return builder.workload()


def read_part(readers: Sequence[ProcessReader], started: float, ended: float) -> Workload:
    """The workload of the requests that came between two instants of the run's clock.

    Work that belongs to no request counts if it asked for a connection then. Raises
    :class:`poolhog.TraceError` if a process cannot be read.
    """
    builder = Builder()
    with no_collector():
        for reader in readers:
            with reader.snapshot() as snapshot:
                builder.begin(snapshot.process, snapshot.pools.values())
                began = snapshot.process.began
                between = [round((at - began) * 1e6) for at in (started, ended)]
                for checkout in snapshot.checkouts(_OF_PART, [*between, *between]):
                    builder.add(checkout)
                builder.end()
    return builder.workload()


_OF_PART = """
    WHERE request_id IN (SELECT id FROM packed_requests WHERE started BETWEEN ? AND ?)
    OR (request_id IS NULL AND asked BETWEEN ? AND ?)
"""


def _read(snapshot: Snapshot, builder: Builder) -> Iterator[int]:
    """Hand all checkouts to the builder; how many at a time."""
    values = {"returned": snapshot.unpack.number_of(Outcome.RETURNED)}
    began, unpack, pools = snapshot.process.began, snapshot.unpack, snapshot.pools
    routes: dict[Outline, str] = {}
    for outlines in snapshot.outlines(_BRIEF, values, requests=True):
        others = snapshot.numbered(outline[0] for outline in outlines if not outline[1])
        for outline in outlines:
            if not outline[1]:
                builder.add(next(others))
                continue
            number, _, _, pool, method, route, path, site, request, owner = outline[:10]
            asked, granted, returned, pinging, busy, started, responded, ended = outline[10:]
            key = method, route, path, site
            name = routes.get(key)
            if name is None:
                is_other = method is None
                where = unpack.sites.get(site)
                name = owner_of(where) if is_other else unpack.request_name(method, route, path)
                routes[key] = name
            if request is None:
                asker = Asker(f"{unpack.prefix} {owner}", name, None, None, None)
            else:
                since = began + started / 1e6
                asker = Asker(
                    f"{unpack.prefix}.{request}",
                    name,
                    since,
                    None if responded is None else since + responded / 1e6,
                    since + ended / 1e6,
                )
            at = began + asked / 1e6
            builder.pass_by(
                asker,
                Brief(
                    number,
                    pools[pool],
                    at,
                    at + granted / 1e6,
                    at + returned / 1e6,
                    (pinging or 0) / 1e6,
                    (busy or 0) / 1e6,
                ),
            )
        if outlines:
            builder.close(began + outlines[-1][10] / 1e6)
            yield len(outlines)
