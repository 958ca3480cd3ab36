"""The external API that notes are synchronized with; its latency and failures can be chosen."""

from __future__ import annotations

import argparse
import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Sequence

# A whole load test may connect at once.
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The API's behaviour.

    An answer takes ``latency`` seconds, plus or minus up to ``jitter``; the fraction
    ``failure_rate`` of the answers is a 503.
    """

    latency: float
    jitter: float
    failure_rate: float


def create_app(behaviour: Behaviour, chance: random.Random) -> web.Application:
    """The API: ``POST /notes/{note_id}`` and ``GET /healthz``."""

    async def synchronize(request: web.Request) -> web.Response:
        deviation = chance.uniform(-behaviour.jitter, behaviour.jitter)
        await asyncio.sleep(max(behaviour.latency + deviation, 0))
        if chance.random() < behaviour.failure_rate:
            raise web.HTTPServiceUnavailable
        return web.json_response({"data": f"note {request.match_info['note_id']}, synchronized"})

    async def get_health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.add_routes([web.post("/notes/{note_id}", synchronize), web.get("/healthz", get_health)])
    return app


async def serve(app: web.Application, port: int) -> None:
    """Serve on loopback until cancelled; print the port once connections are accepted."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the API with the behaviour that the command line gives."""
    parser = argparse.ArgumentParser(prog="python -m poolhog.lab.external_api", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--latency", type=_seconds, default=5.0, help="default: %(default)s s")
    parser.add_argument("--jitter", type=_seconds, default=0.0, help="default: %(default)s s")
    parser.add_argument("--failure-rate", type=_fraction, default=0.0, help="from 0 to 1")
    parser.add_argument("--seed", type=int, help="makes jitter and failures repeatable")
    options = parser.parse_args(arguments)
    behaviour = Behaviour(options.latency, options.jitter, options.failure_rate)
    app = create_app(behaviour, random.Random(options.seed))  # noqa: S311  # no secret
    with suppress(KeyboardInterrupt):
        uvloop.run(serve(app, options.port))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds from 0 on, not {text}")
    return seconds


def _fraction(text: str) -> float:
    fraction = float(text)
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, not {text}")
    return fraction


if __name__ == "__main__":
    main()
