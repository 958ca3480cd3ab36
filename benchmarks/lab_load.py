"""Whether the lab's load falls short of its limit because of the recorder, or of the machine.

    python benchmarks/lab_load.py [--style explicit] [--rounds 3] [--measure 10] [--users 1000]

The lab's service is put under the lab's load, in turn without a recorder, with one that takes no
samples, and as the lab records it. Quoted are, of each round, the answers per second, the CPU
seconds of the service per answer, and the part of a core that it had: one process can have no more
than one core for Python, so at 100 % of it more is not to be had.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from poolhog.lab import children, load, postgres
from poolhog.lab.service.settings import Settings, Style

LATENCY_S = 5.0
CONNECTIONS = 10
VARIANTS: dict[str, list[str] | None] = {
    "no recorder": None,
    "no samples": ["--interval", "0"],
    "as the lab does": [],
}


def measure(
    options: list[str] | None, settings: Settings, arguments: argparse.Namespace, directory: Path
) -> tuple[float, float, float]:
    """Answers per second, CPU milliseconds per answer, and the part of a core that was used."""
    port = children.free_port()
    command = children.service_command(port, 1)
    if options is not None:
        run = [command[0], "-P", "-m", "poolhog", "run", *options]
        command = [*run, "-o", str(directory / f"trace-{port}"), "--", *command]
    url = f"http://127.0.0.1:{port}"
    plan = load.LoadPlan(url, arguments.users, 5.0, 1.5 * LATENCY_S, arguments.measure, 1000)
    began: list[tuple[float, float]] = []
    with children.Child("service", command, directory, environ=settings.to_environ()) as child:
        child.wait_until(lambda: children.answers(url))
        # `poolhog run` becomes the service.
        service = psutil.Process(child.pid)

        def look(progress: load.LoadProgress) -> None:
            if progress.phase is load.Phase.MEASURE and not began:
                began.append((time.monotonic(), _cpu(service)))

        counted = load.run_load(plan, directory, look)
        passed, used = time.monotonic() - began[0][0], _cpu(service) - began[0][1]
    return counted.requests_per_s, 1000 * used / passed / counted.requests_per_s, used / passed


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Measure in turn, and print each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--style", type=Style, default=Style.EXPLICIT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", type=float, default=10.0, metavar="S")
    parser.add_argument("--users", type=int, default=1000)
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with (
            postgres.database(None, directory) as database,
            children.external_api(LATENCY_S, 0.0, 0.0, directory) as api,
        ):
            for number in range(arguments.rounds):
                for name, options in VARIANTS.items():
                    database.create_notes(1000)
                    settings = Settings(
                        arguments.style, database.url, api.url, database.schema, CONNECTIONS
                    )
                    found[name].append(measure(options, settings, arguments, directory))
                    _print(f"{number + 1}  {name}", found[name][-1])
    for name, rounds in found.items():
        _print(
            f"median  {name}", [statistics.median(values) for values in zip(*rounds, strict=True)]
        )


def _print(name: str, values: tuple[float, ...] | list[float]) -> None:
    rate, cpu_ms, core = values
    print(f"{name:28}{rate:7.1f} answers/s {cpu_ms:6.2f} ms each {core:7.0%} of a core", flush=True)


if __name__ == "__main__":
    main()
