"""What recording costs, against the same service without it.

    python benchmarks/overhead.py cpu      CPU per GET of the lab's service, and bytes of trace
    python benchmarks/overhead.py server   answers per second of one uvicorn process at saturation
    python benchmarks/overhead.py otel     what OpenTelemetry's SQLAlchemy instrumentation adds
    python benchmarks/overhead.py profile  which functions of the recorder a GET runs, and how much

Every side runs in fresh processes, the sides in turn, over an embedded PostgreSQL; quoted are
medians over the rounds, and their ratios. The recorded side is started by ``poolhog run``.

``cpu`` and ``otel`` ask the ASGI application without a server or a network, one request after the
other, and take the fastest block of 100 requests: of the thread that answers, and of the process,
which has the writer and the sampler as well. ``otel`` makes a virtual environment of its own
beside this file, because OpenTelemetry's instrumentation refuses SQLAlchemy 2.1; there it records
one span per statement into a batch processor that throws it away. ``profile`` counts the
interpreter's instructions in the thread that answers: the same at every run, whatever else the
machine does, but blind to what an instruction costs and to what C does.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

BLOCK = 100
EVERYTHING_ELSE = "everything else"
HERE = Path(__file__).parent
SOURCES = HERE.parent / "src"
CLIENTS = 40
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Sides:
    """How the sides of a comparison are started."""

    python: str
    names: tuple[str, ...]
    settings: dict[str, str]
    requests: int

    def environ(self) -> dict[str, str]:
        """The environment of every side."""
        return {**os.environ, **self.settings, "PYTHONPATH": str(SOURCES)}

    def command(self, name: str, trace: Path, *arguments: str) -> list[str]:
        """The command of a side, which records into ``trace`` if it is the recorded one."""
        run = [sys.executable, "-m", "poolhog", "run", "-o", str(trace), "--"]
        own = [self.python, str(Path(__file__).resolve()), "--side", name, *arguments]
        return [*(run if name in ("recorded", "profile") else ()), *own]

    def run(self, name: str, trace: Path) -> dict[str, float]:
        """Start a side, and read what it prints."""
        command = self.command(name, trace, "cpu", "--requests", str(self.requests))
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environ(), check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def measure(self, name: str) -> dict[str, float]:
        """Start a side and take what it measured of itself."""
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace"
            found = self.run(name, trace)
            size = sum(file.stat().st_size for file in trace.glob("*"))
        requests = found.pop("requests")
        return {**found, "bytes": size / requests}


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


async def count_cpu(requests: int) -> dict[str, float]:
    """The fastest block, after as many requests to warm up as a block has."""
    from poolhog.lab.service import create_app

    app = create_app()
    blocks = []
    async with app.router.lifespan_context(app):
        for _ in range(requests // BLOCK + 1):
            thread, process = time.thread_time(), time.process_time()
            for _ in range(BLOCK):
                await get(app)
            blocks.append((time.thread_time() - thread, time.process_time() - process))
    thread_us, process_us = (min(side) / BLOCK * 1e6 for side in zip(*blocks[1:], strict=True))
    answered = len(blocks) * BLOCK
    return {"thread_us": thread_us, "process_us": process_us, "requests": answered}


async def count_instructions(requests: int) -> dict[str, float]:
    """Instructions per request by function of the recorder, and of all others together."""
    from poolhog.lab.service import create_app

    app = create_app()
    from poolhog.recording.unseen import is_unseen

    recorder = str(SOURCES / "poolhog")
    service = str(SOURCES / "poolhog" / "lab")
    counts: collections.Counter[str] = collections.Counter()

    def trace(frame: FrameType, _: str, __: Any) -> Any:
        code = frame.f_code
        is_ours = code.co_filename.startswith(recorder)
        is_ours = is_ours and not code.co_filename.startswith(service)
        name = f"{Path(code.co_filename).stem}: {code.co_qualname}" if is_ours else EVERYTHING_ELSE
        if is_unseen(code):
            name = f"wrapper: {code.co_qualname}"
        frame.f_trace_opcodes, frame.f_trace_lines = True, False

        def count(_: FrameType, event: str, __: Any) -> Any:
            if event == "opcode":
                counts[name] += 1
            return count

        return count

    async with app.router.lifespan_context(app):
        for _ in range(BLOCK):
            await get(app)
        sys.settrace(trace)
        for _ in range(requests):
            await get(app)
        sys.settrace(None)
    return {name: number / requests for name, number in counts.items()}


def print_profile(counts: dict[str, float]) -> None:
    """The functions of the recorder, the most expensive first."""
    others = counts.pop(EVERYTHING_ELSE)
    whole = sum(counts.values())
    print(f"{others:7.0f}  instructions of a GET that are not the recorder's")
    print(f"{whole:7.0f}  of the recorder: {whole / others:.3f} of these, by function:")
    for name, number in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{number:7.0f}  {name}")


def instrument_with_otel() -> None:
    """What OpenTelemetry's documentation does, with spans that go nowhere."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):  # type: ignore[misc] # has no types without its environment
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    SQLAlchemyInstrumentor().instrument()


async def ask_for(url: str, seconds: float) -> float:
    """Answers per second that so many clients get which ask again at once."""
    import aiohttp

    answered = 0
    ends = time.monotonic() + WARM_UP_S + seconds
    begins = ends - seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while time.monotonic() < ends:
            async with session.get(f"{url}/notes/1") as response:
                await response.read()
                assert response.status == 200
            answered += begins <= time.monotonic() < ends

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return answered / seconds


def measure_server(sides: Sides, name: str, seconds: float) -> dict[str, float]:
    """Start one uvicorn process and saturate it."""
    from poolhog.lab.children import answers, free_port, service_command

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "poolhog", "run", "-o", f"{folder}/trace", "--"]
        command = [*(run if name == "recorded" else ()), *service_command(port, 1)]
        process = subprocess.Popen(command, env=sides.environ(), stderr=subprocess.DEVNULL)
        try:
            while not answers(url):
                assert process.poll() is None, "the service ended"
                time.sleep(0.05)
            return {"answers/s": asyncio.run(ask_for(url, seconds))}
        finally:
            process.terminate()
            process.wait()


def be_side(given: argparse.Namespace) -> None:
    """Be the process of a side."""
    if given.side == "profile":
        print(json.dumps(asyncio.run(count_instructions(BLOCK))))
        return
    if given.side == "otel":
        instrument_with_otel()
    print(json.dumps(asyncio.run(count_cpu(given.requests))))


def environment_with_otel() -> str:
    """The interpreter of a virtual environment with OpenTelemetry, made at its first use."""
    folder = HERE / ".otel-venv"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        requirements = str(HERE / "otel-requirements.txt")
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", requirements]
        subprocess.run(install, check=True)
    return str(python)


def report(costs: list[dict[str, dict[str, float]]]) -> None:
    """Print the median of each side, its ratio to the bare one, and what it adds to it."""
    bare = {k: statistics.median(c["bare"][k] for c in costs) for k in costs[0]["bare"]}
    for name in costs[0]:
        for key, value in bare.items():
            median = statistics.median(c[name][key] for c in costs)
            against = f"   {median / value:5.2f} of bare   {median - value:+7.0f}" if value else ""
            print(f"{name:<9} {key:<11} {median:7.0f}{against}")


def main() -> None:
    """Alternate the sides and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["cpu", "server", "otel", "profile"], default="cpu", nargs="?"
    )
    parser.add_argument("--style", default="implicit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        be_side(given)
        return
    from poolhog.lab import postgres
    from poolhog.lab.service import Settings, Style

    with tempfile.TemporaryDirectory() as logs, postgres.database(None, Path(logs)) as database:
        database.create_notes(1)
        settings = Settings(Style(given.style), database.url, "http://127.0.0.1:1", database.schema)
        otel = given.what == "otel"
        sides = Sides(
            python=environment_with_otel() if otel else sys.executable,
            names=("bare", "recorded", *(("otel",) if otel else ())),
            settings=settings.to_environ(),
            requests=given.requests,
        )
        if given.what == "profile":
            with tempfile.TemporaryDirectory() as folder:
                print_profile(sides.run("profile", Path(folder) / "trace"))
            return
        costs = []
        for _ in range(given.rounds):
            if given.what == "server":
                costs.append({n: measure_server(sides, n, given.seconds) for n in sides.names})
            else:
                costs.append({n: sides.measure(n) for n in sides.names})
    report(costs)


if __name__ == "__main__":
    main()
