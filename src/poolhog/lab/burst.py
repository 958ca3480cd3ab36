"""Simultaneous requests to a service, timed by the client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from poolhog.lab.interrupts import run_async

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Response:
    """A response, and the seconds until it was complete."""

    status: int
    latency: float


@dataclass(frozen=True, slots=True)
class Burst:
    """Responses in the order of the requests, between two readings of ``time.monotonic_ns()``."""

    responses: tuple[Response, ...]
    began_ns: int
    ended_ns: int

    @property
    def makespan(self) -> float:
        """Seconds from the first request to the last response."""
        return (self.ended_ns - self.began_ns) / 1e9


def synchronize_paths(count: int) -> list[str]:
    """The paths that synchronize the notes 1 to ``count``, one request each."""
    return [f"/notes/{note_id}/synchronize" for note_id in range(1, count + 1)]


def run_burst(
    url: str, method: str, paths: Sequence[str], on_look: Callable[[], None] = lambda: None
) -> Burst:
    """Send all requests at once, and call ``on_look`` a few times per second until all are done.

    Raises ``aiohttp.ClientError`` if the service does not answer.
    """
    return run_async(_burst(url, method, paths, on_look))


async def _burst(url: str, method: str, paths: Sequence[str], on_look: Callable[[], None]) -> Burst:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as client:
        looking = asyncio.create_task(_look(on_look))
        try:
            began_ns = time.monotonic_ns()
            responses = await asyncio.gather(*(_request(client, method, path) for path in paths))
            return Burst(tuple(responses), began_ns, time.monotonic_ns())
        finally:
            looking.cancel()


async def _request(client: aiohttp.ClientSession, method: str, path: str) -> Response:
    began = time.perf_counter()
    async with client.request(method, path) as response:
        await response.read()
        return Response(response.status, time.perf_counter() - began)


async def _look(on_look: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        on_look()
