"""What recording costs: CPU per request of the lab's GET, recorded against bare.

    python benchmarks/overhead.py [--style implicit] [--rounds 5] [--requests 1000]

Requests go straight into the ASGI application, without a server or a network, one after the other,
over an embedded PostgreSQL. Each side runs in a fresh process, the two in turn. Quoted is the
median over the rounds of the fastest block of 100 requests, of the thread that answers and of the
whole process (which includes the writer's thread), and the ratio of recorded to bare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import poolhog
from poolhog.lab import postgres
from poolhog.lab.service import Settings, Style, build_app

BLOCK = 100


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU per request."""

    thread_us: float
    process_us: float


async def get(app: Any) -> None:
    """One GET of a note, as a server would hand it to the application."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/notes/1",
        "raw_path": b"/notes/1",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await app(scope, receive, send)


async def measure(settings: Settings, requests: int) -> Cost:
    """The fastest block, after as many requests to warm up as a block has."""
    app = build_app(settings)
    blocks = []
    async with app.router.lifespan_context(app):
        for _ in range(requests // BLOCK + 1):
            thread, process = time.thread_time(), time.process_time()
            for _ in range(BLOCK):
                await get(app)
            blocks.append((time.thread_time() - thread, time.process_time() - process))
    return Cost(*(min(side) / BLOCK * 1e6 for side in zip(*blocks[1:], strict=True)))


def run_side(recorded: bool, arguments: list[str]) -> Cost:
    """Measure one side in a process of its own."""
    side = ["--side", "recorded" if recorded else "bare"]
    done = subprocess.run(
        [sys.executable, __file__, *side, *arguments], capture_output=True, text=True, check=True
    )
    return Cost(**json.loads(done.stdout))


def be_side(given: argparse.Namespace) -> None:
    """Be such a process."""
    if given.side == "recorded":
        poolhog.install(tempfile.mkdtemp(prefix="poolhog-overhead-"))
    settings = Settings(
        Style(given.style), given.url, external_api_url="http://127.0.0.1:1", schema=given.schema
    )
    print(json.dumps(vars(asyncio.run(measure(settings, given.requests)))))


def main() -> None:
    """Alternate the two sides and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", default="implicit", choices=list(Style))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--schema", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        be_side(given)
        return
    with tempfile.TemporaryDirectory() as logs, postgres.database(None, Path(logs)) as database:
        database.create_notes(1)
        told = ["--style", given.style, "--requests", str(given.requests)]
        told += ["--url", database.url, "--schema", database.schema]
        costs = [(run_side(False, told), run_side(True, told)) for _ in range(given.rounds)]
    for name in ("thread_us", "process_us"):
        bare, recorded = (
            statistics.median(getattr(c, name) for c in side) for side in zip(*costs, strict=True)
        )
        print(
            f"{name:<11} bare {bare:6.0f}   recorded {recorded:6.0f}   ratio {recorded / bare:.2f}"
        )


if __name__ == "__main__":
    main()
