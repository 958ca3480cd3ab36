"""What a report of a large trace costs: seconds and memory of `poolhog report`.

    python benchmarks/large_trace.py [--checkouts 1000000] [--seed 1] [--rounds 3]
        [--keep DIRECTORY]

The trace is made by the recorder's own records and file, of a service that is invented: eight
routes, Poisson arrivals, a pool of 20 that lends its connections first come, first served, and two
routes that hold one across a call. Each round is a process of its own; quoted are every round's
seconds, by the clock and of CPU, and its peak resident memory.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.marker import new_marker
from poolhog.recording.pools import PoolRecord
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import CheckoutRecord, OperationRecord, SampleRecord
from poolhog.recording.requests import RequestRecord
from poolhog.recording.trace_file import TraceFile

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from poolhog.recording.record import Record
    from poolhog.recording.sites import SiteRecord

MS = 1_000_000
CONNECTIONS = 20
REQUESTS_PER_S = 900.0
SAMPLING_NS = 10 * MS
TIMEOUT_NS = 30_000 * MS
BATCH = 10_000


@dataclass(frozen=True)
class Route:
    """A kind of request: ``weight`` of all, with so many statements, and a call between them."""

    method: str
    path: str
    weight: float
    statements: int
    call_ms: float = 0.0
    sql: str = "SELECT notes.id, notes.data FROM notes WHERE notes.id = $1"

    @property
    def path_format(self) -> str:
        """The template, where the recorder looks for it."""
        return self.path


ROUTES = (
    Route("GET", "/notes", 20, 1),
    Route("GET", "/notes/{note_id}", 40, 1),
    Route("POST", "/notes", 10, 2),
    Route("PUT", "/notes/{note_id}", 10, 2),
    Route("DELETE", "/notes/{note_id}", 4, 2),
    Route("GET", "/users/{user_id}", 10, 3),
    Route("POST", "/notes/{note_id}/synchronize", 5, 2, call_ms=120),
    Route("GET", "/export", 1, 4, call_ms=300),
)


class Service:
    """The invented service: its clock, its pool, and where its code is."""

    def __init__(self, recorder: Recorder, seed: int) -> None:
        self.recorder = recorder
        self.random = random.Random(seed)
        self.now_ns = recorder.journal.began_ns
        self.pool = PoolRecord(
            library="sqlalchemy",
            kind="AsyncAdaptedQueuePool",
            name="postgresql+asyncpg://db/notes",
            size=CONNECTIONS,
            max_overflow=0,
            timeout_s=TIMEOUT_NS / 1e9,
            dialect="postgresql",
        )
        self.free = [(self.now_ns, number) for number in range(1, CONNECTIONS + 1)]
        self.sites = {route: self.site(route) for route in ROUTES}
        self.call = self.site(None)
        self.weights = [route.weight for route in ROUTES]

    def site(self, route: Route | None) -> SiteRecord | None:
        """A place of its own for each route: a frame of a function of its name."""
        name = "call" if route is None else f"{route.method.lower()}_{len(route.path)}"
        space: dict[str, object] = {"here": self.recorder.sites.here, "sys": sys}
        code = compile(f"def {name}():\n    return here(sys._getframe())", "/srv/notes.py", "exec")
        exec(code, space)
        found: SiteRecord | None = space[name]()  # type: ignore[operator]
        return found

    def facts(self, checkouts: int) -> Iterator[Record]:
        """Requests with their checkouts and samples, in the order of their start."""
        yield self.pool
        yield from self.recorder.journal.learned
        for number in range(checkouts):
            self.now_ns += int(self.random.expovariate(REQUESTS_PER_S) * 1e9)
            route = self.random.choices(ROUTES, self.weights)[0]
            yield from self.answer(route, number)

    def answer(self, route: Route, number: int) -> Iterator[Record]:
        """One request, and its one checkout."""
        request = RequestRecord("http", route.method, f"/{number % 5000}")
        request.started_ns = self.now_ns
        request.route = route.path
        request.status = 200
        request.queued = True
        checkout = CheckoutRecord(self.pool, request, f"Task-{number}", self.sites[route])
        checkout.asked_ns = self.now_ns + self.some(0.2)
        end_ns = yield from self.use(route, checkout)
        request.responding_ns = request.responded_ns = end_ns
        request.ended_ns = end_ns + self.some(0.1)
        yield request
        yield checkout

    def use(self, route: Route, checkout: CheckoutRecord) -> Generator[SampleRecord, None, int]:
        """Wait for a connection, and work with it; returns when it is back."""
        free_ns, connection = self.free[0]
        checkout.granted_ns = max(free_ns, checkout.asked_ns + self.some(0.05))
        if checkout.granted_ns - checkout.asked_ns > TIMEOUT_NS:
            checkout.granted_ns = None
            checkout.gave_up_ns = checkout.asked_ns + TIMEOUT_NS
            checkout.outcome = Outcome.TIMEOUT
            return checkout.gave_up_ns
        checkout.connection = connection
        at_ns = self.operate(checkout, OperationKind.BEGIN, checkout.granted_ns, 0)
        for turn in range(route.statements):
            if route.call_ms and turn == 1:
                called_ns = at_ns
                at_ns += self.some(route.call_ms)
                yield from self.look(checkout, called_ns, at_ns)
            at_ns = self.operate(checkout, OperationKind.STATEMENT, at_ns, 1.5, route.sql)
            at_ns += self.some(0.3)
        at_ns = self.operate(checkout, OperationKind.COMMIT, at_ns, 0.8)
        at_ns = self.operate(checkout, OperationKind.RESET, at_ns + self.some(0.1), 0)
        checkout.outcome = Outcome.RETURNED
        checkout.returned_ns = at_ns
        heapq.heapreplace(self.free, (at_ns, connection))
        return at_ns

    def look(self, checkout: CheckoutRecord, from_ns: int, until_ns: int) -> Iterator[SampleRecord]:
        """What the sampler sees in a gap: one sample, as the owner stays where it is."""
        first_ns = from_ns + self.random.randrange(SAMPLING_NS)
        if first_ns < until_ns:
            sample = SampleRecord(checkout, Activity.PARKED, self.call, first_ns)
            sample.ended_ns = first_ns + (until_ns - first_ns) // SAMPLING_NS * SAMPLING_NS
            yield sample

    def operate(
        self, checkout: CheckoutRecord, kind: OperationKind, at_ns: int, ms: float, sql: str = ""
    ) -> int:
        """An operation of about so long; returns its end."""
        operation = OperationRecord(checkout, kind, sql or None, checkout.site if sql else None)
        operation.started_ns = at_ns
        operation.ended_ns = at_ns + (self.some(ms) if ms else 0)
        checkout.operations.append(operation)
        checkout.busy_us += operation.ended_ns // 1000 - at_ns // 1000
        return operation.ended_ns

    def some(self, ms: float) -> int:
        """A duration about this long, in nanoseconds."""
        return int(self.random.gammavariate(4, ms / 4) * MS)


def make_trace(directory: Path, checkouts: int, seed: int = 1) -> None:
    """Write a trace of so many checkouts, as a process that exited normally would have left it."""
    recorder = Recorder(directory)
    recorder.journal.began_ns -= int(checkouts / REQUESTS_PER_S * 1.1 * 1e9)
    facts = Service(recorder, seed).facts(checkouts)
    marker = new_marker(directory)
    file = TraceFile(recorder.journal, marker.file)
    batch: list[Record] = []
    for fact in facts:
        batch.append(fact)
        if len(batch) >= BATCH:
            assert not file.write(batch), "all of it is over"
            batch.clear()
    file.write(batch)
    file.finish()
    file.abandon()
    marker.remove()


@dataclass(frozen=True)
class Cost:
    """Of one report; ``cpu_s`` is what it takes of a core when others use them, too."""

    seconds: float
    cpu_s: float
    peak_mb: float


def measure(directory: Path) -> Cost:
    """Report the trace in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-m", "poolhog", "report", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the report failed"
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - started, cpu_s, usage.ru_maxrss / 1024)


def size_mb(directory: Path) -> float:
    """Of its files."""
    return sum(file.stat().st_size for file in directory.iterdir()) / 2**20


def main() -> None:
    """Make the trace, and report it a few times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkouts", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="another one is another run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where the trace goes, and stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poolhog-large-") as temporary:
        directory = given.keep or Path(temporary)
        if not list(directory.glob("*.sqlite")):
            started = time.monotonic()
            make_trace(directory, given.checkouts, given.seed)
            took = time.monotonic() - started
            size = f"{size_mb(directory):,.0f} MB"
            print(f"made {given.checkouts:,} checkouts in {took:.0f} s: {size}")
        for _ in range(given.rounds):
            cost = measure(directory)
            print(
                f"reported in {cost.seconds:.1f} s ({cost.cpu_s:.1f} s of CPU), "
                f"peak {cost.peak_mb:,.0f} MB"
            )


if __name__ == "__main__":
    main()
