"""The traces that ``same_answers.py`` asks: each is recorded or invented once, and kept.

    python benchmarks/answer_traces.py FOLDER NAME [--cases DIRECTORY]

Makes the traces of one recipe in the folder. Traces of what happened are recorded by this checkout;
those of invented runs are written by its recorder's own records and file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from sides import this_checkout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolhog.recording.record import Record

LIVE = "live"
"""The trace of a process that still runs, and so is made each time."""

HERE = Path(__file__).resolve().parent
APPS = HERE / "recorded_apps.py"
UNIT_TESTS = HERE.parent / "tests" / "unit"
LAB_STYLES = ("implicit", "explicit", "per-query")
LARGE, MIDDLE = 1_000_000, 20_001
"""Of the middle one, one checkout more than a page shows one by one."""

OPERATIONS = 30_000
DRAWN = 12
WRITTEN_WITHIN_S = 2.0
"""A recorder writes what it has four times per second."""

CASE_WITHIN_S = 120.0
STEP_NS = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """How some traces are made: each is a directory of its name in the folder."""

    names: tuple[str, ...]
    make: Callable[[Path], None]
    is_large: bool = False


def recorded(trace: Path, *command: str) -> list[str]:
    """The command that records a command."""
    return [sys.executable, "-P", "-m", "poolhog", "run", "-o", str(trace), "--", *command]


def app(name: str, *arguments: str) -> list[str]:
    """The command of one of the small programs."""
    return [sys.executable, str(APPS), name, *arguments]


def run(command: list[str], **environ: str) -> None:
    """Run a command that may fail as it likes, but must end in time."""
    subprocess.run(
        command,
        env={**os.environ, **environ},
        timeout=CASE_WITHIN_S,
        stdout=sys.stderr,
        check=False,
    )


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an embedded PostgreSQL that nobody has used."""
    from poolhog.lab import postgres

    with tempfile.TemporaryDirectory() as logs, postgres.database(None, Path(logs)) as database:
        yield database.url


def make_lab(folder: Path) -> None:
    """All experiments of the lab in small."""
    out = folder / "lab"
    command = [sys.executable, "-P", "-m", "poolhog", "lab", "lifecycle", "burst", "load"]
    options = {
        "--styles": ",".join(LAB_STYLES),
        "--requests": 20,
        "--pool-size": 5,
        "--external-latency": 0.4,
        "--users": 40,
        "--ramp": 1,
        "--measure": 3,
        "--output": out,
    }
    command += [str(text) for option in options.items() for text in option]
    run(command)
    for trace in (out / "traces").iterdir():
        trace.rename(folder / f"lab-{trace.name}")


def make_app(folder: Path, *, name: str, needs_database: bool) -> None:
    """One of the small programs."""
    trace = folder / name
    if not needs_database:
        run(recorded(trace, *app(name)))
        return
    with postgresql() as url:
        run(recorded(trace, *app(name, url)))


def make_orders(folder: Path) -> None:
    """The example of the README."""
    run(recorded(folder / "orders", sys.executable, str(HERE.parent / "examples" / "orders.py")))


@contextmanager
def hanging(trace: Path) -> Iterator[subprocess.Popen[str]]:
    """A recorded service with requests under way, all of which is written; killed afterwards."""
    with postgresql() as url:
        process = subprocess.Popen(
            recorded(trace, *app("hanging", url)), stdout=subprocess.PIPE, text=True
        )
        try:
            output: IO[str] | None = process.stdout
            assert output is not None
            assert output.readline().strip() == "hanging", "the service did not start"
            time.sleep(WRITTEN_WITHIN_S)
            yield process
        finally:
            process.kill()
            process.wait()


def make_killed(folder: Path) -> None:
    """A service that is killed while requests are under way."""
    with hanging(folder / "killed") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()


def make_live(folder: Path) -> None:
    """A service that is frozen while it is read, until standard input ends."""
    with hanging(folder / LIVE) as process:
        process.send_signal(signal.SIGSTOP)
        print("frozen", flush=True)
        sys.stdin.read()


def make_damaged(folder: Path) -> None:
    """Several processes, of which one file is cut and one is no trace."""
    make_app(folder, name="several", needs_database=False)
    trace = (folder / "several").rename(folder / "damaged")
    first, second, *_ = sorted(trace.glob("*.sqlite"))
    os.truncate(first, first.stat().st_size // 2)
    second.write_bytes(b"\xff" * second.stat().st_size)


def make_invented(folder: Path, *, name: str, checkouts: int) -> None:
    """The invented service of ``large_trace.py``."""
    from large_trace import make_trace

    make_trace(folder / name, checkouts)


def make_operations(folder: Path) -> None:
    """One checkout with very many operations, and a few short ones that wait for it."""
    from large_trace import ROUTES, Service

    from poolhog.model import OperationKind
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord

    recorder = Recorder(folder / "operations")
    recorder.journal.began_ns -= OPERATIONS * 20 * STEP_NS
    service = Service(recorder, 1)
    facts = list(service.facts(300))
    checkout = next(fact for fact in facts if isinstance(fact, CheckoutRecord))
    at_ns = checkout.operations[-1].started_ns
    reset = checkout.operations.pop()
    for number in range(OPERATIONS):
        kind = (OperationKind.BEGIN, OperationKind.STATEMENT, OperationKind.COMMIT)[number % 3]
        sql = ROUTES[0].sql if kind is OperationKind.STATEMENT else ""
        at_ns = service.operate(checkout, kind, at_ns + 10 * STEP_NS, 2, sql)
    reset.started_ns = reset.ended_ns = at_ns + STEP_NS
    checkout.operations.append(reset)
    checkout.returned_ns = at_ns + 2 * STEP_NS
    request = checkout.request
    assert request is not None
    request.responding_ns = request.responded_ns = request.ended_ns = at_ns + 3 * STEP_NS
    write(recorder, facts)


def write(recorder: object, facts: list[Record]) -> None:
    """Write all facts at once, as a process that exited normally would have left them."""
    from poolhog.recording.marker import new_marker
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.trace_file import TraceFile

    assert isinstance(recorder, Recorder)
    marker = new_marker(recorder.directory)
    file = TraceFile(recorder.journal, marker.file)
    file.write(facts)
    file.finish()
    file.abandon()
    marker.remove()


def make_hostile(folder: Path) -> None:
    """Texts that a page must not take for its own, one process for each."""
    sys.path.insert(0, str(UNIT_TESTS))
    from traces import HOSTILE, hostile_trace

    trace = folder / "hostile"
    trace.mkdir()
    for number, text in enumerate(HOSTILE):
        with tempfile.TemporaryDirectory() as made:
            hostile_trace(Path(made), text)
            (file,) = (Path(made) / "trace").glob("*.sqlite")
            shutil.move(file, trace / f"{100 + number}.sqlite")


def make_drawn(folder: Path) -> None:
    """Processes that did what no application would do, drawn at random: the same every time."""
    sys.path.insert(0, str(UNIT_TESTS))
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st
    from scenarios import Scenario

    left = list(drawn_names())

    @seed(1)
    @settings(
        max_examples=2 * DRAWN,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        # An example that becomes too large ends while it is written.
        with tempfile.TemporaryDirectory(dir=folder) as made:
            trace = Path(made) / "trace"
            Scenario(data.draw, trace).write(data.draw(st.integers(2, 24)))
            if left:
                trace.rename(folder / left.pop(0))

    draw()


def drawn_names() -> tuple[str, ...]:
    """The names of the traces that are drawn."""
    return tuple(f"drawn-{number:02}" for number in range(1, DRAWN + 1))


def make_case(folder: Path, *, name: str, program: Path) -> None:
    """A service of a folder of cases, which finds PostgreSQL by ``CASES_PG``."""
    with postgresql() as url:
        (socket,) = parse_qs(urlsplit(url).query)["host"]
        command = recorded(folder / name, sys.executable, "-B", str(program))
        run(command, CASES_PG=socket, PYTHONDONTWRITEBYTECODE="1")


def recipes(cases: Path | None = None) -> tuple[Recipe, ...]:
    """Every recipe, with those of a folder of cases."""
    experiments = ("lifecycle", "burst", "load")
    lab = tuple(f"lab-{made}-{style}" for made in experiments for style in LAB_STYLES)
    databases = {"service": True, "nested": True, "asyncpg": True, "psycopg": True}
    apps = {**databases, "several": False, "script": False}
    return (
        Recipe(lab, make_lab),
        Recipe(("orders",), make_orders),
        *(
            Recipe((name,), partial(make_app, name=name, needs_database=needs))
            for name, needs in apps.items()
        ),
        Recipe(("killed",), make_killed),
        Recipe(("damaged",), make_damaged),
        Recipe(("operations",), make_operations),
        Recipe(("hostile",), make_hostile),
        Recipe(drawn_names(), make_drawn),
        *_case_recipes(cases),
        Recipe((LIVE,), make_live),
        Recipe(("middle",), partial(make_invented, name="middle", checkouts=MIDDLE)),
        Recipe(("large",), partial(make_invented, name="large", checkouts=LARGE), is_large=True),
    )


def _case_recipes(cases: Path | None) -> Iterator[Recipe]:
    """The services of the folder: a name that begins with ``_`` or ``run`` is none of them."""
    for program in sorted(cases.rglob("*.py")) if cases is not None else []:
        if program.name == "run.py" or program.name.startswith("_"):
            continue
        assert cases is not None
        parts = program.relative_to(cases).with_suffix("").parts
        name = "-".join(["case", *parts])
        yield Recipe((name,), partial(make_case, name=name, program=program.resolve()))


def making_command(name: str, folder: Path, cases: Path | None = None) -> list[str]:
    """The command that makes the traces of the recipe whose first trace has this name."""
    options = ["--cases", str(cases)] if cases is not None else []
    return [sys.executable, str(HERE / "answer_traces.py"), str(folder), name, *options]


@contextmanager
def frozen_service() -> Iterator[Path]:
    """The trace of a process that stands still until the block is left."""
    with tempfile.TemporaryDirectory(prefix="poolhog-live-") as folder:
        process = subprocess.Popen(
            making_command(LIVE, Path(folder)),
            env=this_checkout().environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "frozen", "no process could be frozen"
            yield Path(folder) / LIVE
        finally:
            process.communicate("")


def main() -> None:
    """Make the traces of a recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--cases", type=Path)
    given = parser.parse_args()
    found = {recipe.names[0]: recipe for recipe in recipes(given.cases)}
    given.folder.mkdir(parents=True, exist_ok=True)
    found[given.name].make(given.folder.resolve())


if __name__ == "__main__":
    main()
