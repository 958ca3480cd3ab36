"""What verbs cost on a large trace, and the start of poolhog, against another commit.

    python benchmarks/ledger_speed.py [--commit 9047f83] [--checkouts 1000000] [--rounds 3]
        [--verbs report page compare whatif] [--keep DIRECTORY] [--only-new] [--no-startup]

The traces are invented by ``large_trace.py``: one of so many checkouts, and for ``compare`` another
one of as many. Each measurement is a process of its own, the sides in turn. Quoted are medians of
the CPU seconds, user and system together, and of the peak resident memory, and the ratio of the old
side to the new one: 3.0 is three times as fast. ``--only-new`` leaves the old side out, for sizes
that it does not take. What starting costs is counted in instructions where the machine counts them,
otherwise it is the least CPU time of many rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from answer_traces import frozen_service, making_command
from sides import Side, side_of_commit, this_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
START_ROUNDS = 30
NAME_WIDTH = 16
VERBS = {
    "report": ("report", "TRACE"),
    "page": ("report", "TRACE", "--html", "PAGE"),
    "compare": ("compare", "TRACE", "OTHER", "--fail-on", "never"),
    "whatif": ("whatif", "TRACE"),
    "whatif-pool": ("whatif", "TRACE", "--pool-size", "40"),
    "timeline": ("timeline", "TRACE"),
    "log": ("log", "TRACE"),
}
USUAL = ("report", "page", "compare", "whatif")


@dataclass(frozen=True)
class Cost:
    """Of one process."""

    cpu_s: float
    peak_mb: float


def run(side: Side, words: Sequence[str], folder: Path) -> Cost:
    """Run a verb in a process of its own. Raises ``CalledProcessError`` if it fails."""
    command = [side.python, "-m", "poolhog", *words]
    process = subprocess.Popen(
        command, env=side.environ(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def instructions(side: Side, words: Sequence[str], folder: Path) -> float | None:
    """How many instructions a verb takes; ``None`` if the machine does not count them."""
    counter = ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", "counted", "--"]
    command = [*counter, side.python, "-m", "poolhog", *words]
    try:
        subprocess.run(
            command, env=side.environ(), cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    lines = [line for line in (folder / "counted").read_text().splitlines() if "instr" in line]
    count = lines[0].split(",")[0] if lines else ""
    return float(count) if count.isdigit() else None


def make_traces(folder: Path, checkouts: int) -> tuple[Path, Path]:
    """Two traces of so many checkouts, which are made if they are not there."""
    found = []
    for seed in (1, 2):
        trace = folder / f"{checkouts}-{seed}"
        if not list(trace.glob("*.sqlite")):
            print(f"making {checkouts:,} checkouts", flush=True)
            options = ["--checkouts", str(checkouts), "--seed", str(seed), "--rounds", "0"]
            subprocess.run(
                [sys.executable, str(HERE / "large_trace.py"), *options, "--keep", str(trace)],
                env=this_checkout().environ(),
                stdout=subprocess.DEVNULL,
                check=True,
            )
        found.append(trace)
    return found[0], found[1]


def in_turn(sides: Sequence[Side], rounds: int) -> Iterator[Side]:
    """Each side once in each round, the first of a round being the last of the one before."""
    for number in range(rounds):
        yield from sides if number % 2 == 0 else reversed(sides)


def measure_verbs(
    sides: Sequence[Side], given: argparse.Namespace, folder: Path, traces: Path
) -> None:
    """Print what each verb costs each side."""
    one, other = make_traces(traces, given.checkouts)
    filled = {"TRACE": str(one), "OTHER": str(other), "PAGE": str(folder / "page.html")}
    print(f"\n{given.checkouts:,} checkouts, medians of {given.rounds} rounds")
    _print_heading(sides, "CPU s", "peak MB")
    for verb in given.verbs:
        words = [filled.get(word, word) for word in VERBS[verb]]
        costs: dict[str, list[Cost]] = defaultdict(list)
        for side in in_turn(sides, given.rounds):
            costs[side.name].append(run(side, words, folder))
        cpu_s = [statistics.median(c.cpu_s for c in costs[side.name]) for side in sides]
        peak_mb = [statistics.median(c.peak_mb for c in costs[side.name]) for side in sides]
        print(f"{verb:{NAME_WIDTH}}{_row(cpu_s, 2)}{_row(peak_mb, 0)}", flush=True)


def _print_heading(sides: Sequence[Side], *units: str) -> None:
    cells = (_cells([f"{side.name[:9]} {unit}" for side in sides], "ratio") for unit in units)
    print(" " * NAME_WIDTH + "".join(cells))


def _row(values: Sequence[float], digits: int) -> str:
    ratio = f"{values[0] / values[-1]:.2f}" if values[-1] else ""
    return _cells([f"{value:,.{digits}f}" for value in values], ratio)


def _cells(texts: Sequence[str], ratio: str) -> str:
    """A cell for each side, and one for their ratio if there are two."""
    shown = "".join(f"{text:>20}" for text in texts)
    return f"{shown}{ratio:>7}" if len(texts) > 1 else shown


def measure_startup(sides: Sequence[Side], folder: Path) -> None:
    """Print what the help and a dump cost, of a process that is over and of one that is not."""
    made = making_command("script", folder)
    subprocess.run(made, env=this_checkout().environ(), check=True, capture_output=True)
    with frozen_service() as live:
        words = {
            "--help": ["--help"],
            "dump, finished": ["dump", str(folder / "script")],
            "dump, live": ["dump", str(live)],
        }
        counted = instructions(sides[0], ["--help"], folder) is not None
        unit = "million instr." if counted else "CPU ms"
        how = "" if counted else f", least of {START_ROUNDS} rounds"
        print(f"\nstart of poolhog{how}")
        _print_heading(sides, unit)
        for name, one in words.items():
            costs = _startup(sides, one, folder, counted=counted)
            print(f"{name:{NAME_WIDTH}}{_row(costs, 0)}", flush=True)


def _startup(
    sides: Sequence[Side], words: Sequence[str], folder: Path, *, counted: bool
) -> list[float]:
    """Million instructions of each side, or CPU milliseconds."""
    if counted:
        return [(instructions(side, words, folder) or 0.0) / 1e6 for side in sides]
    costs: dict[str, list[float]] = defaultdict(list)
    for side in in_turn(sides, START_ROUNDS):
        costs[side.name].append(run(side, words, folder).cpu_s * 1000)
    return [min(costs[side.name]) for side in sides]


def main() -> None:
    """Measure both sides, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", default="9047f83", help="the old side")
    parser.add_argument("--checkouts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verbs", nargs="*", choices=VERBS, default=USUAL)
    parser.add_argument("--keep", type=Path, help="where the traces go, and stay")
    parser.add_argument("--only-new", action="store_true", help="without the old side")
    parser.add_argument("--no-startup", action="store_true", help="only the large trace")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poolhog-speed-") as temporary:
        folder = Path(temporary)
        sides = [this_checkout()]
        if not given.only_new:
            sides.insert(0, side_of_commit(given.commit, folder))
        traces = (given.keep or folder / "traces").resolve()
        if not given.no_startup:
            measure_startup(sides, folder)
        if given.verbs:
            measure_verbs(sides, given, folder, traces)


if __name__ == "__main__":
    main()
