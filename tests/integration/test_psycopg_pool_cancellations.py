"""Cancellations at every turn of the event loop end as they do without a recorder.

psycopg_pool loses a connection if its user is cancelled while ``putconn`` waits for a lock. Others
hold it for a turn or two, while another cancellation is dealt with. A wrapper that suspends a task
once more, or swallows or delays a cancellation, changes which cancellations lose a connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from typing import TYPE_CHECKING, Any

import psycopg.waiting
import psycopg_pool

import poolhog
from poolhog import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from poolhog.lab.postgres import LabDatabase

    Pool = psycopg_pool.AsyncConnectionPool[Any]
    Ends = tuple[tuple[str, ...], int]

CONNECTIONS = 2
GOING_ON_IN = 3
"""The turn in which those that have a connection go on, and give it back."""

TURNS = 6
SETTLED = 12
"""More turns than anything here takes that still happens."""


async def use_in_block(pool: Pool, go_on: asyncio.Event, lent: set[Any]) -> None:
    async with pool.connection() as connection:
        lent.add(connection)
        await go_on.wait()


async def use_and_put_back(pool: Pool, go_on: asyncio.Event, lent: set[Any]) -> None:
    connection = await pool.getconn()
    try:
        lent.add(connection)
        await go_on.wait()
    finally:
        await pool.putconn(connection)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def end(task: asyncio.Task[None]) -> str:
    if not task.done():
        return "waits"
    if task.cancelled():
        return "cancelled"
    return "returned" if task.exception() is None else repr(task.exception())


async def ends(pool: Pool, cancelled_in: tuple[int, ...], lent: set[Any]) -> Ends:
    """Cancel two users and one that waits; how all end, and how many connections are left."""
    go_on = asyncio.Event()
    uses = (use_in_block, use_and_put_back, use_in_block, use_and_put_back)
    tasks = [asyncio.create_task(use(pool, go_on, lent)) for use in uses]
    for turn in range(TURNS):
        for task, when in zip(tasks, cancelled_in, strict=False):
            if when == turn:
                task.cancel()
        if turn == GOING_ON_IN:
            go_on.set()
        await turns(1)
    await turns(SETTLED)
    ended = tuple(end(task) for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return ended, pool.get_stats()["pool_available"]


async def all_ends(url: str) -> dict[tuple[int, ...], Ends]:
    """Of every combination of three turns; a pool is used until it has lost a connection."""
    found = {}
    combinations = list(itertools.product(range(TURNS), repeat=3))
    while combinations:
        lent: set[Any] = set()
        async with psycopg_pool.AsyncConnectionPool(url, min_size=CONNECTIONS) as pool:
            await pool.wait()
            while combinations and pool.get_stats()["pool_available"] == CONNECTIONS:
                cancelled_in = combinations.pop()
                found[cancelled_in] = await ends(pool, cancelled_in, lent)
        for connection in lent:
            await connection.close()
    return found


def test_cancellations_in_every_turn_lose_the_same_connections(
    database: LabDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # psycopg lets other tasks run after so many seconds: turns would depend on the clock.
    monkeypatch.setattr(psycopg.waiting, "MAX_BUSY_TIME", math.inf, raising=False)
    bare = asyncio.run(all_ends(database.url))
    with poolhog.recording(tmp_path / "trace") as trace:
        recorded = asyncio.run(all_ends(database.url))
    assert recorded == bare
    assert {"cancelled", "returned"} <= {how for ended, _ in bare.values() for how in ended}
    outcomes = {checkout.outcome for checkout in trace.read().checkouts}
    assert outcomes >= {Outcome.RETURNED, Outcome.CANCELLED}
