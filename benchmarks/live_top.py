"""What `poolhog top` costs: its share of a core while it watches a run that is being recorded.

    python benchmarks/live_top.py [--processes 8] [--checkouts 2000] [--seconds 20] [--rate 50]
        [--history 0] [--share 0.1]

Processes record with the real recorder: each has its part of the checkouts open, in tasks that are
parked, and makes ``--rate`` short checkouts per second besides. ``--history`` is how many checkouts
each has recorded before. Then the screen of `poolhog top` runs without a terminal for so many
seconds after its first report, and the CPU time of that process is divided by the seconds. It
fails if that is more than ``--share``. Further reports come rarely, so that they take 2 % more.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.analysis.findings_so_far import FindingsSoFar
from poolhog.analysis.live import LiveRun
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import OperationKind
from poolhog.recording.options import Options
from poolhog.recording.pools import PoolRecord
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.requests import RequestRecord

if TYPE_CHECKING:
    from poolhog.recording.records import CheckoutRecord

SAMPLING_S = 0.1
SIZE = (140, 50)
STARTED = "recording"
ROUTES = 12


class Service:
    """An invented service that records: tasks that hold a connection, and short ones."""

    def __init__(self, directory: Path, connections: int) -> None:
        self.recorder = Recorder(directory, options=Options((), (), SAMPLING_S, True))
        record = PoolRecord(
            library="sqlalchemy",
            kind="AsyncAdaptedQueuePool",
            name="postgresql+asyncpg://db/notes",
            size=connections + 5,
            max_overflow=0,
            timeout_s=30.0,
            dialect="postgresql",
        )
        self.pool = self.recorder.pool(record)
        self.connection = 0

    def ask(self, number: int) -> tuple[RequestRecord, CheckoutRecord]:
        """A request that has got a connection, and has made a query."""
        request = RequestRecord("http", "GET", f"/notes/{number}/part")
        request.route = f"/notes/{{note_id}}/part-{number % ROUTES}"
        current_request.set(request)
        self.recorder.request(request)
        checkout = self.recorder.ask(self.pool)
        self.connection += 1
        self.recorder.grant(checkout, self.connection)
        sql = "SELECT notes.id, notes.data FROM notes WHERE notes.id = $1"
        operation = self.recorder.operate(checkout, OperationKind.STATEMENT, sql)
        if operation is not None:
            operation.end()
        return request, checkout

    async def hold(self, number: int) -> None:
        """Have a connection, and wait for something else for ever."""
        self.ask(number)
        await asyncio.Event().wait()

    def answer(self, number: int) -> None:
        """Have a connection for a moment."""
        request, checkout = self.ask(number)
        self.recorder.end(checkout)
        request.end(None)

    async def work(self, held: int, rate: float, history: int) -> None:
        """Hold so many connections, and make short checkouts, until the process is ended."""
        for number in range(history):
            self.answer(number)
            if number % 500 == 0:
                await asyncio.sleep(0.02)
        holding = [asyncio.create_task(self.hold(number)) for number in range(held)]
        await asyncio.sleep(1.0)
        print(STARTED, len(holding), flush=True)
        while True:
            await asyncio.sleep(1 / rate)
            self.answer(0)


def record(directory: Path, held: int, rate: float, history: int) -> None:
    """Be one of the processes."""
    asyncio.run(Service(directory, held).work(held, rate, history))


async def watch(directory: Path, seconds: float) -> tuple[float, int]:
    """Show the run for so many seconds: the CPU seconds that took, and the open checkouts."""
    from poolhog.cli.top_screen import TopScreen

    run = LiveRun(directory)
    findings = FindingsSoFar(directory, None, Thresholds)
    screen = TopScreen(run, findings, str(directory), 1.0)
    async with screen.run_test(size=SIZE) as pilot:
        findings.start()
        while findings.latest is None:  # the first report, which its own pause pays for
            await pilot.pause(0.5)
        gc.freeze()  # as the verb does
        began = time.process_time()
        await pilot.pause(seconds)
        spent = time.process_time() - began
        open_ones = len(run.look().checkouts)
    return spent, open_ones


def main() -> None:
    """Start the processes, watch them, and print the share of a core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--checkouts", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--history", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    held = given.checkouts // given.processes
    if given.record is not None:
        record(given.record, given.checkouts, given.rate, given.history)
        return
    with tempfile.TemporaryDirectory(prefix="poolhog-live-") as temporary:
        command = [
            *(sys.executable, __file__, "--record", temporary, "--checkouts", str(held)),
            *("--rate", str(given.rate), "--history", str(given.history)),
        ]
        services = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            for _ in range(given.processes)
        ]
        try:
            for service in services:
                assert service.stdout is not None
                assert service.stdout.readline().startswith(STARTED)
            spent, open_ones = asyncio.run(watch(Path(temporary), given.seconds))
        finally:
            for service in services:
                service.kill()
                service.wait()
    share = spent / given.seconds
    print(
        f"{given.processes} processes, {open_ones:,} open checkouts: {spent:.2f} s of CPU in "
        f"{given.seconds:.0f} s, {share:.1%} of a core"
    )
    assert share <= given.share, f"more than {given.share:.0%}"


if __name__ == "__main__":
    main()
