"""Whether recording makes psycopg_pool's AsyncConnectionPool lose connections to cancelled tasks.

    python benchmarks/cancellations.py [--seeds 280] [--cancellations 2000] [--minutes 75]

Tasks take connections from a small pool, in a ``with`` block or by ``getconn`` and ``putconn``, run
a statement or two, and are cancelled after a random time. A connection is lost if, half a second
after the last task has ended, the pool has fewer ready than it counts: it will never lend it again.
This happens without a recorder too: a task that is cancelled while ``putconn`` waits for one of the
pool's locks puts nothing back. The locks are held for a turn or two of the event loop, while other
cancellations are dealt with, so the more of them arrive in one turn, the more connections are lost.

Each seed is one load on three sides, each in a process of its own, in random order: ``bare``,
``recorded``, and ``slowed``, which is bare but works about as long as the recorder does in the
methods that the recorder wraps. If recorded loses more than slowed, the recorder does something
wrong; what both lose more than bare is the price of slower code. A pool lasts 100 cancellations.

Printed are, for each side, the turns of the event loop and how long it works in one; the
cancellations that shared a turn with another, those that ended their task, and those that the pool
swallowed (the task went on), by what the task was doing; and the lost connections, by what their
last user was doing when it was cancelled. The p-value is exact: the share of all ways to swap two
sides within seeds that give at least as large a difference. Intervals come from 10,000 resamples of
the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import logging
import math
import os
import random
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool

import poolhog
from poolhog.lab import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Counts = dict[str, dict[str, int]]

SIDES = ("bare", "recorded", "slowed")
SOURCES = Path(__file__).parent.parent / "src"
CONNECTIONS = 4
CLIENTS = 16
CANCELLATIONS_PER_POOL = 100
LONGEST_S = 0.04
GRACE_S = 0.5
TAKEN_EACH = 200
CALIBRATIONS = 5
TRIAL_US = 100.0
RESAMPLES = 10_000

Pool = psycopg_pool.AsyncConnectionPool[Any]


class Turns(selectors.DefaultSelector):
    """Counts the turns of the event loop, and the time that it works in them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.working_s = 0.0
        self._since = time.perf_counter()

    def select(self, timeout: float | None = None) -> Any:
        """Wait for input or output, once in each turn."""
        self.working_s += time.perf_counter() - self._since
        self.count += 1
        ready = super().select(timeout)
        self._since = time.perf_counter()
        return ready


@dataclass
class Client:
    """A task that works until it is cancelled, what it does now and did then."""

    random: random.Random
    turns: Turns
    phase: str = "between"
    was_cancelled: bool = False
    cancelled_in: str = "never"
    turn: int = 0
    task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Cancel the task."""
        if self.task is not None and self.task.cancel():
            self.was_cancelled = True
            self.cancelled_in = self.phase
            self.turn = self.turns.count

    @property
    def end(self) -> str:
        """How the task ended; ``swallowed`` is a cancellation that did not reach the client."""
        assert self.task is not None
        if self.task.cancelled():
            return "ended"
        return "failed" if self.task.exception() is not None else "swallowed"


@dataclass
class Load:
    """What clients do with a pool, and who had each of its connections last."""

    pool: Pool
    users: dict[Any, Client] = field(default_factory=dict)

    async def take(self, client: Client) -> None:
        """Take a connection, in one of the two ways, and use it."""
        client.phase = "asking"
        if client.random.random() < 0.5:
            async with self.pool.connection() as connection:
                await self.use(client, connection)
        else:
            connection = await self.pool.getconn()
            try:
                await self.use(client, connection)
            finally:
                await self.pool.putconn(connection)
        client.phase = "between"

    async def use(self, client: Client, connection: Any) -> None:
        """Run a statement or two."""
        client.phase = "using"
        self.users[connection] = client
        for _ in range(client.random.choice((1, 2))):
            await connection.execute("SELECT 1")
        client.phase = "returning"

    async def work(self, client: Client) -> None:
        """Use connections until the task is cancelled, or was, and the pool swallowed that."""
        while not client.was_cancelled:
            await self.take(client)
            await asyncio.sleep(client.random.uniform(0, 0.001))

    async def run(self, clients: Sequence[Client]) -> None:
        """Start clients one after the other, and cancel each after a while."""
        for client in clients:
            client.task = asyncio.create_task(self.work(client))
            after_s = client.random.uniform(0, LONGEST_S)
            asyncio.get_running_loop().call_later(after_s, client.cancel)
            await asyncio.wait([client.task])

    async def lost(self) -> list[Client]:
        """Close the pool; returns the last users of the connections that it has lost."""
        available = self.pool.get_stats()["pool_available"]
        ready = [await self.pool.getconn(timeout=GRACE_S) for _ in range(available)]
        for connection in ready:
            await connection.execute("SELECT 1")
            await self.pool.putconn(connection)
        lost = [c for c in self.users if c not in ready and not c.closed]
        assert len(lost) == CONNECTIONS - available, "a connection is neither ready nor lost"
        await self.pool.close()
        for connection in lost:
            await connection.close()
        return [self.users[connection] for connection in lost]

    @property
    def is_whole(self) -> bool:
        """Whether every connection is ready."""
        return self.pool.get_stats()["pool_available"] == CONNECTIONS


async def open_load(url: str) -> Load:
    """A new pool with all its connections."""
    pool = Pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False)
    await pool.open(wait=True)
    return Load(pool)


async def cancel_clients(load: Load, clients: Sequence[Client], turns: Turns) -> Counts:
    """Have clients use a pool and be cancelled; counts what that came to, by what they did."""
    count_before, working_before_s = turns.count, turns.working_s
    await asyncio.gather(*(load.run(clients[n::CLIENTS]) for n in range(CLIENTS)))
    working_us = int((turns.working_s - working_before_s) * 1e6)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    counts["turns"].update(count=turns.count - count_before, us=working_us)
    in_turn = collections.Counter(client.turn for client in clients)
    for client in clients:
        counts[client.end][client.cancelled_in] += 1
        counts["shared"][client.cancelled_in] += in_turn[client.turn] > 1
    return {kind: dict(count) for kind, count in counts.items()}


async def run_seed(url: str, seed: int, cancellations: int, turns: Turns) -> Counts:
    """Count what the cancellations of a seed came to, and the connections that they lost."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    suspects: list[Load] = []
    for first in range(0, cancellations, CANCELLATIONS_PER_POOL):
        numbers = range(first, min(first + CANCELLATIONS_PER_POOL, cancellations))
        clients = [Client(random.Random(f"{seed}-{number}"), turns) for number in numbers]
        load = await open_load(url)
        for kind, count in (await cancel_clients(load, clients, turns)).items():
            counts[kind].update(count)
        until = time.monotonic() + GRACE_S / 10
        while not load.is_whole and time.monotonic() < until:
            await asyncio.sleep(0.001)
        if load.is_whole:
            await load.pool.close()
        else:
            suspects.append(load)
    # What only takes its time comes back meanwhile.
    await asyncio.sleep(GRACE_S)
    for load in suspects:
        counts["stuck"]["pools"] += load.pool.get_stats()["pool_available"] == 0
        counts["lost"].update(client.cancelled_in for client in await load.lost())
    return {kind: dict(count) for kind, count in counts.items()}


async def time_clients(url: str, turns: Turns) -> Counts:
    """What the event loop works for a connection that is taken and used, if nobody cancels."""
    load = await open_load(url)

    async def work(number: int) -> None:
        client = Client(random.Random(number), turns)
        for _ in range(TAKEN_EACH):
            await load.take(client)

    began_s = turns.working_s
    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    working_s = turns.working_s - began_s
    await load.pool.close()
    return {"working": {"ns": int(working_s * 1e9) // (CLIENTS * TAKEN_EACH)}}


def slow_down(us: float) -> None:
    """Work for a while before each call of what the recorder wraps."""

    def slowed(method: Callable[..., Any]) -> Callable[..., Any]:
        def later(*args: Any, **kwargs: Any) -> Any:
            until = time.perf_counter_ns() + us * 1000
            while time.perf_counter_ns() < until:
                pass
            return method(*args, **kwargs)

        return later

    pool, connection = psycopg_pool.AsyncConnectionPool, psycopg.AsyncConnection
    for owner, name in ((pool, "getconn"), (pool, "putconn"), (connection, "wait")):
        setattr(owner, name, slowed(getattr(owner, name)))


def run_side(given: argparse.Namespace) -> None:
    """Be one side: print what was counted."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    if given.side == "recorded":
        poolhog.install(given.trace)
    elif given.side == "slowed":
        slow_down(given.slow_us)
    turns = Turns()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(turns)) as runner:
        if given.seed is None:
            found = runner.run(time_clients(given.database_url, turns))
        else:
            work = run_seed(given.database_url, given.seed, given.cancellations, turns)
            found = runner.run(work)
    poolhog.uninstall()
    print(json.dumps(found))


def measure(side: str, url: str, *options: object) -> Counts:
    """Run a side in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        command = [sys.executable, __file__, "--side", side, "--database-url", url]
        command += ["--trace", str(trace), *map(str, options)]
        environ = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        assert trace.exists() == (side == "recorded"), "only one side is recorded"
    found: Counts = json.loads(done.stdout)
    return found


def calibrate(url: str) -> float:
    """How many microseconds the slowed side has to work per call to cost what the recorder does."""
    ns: dict[str, int] = {}
    for side in SIDES * CALIBRATIONS:
        found = measure(side, url, "--slow-us", TRIAL_US)["working"]["ns"]
        ns[side] = ns.get(side, 0) + found // CALIBRATIONS
    slow_us = TRIAL_US * (ns["recorded"] - ns["bare"]) / (ns["slowed"] - ns["bare"])
    print(
        f"The loop works {ns['bare'] / 1e6:.3f} ms for a connection taken and used, "
        f"{ns['recorded'] / 1e6:.3f} if it is recorded; slowed: {slow_us:.0f} µs more per call",
        flush=True,
    )
    return slow_us


def run_seeds(given: argparse.Namespace, url: str) -> dict[str, list[Counts]]:
    """What each side counted of each seed, as many as there is time for."""
    slow_us = calibrate(url)
    until = time.monotonic() + given.minutes * 60
    found: dict[str, list[Counts]] = {side: [] for side in SIDES}
    for seed in range(given.seeds):
        if time.monotonic() > until:
            break
        for side in random.Random(seed).sample(SIDES, len(SIDES)):
            options = ("--seed", seed, "--cancellations", given.cancellations)
            found[side].append(measure(side, url, *options, "--slow-us", slow_us))
        lost = ", ".join(f"{side} {total(found[side][-1:], 'lost')}" for side in SIDES)
        print(f"seed {seed}: lost {lost}", flush=True)
    return found


def total(counts: Sequence[Counts], kind: str) -> int:
    """The sum over seeds and phases."""
    return sum(sum(count.get(kind, {}).values()) for count in counts)


def phases(counts: Sequence[Counts], kind: str) -> str:
    """The sums over seeds, phase by phase."""
    sums: collections.Counter[str] = collections.Counter()
    for count in counts:
        sums.update(count.get(kind, {}))
    return ", ".join(f"{phase} {number:,}" for phase, number in sums.most_common())


def describe(side: str, counts: Sequence[Counts]) -> str:
    """The sums of a side."""
    sums = {
        kind: total(counts, kind) for kind in ("ended", "swallowed", "failed", "lost", "shared")
    }
    turns, us = (sum(count["turns"][unit] for count in counts) for unit in ("count", "us"))
    cancelled = sums["ended"] + sums["swallowed"] + sums["failed"]
    return "\n".join(
        [
            f"{side}: {cancelled:,} cancellations, {turns:,} turns of {us / turns:.0f} µs",
            f"  shared their turn    {sums['shared']:,}",
            f"  ended their task     {sums['ended']:,} ({phases(counts, 'ended')})",
            f"  swallowed            {sums['swallowed']:,} ({phases(counts, 'swallowed')})",
            f"  tasks that failed    {sums['failed']:,}",
            f"  lost connections     {sums['lost']:,} ({phases(counts, 'lost')})",
            f"  lost / ended         {sums['lost'] / sums['ended']:.3%}",
            f"  pools without any    {total(counts, 'stuck')}",
        ]
    )


def p_value(differences: Sequence[int]) -> float:
    """Of the sum of differences, were each as likely to have the other sign: exact, two-sided."""
    ways = {0: 1}
    for difference in differences:
        more: collections.Counter[int] = collections.Counter()
        for reached, count in ways.items():
            more[reached + difference] += count
            more[reached - difference] += count
        ways = dict(more)
    extreme = sum(count for reached, count in ways.items() if abs(reached) >= abs(sum(differences)))
    return extreme / (1 << len(differences))


def ratio(pairs: Sequence[tuple[int, ...]]) -> float:
    """How many times as many connections one side loses per cancellation as the other."""
    lost, ended, lost_other, ended_other = map(sum, zip(*pairs, strict=True))
    found: float = lost / ended / (lost_other / ended_other) if lost_other else math.inf
    return found


def compare(one: Sequence[Counts], other: Sequence[Counts], names: str) -> str:
    """The ratio of two sides' rates with its interval, and the test of their difference."""
    pairs = [
        tuple(total([count], kind) for count in pair for kind in ("lost", "ended"))
        for pair in zip(one, other, strict=True)
    ]
    draw = random.Random(0)
    ratios = sorted(ratio(draw.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    low, high = ratios[int(RESAMPLES * 0.025)], ratios[int(RESAMPLES * 0.975)]
    p = p_value([lost - lost_other for lost, _, lost_other, _ in pairs])
    # Of a test at 5 %: 1.96 standard errors to be found at all, and 0.84 for 80 % of such runs.
    found = (high / low) ** ((1.96 + 0.84) / (2 * 1.96)) if low else math.inf
    return (
        f"{names}: {ratio(pairs):.3f} times the rate (95 %: {low:.3f} to {high:.3f}), p = {p:.2g}; "
        f"4 of 5 such runs would find a true ratio of {found:.2f}"
    )


def main() -> None:
    """Compare the sides, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=280)
    parser.add_argument("--cancellations", type=int, default=2000, help="per seed and side")
    parser.add_argument("--minutes", type=float, default=75, help="begin no seed afterwards")
    for option, kind in (("--seed", int), ("--slow-us", float), ("--trace", Path)):
        parser.add_argument(option, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--database-url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        run_side(given)
        return
    with tempfile.TemporaryDirectory() as logs, postgres.database(None, Path(logs)) as database:
        found = run_seeds(given, database.url)
    print(f"{len(found['bare'])} seeds")
    for side, counts in found.items():
        print(describe(side, counts))
    for one, other in (("recorded", "bare"), ("slowed", "bare"), ("recorded", "slowed")):
        print(compare(found[one], found[other], f"{one} / {other}"))


if __name__ == "__main__":
    main()
